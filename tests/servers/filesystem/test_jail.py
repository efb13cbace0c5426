"""Every way out of a root that we know of, tried."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from motet_servers.filesystem import reading, writing
from motet_servers.filesystem.jail import Escape, Jail
from motet_servers.kit.errors import DomainError
from motet_servers.kit.threads import never

Files = Any
READERS = ("read", "stat", "list", "tree")


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "Project/../../secret.txt",
        "src/../../secret.txt",
        "src/../src/../../secret.txt",
        "./.././secret.txt",
        "/etc/passwd",
        "//etc/passwd",
        "out/secret.txt",
        "out",
        "chain/secret.txt",
        "absolute",
        "relative",
        "up/secret.txt",
        "src\x00/../../secret.txt",
        "..",
    ],
)
async def test_no_path_leads_out(files: Files, root: Path, path: str) -> None:
    (root / "out").symlink_to(root.parent)
    (root / "chain").symlink_to("hop")
    (root / "hop").symlink_to("out")
    (root / "absolute").symlink_to(root.parent / "secret.txt")
    (root / "relative").symlink_to("../secret.txt")
    (root / "up").symlink_to("src/../..")
    links = {"out", "absolute", "relative"}
    for tool in ("read", "list", *(() if path in links else ("stat",))):
        text = await files.refused(tool, path=path)
        assert "secret" not in text.replace("secret.txt", ""), text
    for tool, arguments in (
        ("write", {"path": path, "content": "x"}),
        ("edit", {"path": path, "edits": [{"old": "secret", "new": "x"}]}),
        ("move", {"source": "README.md", "destination": path + "/x"}),
    ):
        await files.refused(tool, **arguments)
    if path not in links:
        await files.refused("create", path=path, content="x")
        await files.refused("delete", path=path, recursive=True)
    assert (root.parent / "secret.txt").read_text() == "secret"
    assert (root / "README.md").exists()


@pytest.mark.parametrize(
    "uri",
    [
        "files://Project/../secret.txt",
        "files://Project/%2e%2e/secret.txt",
        "files://Project/src/%2e%2e%2f%2e%2e%2fsecret.txt",
        "files://Project/%2Fetc%2Fpasswd",
        "files://Project/out/secret.txt",
        "files://Other/secret.txt",
        "files:///etc/passwd",
    ],
)
async def test_no_uri_leads_out(files: Files, root: Path, uri: str) -> None:
    (root / "out").symlink_to(root.parent)
    with pytest.raises(MCPError) as caught:
        await files.client.read_resource(uri)
    assert caught.value.error.code in {-32602, -32603, -32002}


async def test_symlinks_inside_the_root_work_and_deleting_one_leaves_its_target(files: Files, root: Path) -> None:
    (root / "link").symlink_to("src")
    (root / "full").symlink_to(root / "src/app.py")
    assert "42" in (await files("read", path="link/app.py"))["content"]
    assert "42" in (await files("read", path="full"))["content"]
    assert (await files("stat", path="link"))["target"] == "src"
    await files("delete", path="link")
    assert (root / "src/app.py").exists()


async def test_deleting_a_directory_never_follows_a_symlink_out_of_it(files: Files, root: Path) -> None:
    (root / "trap").mkdir()
    (root / "trap/out").symlink_to(root.parent)
    await files("delete", path="trap", recursive=True)
    assert (root.parent / "secret.txt").exists()


async def test_walks_show_symlinks_without_entering_them(files: Files, root: Path) -> None:
    (root / "out").symlink_to(root.parent)
    (root / "loop").symlink_to(".")
    nodes = (await files("tree", depth=10))["entries"]
    assert [node["path"] for node in nodes if node["kind"] == "symlink"] == ["Project/loop", "Project/out"]
    assert (await files("search", pattern="secret"))["matches"] == []


async def test_a_symlink_loop_and_a_special_file_end_with_a_reason(files: Files, root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    os.mkfifo(root / "pipe")
    assert "more than 40 symlinks" in await files.refused("read", path="a")
    assert "not a regular file" in await files.refused("read", path="pipe")
    assert "not a regular file" in await files.refused("write", path="pipe", content="x")


@pytest.mark.parametrize(
    "target", ["/proc/self/root", "/proc/self/root/etc", "/proc/self/cwd", "/proc/self/fd", "/dev/fd"]
)
async def test_the_systems_own_links_lead_nowhere(files: Files, root: Path, target: str) -> None:
    (root / "magic").symlink_to(target)
    (root / "hop").symlink_to("magic/../../../etc")
    for path in ("magic", "magic/passwd", "magic/etc/passwd", "hop/passwd"):
        for tool in ("read", "list", "tree"):
            assert "leads out of its root" in await files.refused(tool, path=path)
        await files.refused("write", path=f"{path}/x", content="x")


async def test_names_and_paths_beyond_the_systems_bounds_are_refused_in_words(files: Files, root: Path) -> None:
    assert "255 bytes at most" in await files.refused("read", path="x" * 256)
    assert "255 bytes at most" in await files.refused("create", path="ü" * 128)
    assert "at most 4096 characters" in await files.refused("read", path="x" * 4097)
    assert "at most 4096 bytes" in await files.refused("read", path="ü" * 4000)
    place = root
    for _ in range(130):
        place = place / "d"
        place.mkdir()
    assert "more than 128 directories deep" in await files.refused("list", path="d/" * 130)
    assert "more than 128 directories deep" in await files.refused("read", path="src/../" * 300 + "d/" * 129 + "x")
    assert (await files("read", path="src/../" * 300 + "README.md"))["path"].endswith("README.md")
    assert (await files("delete", path="d", recursive=True))["entries"] == 130


@contextmanager
def swapped_all_the_while(root: Path) -> Generator[None]:
    """Meanwhile a thread swaps `src` for a link out of the root and back."""
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (root / "src").rename(root / "kept")
            (root / "src").symlink_to(root.parent)
            (root / "src").unlink()
            (root / "kept").rename(root / "src")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        yield
    finally:
        stop.set()
        swapper.join()


@pytest.mark.parametrize("tool", ["write", "create", "delete", "move", "edit"])
def test_no_writing_tool_is_led_out_by_swaps_all_the_while(root: Path, tool: str) -> None:
    """One thread swaps `src` for a link out of the root and back; another writes below it."""
    jail = Jail([(None, root)])
    (root.parent / "app.py").write_text("secret")

    def act(number: int) -> None:
        place = jail.place("src/app.py")
        match tool:
            case "write":
                writing.write(jail, place, str(number).encode(), expected_hash=None, parents=False, limit=1000)
            case "create":
                writing.create(jail, jail.place(f"src/{number}.new"), b"x", parents=False, limit=1000)
            case "delete":
                writing.delete(jail, place, recursive=True, expected_hash=None, limit=1000, stop=never)
            case "move":
                writing.move(jail, place, jail.place("app.py"), overwrite=True)
                writing.move(jail, jail.place("app.py"), place, overwrite=True)
            case _:
                change = [writing.Edit("secret", "changed"), writing.Edit("42", "42")]
                writing.edit(jail, place, change, expected_hash=None, dry_run=False, limit=1000)

    with closing(jail), swapped_all_the_while(root):
        for number in range(300):
            with suppress(DomainError):
                act(number)
    assert (root.parent / "app.py").read_text() == "secret"
    assert sorted(entry.name for entry in root.parent.iterdir()) == ["Project", "app.py", "secret.txt"]


async def test_another_spelling_of_the_root_is_not_the_root(files: Files, root: Path) -> None:
    for path in (str(root).upper(), f"{root}2/x", str(root.parent / "project" / "README.md"), "PROJECT/README.md"):
        await files.refused("read", path=path)
    assert (await files("read", path=f"{root}/README.md"))["path"] == "Project/README.md"


@pytest.mark.parametrize("moment", ["src", "app.py"])
def test_a_directory_swapped_for_a_symlink_at_the_very_moment_never_leads_out(
    root: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Swapped just before the directory is opened, it is refused; just after, the directory that was opened is read."""
    opens = os.open
    (root.parent / "app.py").write_text("secret")

    def swapping(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == moment and not (root / "src").is_symlink():
            (root / "src").rename(root / "kept")
            (root / "src").symlink_to(root.parent)
        return opens(path, flags, mode, dir_fd=dir_fd)

    jail = Jail([(None, root)])
    monkeypatch.setattr(os, "open", swapping)
    try:
        if moment == "src":
            with pytest.raises(Escape):
                reading.content(jail, jail.place("src/app.py"), limit=1000)
        else:
            assert reading.content(jail, jail.place("src/app.py"), limit=1000).startswith(b"def main")
    finally:
        jail.close()


def test_a_directory_swapped_all_the_while_never_leads_out(root: Path) -> None:
    """One thread swaps `src` for a link out of the root and back; another reads and writes through it."""
    jail = Jail([(None, root)])
    (root.parent / "app.py").write_text("secret")
    outcomes = set[str]()
    with closing(jail), swapped_all_the_while(root):
        for number in range(1000):
            try:
                outcomes.add(reading.content(jail, jail.place("src/app.py"), limit=1000).decode())
                place = jail.place("src/w.txt")
                writing.write(jail, place, str(number).encode(), expected_hash=None, parents=False, limit=1000)
            except DomainError as error:
                outcomes.add(type(error).__name__)
    assert outcomes <= {"def main():\n    return 42\n", "Escape", "NotFound", "InvalidInput"}
    assert not (root.parent / "w.txt").exists()
