from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from motet_servers.filesystem import reading
from motet_servers.filesystem.__main__ import COMMAND
from motet_servers.filesystem.server import Settings, filesystem_server
from motet_servers.kit import progress
from motet_servers.kit.settings import SettingsError

Files = Any


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_file_is_read_whole_with_its_hash_or_by_lines(files: Files) -> None:
    whole = await files("read", path="README.md")
    assert (whole["content"], whole["hash"]) == ("# Title\n\nHello wörld\n", digest("# Title\n\nHello wörld\n"))
    assert (whole["path"], whole["uri"], whole["mime_type"]) == (
        "Project/README.md",
        "files://Project/README.md",
        "text/markdown",
    )
    part = await files("read", path="Project/README.md", first_line=3, lines=1)
    assert (part["content"], part["first_line"], part["last_line"], part["truncated"]) == ("Hello wörld\n", 3, 3, False)
    assert (await files("read", path="README.md", lines=1))["truncated"] is True
    assert "has 3 lines" in await files.refused("read", path="README.md", first_line=9)


async def test_binary_content_comes_as_base64_and_goes_back_the_same(files: Files, root: Path) -> None:
    read = await files("read", path="src/data.bin")
    assert (read["encoding"], base64.b64decode(read["content"])) == ("base64", b"\x00\x01\xff")
    await files("write", path="copy.bin", content=read["content"], encoding="base64")
    assert (root / "copy.bin").read_bytes() == b"\x00\x01\xff"


async def test_reading_many_names_what_is_missing_and_gives_the_rest(files: Files) -> None:
    answer = await files("read_many", paths=["README.md", "nope.txt", "src", "src/app.py"])
    assert [file["path"] for file in answer["files"]] == ["Project/README.md", "Project/src/app.py"]
    assert [(each["path"], each["kind"]) for each in answer["missing"]] == [
        ("nope.txt", "not_found"),
        ("src", "invalid_input"),
    ]


async def test_lists_page_by_name_without_looking_at_more_than_the_page(files: Files, root: Path) -> None:
    (root / "many").mkdir()
    for number in range(10_000):
        os.close(os.open(root / "many" / f"{number:05d}", os.O_CREAT))
    names: list[str] = []
    cursor = None
    pages = 0
    while True:
        page = await files("list", path="many", limit=4000, cursor=cursor)
        names += [entry["name"] for entry in page["entries"]]
        pages, cursor = pages + 1, page["next_cursor"]
        if cursor is None:
            break
    assert (len(names), names == sorted(names), pages, page["total"]) == (10_000, True, 3, 10_000)


async def test_a_tree_is_cut_at_depth_and_limit(files: Files) -> None:
    paths = [node["path"] for node in (await files("tree"))["entries"]]
    assert paths == ["Project/README.md", "Project/src", "Project/src/app.py", "Project/src/data.bin"]
    assert [node["depth"] for node in (await files("tree", depth=1))["entries"]] == [1, 1]
    assert (await files("tree", limit=2))["truncated"] is True


async def test_search_finds_lines_and_names_and_counts_what_it_skips(files: Files) -> None:
    found = await files("search", pattern=r"return \d+")
    assert found["matches"] == [{"path": "Project/src/app.py", "line": 2, "text": "    return 42"}]
    assert (found["searched"], found["skipped"]) == (2, 1)
    assert len((await files("search", pattern="HELLO", ignore_case=True))["matches"]) == 1
    named = await files("search", pattern=r"\.py$", inside="name")
    assert [match["path"] for match in named["matches"]] == ["Project/src/app.py"]
    assert (await files("search", pattern=".", glob="*.py", limit=1))["truncated"] is True
    assert "RE2" in await files.refused("search", pattern="(unclosed")


async def test_a_pattern_that_blows_up_backtrackers_ends_at_once(files: Files, root: Path) -> None:
    (root / "evil.txt").write_text("a" * 50_000 + "!")
    assert (await files("search", pattern="(a+)+$"))["matches"] == []


async def test_a_long_search_tells_how_far_it_is_and_ends_when_cancelled(
    files: Files, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A regular expression that never answers holds the walk until the call is cancelled."""
    entered, released, told = threading.Event(), threading.Event(), asyncio.Event()
    walked: list[str] = []

    class Holding:
        def search(self, text: str) -> None:
            walked.append(text)
            entered.set()
            released.wait(10)

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        assert message == "entries seen"
        told.set()

    def holding(pattern: str, *, ignore_case: bool) -> Holding:
        return Holding()

    monkeypatch.setattr(reading, "_compiled", holding)
    monkeypatch.setattr(progress, "TELL_EVERY", 0.01)
    searching = files.client.call_tool("search", {"pattern": "x", "inside": "name"}, progress_handler=hear)
    call = asyncio.create_task(searching)
    async with asyncio.timeout(10):
        await told.wait()
    assert entered.is_set()
    call.cancel()
    await asyncio.wait([call], timeout=10)
    await files("stat", path="README.md")  # answered after the cancellation was heard
    released.set()
    await files("stat", path="README.md")
    assert len(walked) == 1, "the walk went no further"


async def test_stat_tells_kind_size_and_hash(files: Files) -> None:
    told = await files("stat", path="README.md", with_hash=True)
    assert (told["kind"], told["size"], told["hash"]) == ("file", 22, digest("# Title\n\nHello wörld\n"))
    assert (await files("stat", path="src"))["kind"] == "directory"


async def test_a_write_with_the_expected_hash_happens_once_and_not_over_others_changes(
    files: Files, root: Path
) -> None:
    seen = (await files("read", path="README.md"))["hash"]
    written = await files("write", path="README.md", content="new", expected_hash=seen)
    assert (written["changed"], written["created"], written["previous_hash"]) == (True, False, seen)
    again = await files("write", path="README.md", content="new", expected_hash=seen)
    assert again["changed"] is False, "a repetition finds it done"
    (root / "README.md").write_text("theirs")
    assert "not the expected one" in await files.refused("write", path="README.md", content="mine", expected_hash=seen)
    assert (root / "README.md").read_text() == "theirs"
    assert [name for name in names(root) if name.startswith(".")] == []


async def test_write_keeps_permissions_and_makes_parents_only_when_asked(files: Files, root: Path) -> None:
    (root / "run.sh").write_text("x")
    (root / "run.sh").chmod(0o750)
    await files("write", path="run.sh", content="y")
    assert (root / "run.sh").stat().st_mode & 0o777 == 0o750
    assert "does not exist" in await files.refused("write", path="a/b/c.txt", content="x")
    await files("write", path="a/b/c.txt", content="x", create_parents=True)
    assert (root / "a/b/c.txt").read_text() == "x"


async def test_create_never_replaces(files: Files, root: Path) -> None:
    assert (await files("create", path="new.txt", content="1"))["created"] is True
    assert "already exists" in await files.refused("create", path="new.txt", content="2")
    assert (root / "new.txt").read_text() == "1"


async def test_concurrent_creates_of_one_file_let_one_win(files: Files) -> None:
    calls = [
        files.client.call_tool("create", {"path": "one", "content": str(n)}, raise_on_error=False) for n in range(8)
    ]
    results = await asyncio.gather(*calls)  # noqa: TID251 - none of them raises
    assert sorted(result.is_error for result in results) == [False] + [True] * 7


async def test_edits_take_effect_all_or_none_and_show_a_diff(files: Files, root: Path) -> None:
    before = (root / "src/app.py").read_text()
    bad = [{"old": "42", "new": "43"}, {"old": "nowhere", "new": ""}]
    assert "edit 2: old does not occur" in await files.refused("edit", path="src/app.py", edits=bad)
    text = await files.refused("edit", path="src/app.py", edits=[{"old": "n", "new": "m"}])
    assert f"occurs {before.count('n')} times" in text
    assert (root / "src/app.py").read_text() == before
    preview = await files("edit", path="src/app.py", edits=[{"old": "42", "new": "43"}], dry_run=True)
    assert (preview["changed"], "+    return 43" in preview["diff"]) == (False, True)
    done = await files("edit", path="src/app.py", edits=[{"old": "42", "new": "43"}])
    assert (done["changed"], done["replacements"]) == (True, 1)
    assert (root / "src/app.py").read_text() == before.replace("42", "43")


async def test_move_refuses_to_replace_unless_told_to(files: Files, root: Path) -> None:
    assert "exists; set overwrite" in await files.refused("move", source="README.md", destination="src/app.py")
    moved = await files("move", source="README.md", destination="src/app.py", overwrite=True)
    assert (moved["destination"], moved["replaced"]) == ("Project/src/app.py", True)
    assert (await files("move", source="src", destination="lib"))["uri"] == "files://Project/lib"
    assert (root / "lib/app.py").read_text().startswith("# Title")


async def test_delete_needs_recursive_for_what_is_not_empty_and_never_takes_a_root(files: Files, root: Path) -> None:
    assert "not empty" in await files.refused("delete", path="src")
    assert (await files("delete", path="src", recursive=True))["entries"] == 3
    assert "is a root" in await files.refused("delete", path="", recursive=True)
    assert "does not have the expected hash" in await files.refused("delete", path="README.md", expected_hash="0" * 64)
    assert (await files("delete", path="README.md"))["kind"] == "file"
    assert names(root) == []


async def test_what_is_too_large_is_refused_both_ways(files: Files, root: Path) -> None:
    (root / "big").write_bytes(b"x" * 100_001)
    assert "over 100,000 bytes" in await files.refused("read", path="big")
    assert "over 100,000 bytes" in await files.refused("write", path="new", content="x" * 100_001)
    assert "a line of" in await files.refused("read", path="big", lines=1)


async def test_resources_give_files_directories_and_pages(files: Files) -> None:
    (content,) = await files.client.read_resource("files://Project/README.md")
    assert (content.text, content.mime_type) == ("# Title\n\nHello wörld\n", "text/markdown")
    (blob,) = await files.client.read_resource("files://Project/src/data.bin")
    assert base64.b64decode(blob.blob) == b"\x00\x01\xff"
    (listing,) = await files.client.read_resource("files://Project")
    assert [entry["name"] for entry in json.loads(listing.text)["entries"]] == ["README.md", "src"]
    (below,) = await files.client.read_resource("files://Project/src")
    assert json.loads(below.text)["total"] == 2


async def test_several_roots_are_told_apart_by_name_and_moves_cross_them(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    both = filesystem_server(Settings(roots=((None, root), ("docs", tmp_path / "other"))))
    async with Client(both) as client:
        await client.call_tool("move", {"source": "Project/README.md", "destination": "docs/README.md"})
        listed = await client.call_tool("list", {"path": "docs"})
        assert [entry["path"] for entry in (listed.structured_content or {})["entries"]] == ["docs/README.md"]
        lost = await client.call_tool("list", {"path": "elsewhere"}, raise_on_error=False)
        assert "the roots are Project, docs" in getattr(lost.content[0], "text", "")


async def test_a_read_only_server_offers_no_tool_that_writes(root: Path) -> None:
    async with Client(filesystem_server(Settings(roots=((None, root),), read_only=True))) as client:
        tools = await client.list_tools()
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)


def test_roots_come_from_arguments_or_the_environment_and_wrong_ones_end_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert COMMAND.main([], {}) == 2
    assert "name directories as arguments, or in FILESYSTEM_ROOTS" in capsys.readouterr().err
    assert COMMAND.main([str(tmp_path / "no")], {}) == 2
    assert "No such file or directory" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="two roots are named"):
        filesystem_server(Settings(roots=(("a", tmp_path), ("a", tmp_path))))


class Calling:
    """Gives a tool's data."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return (await self._client.call_tool(tool, arguments)).structured_content


@pytest.mark.parametrize("name", ["My Docs", "ü", "a{b}*c", "100%", "x?y#z"])
async def test_a_root_may_have_any_name_and_its_addresses_work(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "a b.txt").write_text("here")
    server = filesystem_server(Settings(roots=((None, tmp_path / name),)))
    async with Client(server) as client:
        files = Calling(client)
        [root] = (await files("list_roots"))["roots"]
        (listing,) = await client.read_resource(root["uri"])
        [entry] = json.loads(getattr(listing, "text", ""))["entries"]
        (content,) = await client.read_resource((await files("read", path=entry["path"]))["uri"])
    assert (entry["path"], getattr(content, "text", "")) == (f"{name}/a b.txt", "here")


async def test_of_two_writes_that_expect_the_same_hash_one_finds_another(files: Files, root: Path) -> None:
    """Each goes through a server of its own, as two processes would."""
    other = filesystem_server(Settings(roots=((None, root),)))
    for _ in range(20):
        seen = (await files("read", path="README.md"))["hash"]
        calls = [
            server.call_tool("write", {"path": "README.md", "content": f"{seen} {who}", "expected_hash": seen})
            for who, server in enumerate((filesystem_server(Settings(roots=((None, root),))), other))
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)  # noqa: TID251 - one of them has to fail
        assert [type(result).__name__ for result in results if isinstance(result, BaseException)] == ["Conflict"]


async def test_a_create_that_is_repeated_finds_its_file_and_a_delete_that_it_is_gone(files: Files, root: Path) -> None:
    first = await files("create", path="new.txt", content="1")
    second = await files("create", path="new.txt", content="1")
    assert (first["created"], second["created"], second["changed"], first["hash"]) == (
        True,
        False,
        False,
        second["hash"],
    )
    assert (await files("delete", path="new.txt"))["existed"] is True
    gone = await files("delete", path="new.txt", expected_hash=first["hash"])
    assert gone == {"path": "Project/new.txt", "existed": False, "kind": None, "entries": 0}
    assert (await files("delete", path="no/such/place"))["existed"] is False
    (root / "link").symlink_to("nowhere")
    assert "holds something else" in await files.refused("create", path="link", content="1")
    assert "holds something else" in await files.refused("create", path="src", content="1")


async def test_a_cancelled_delete_leaves_what_it_had_not_reached(
    files: Files, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "many").mkdir()
    for number in range(10):
        (root / f"many/{number}").touch()
    entered, released = asyncio.Event(), threading.Event()
    loop, unlinks = asyncio.get_running_loop(), os.unlink

    def slow(path: Any, *, dir_fd: int | None = None) -> None:
        loop.call_soon_threadsafe(entered.set)
        released.wait(10)
        unlinks(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", slow)
    call = asyncio.create_task(files.client.call_tool("delete", {"path": "many", "recursive": True}))
    async with asyncio.timeout(10):
        await entered.wait()
    call.cancel()
    await asyncio.wait([call], timeout=10)
    await files("stat", path="README.md")  # answered after the cancellation was heard
    released.set()
    async with asyncio.timeout(10):
        while len(names(root / "many")) == 10:
            await files("stat", path="README.md")
    monkeypatch.undo()
    await files("stat", path="many")
    assert len(names(root / "many")) == 9


async def test_a_cancelled_read_of_a_long_file_goes_no_further(
    files: Files, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file never ends: without the cancellation the thread would read for ever."""
    entered, ended = threading.Event(), threading.Event()

    def endless(*_: Any) -> Any:
        try:
            while True:
                entered.set()
                yield b"line\n"
        finally:
            ended.set()

    monkeypatch.setattr(reading, "_lines", endless)
    call = asyncio.create_task(files.client.call_tool("read", {"path": "README.md", "first_line": 1 << 40}))
    assert await asyncio.to_thread(entered.wait, 10)
    call.cancel()
    await asyncio.wait([call], timeout=10)
    assert await asyncio.to_thread(ended.wait, 10)


async def test_a_write_leaves_other_hard_links_alone_and_gives_nobodys_rights_away(files: Files, root: Path) -> None:
    outside = root.parent / "outside.txt"
    outside.write_text("theirs")
    outside.chmod(0o4755)
    os.link(outside, root / "hard.txt")
    assert (await files("read", path="hard.txt"))["content"] == "theirs"
    await files("write", path="hard.txt", content="mine")
    assert (outside.read_text(), (root / "hard.txt").read_text()) == ("theirs", "mine")
    assert (root / "hard.txt").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.ts", b"let x = 1", "text/plain"),
        ("a.png", b"\x89PNG\x00", "image/png"),
        ("a.tar.gz", b"\x1f\x8b\x00", "application/gzip"),
        ("a.json", b"{}", "application/json"),
        ("a.svg", b"<svg/>", "image/svg+xml"),
        ("nothing", b"\x00", "application/octet-stream"),
        ("Makefile", b"all:", "text/plain"),
    ],
)
async def test_mime_types_agree_with_what_is_in_the_file(
    files: Files, root: Path, name: str, content: bytes, kind: str
) -> None:
    (root / name).write_bytes(content)
    (given,) = await files.client.read_resource(f"files://Project/{name}")
    assert (given.mime_type, (await files("read", path=name))["mime_type"]) == (kind, kind)


async def test_moving_a_directory_into_itself_says_why_it_cannot(files: Files) -> None:
    assert "would go into itself" in await files.refused("move", source="src", destination="src/below")
