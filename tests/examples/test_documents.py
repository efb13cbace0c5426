"""README and docs say what is true of the files beside them."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from motet.cli import examples
from motet.cli.main import COMMANDS
from motet.config.loading import load_config
from motet.config.model import StdioTransport

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_lead_to_files_that_are_there(page: Path):
    targets = re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_index_leads_to_every_page():
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    assert pages - set(re.findall(r"\]\(([^)#]+)\)", index)) == set()


def test_the_first_screen_begins_with_the_demo():
    assert README.split("```console\n")[1].startswith("$ make demo\n")


def test_commands_in_the_readme_exist():
    used = set(re.findall(r"^\$ motet (\w+)", README, re.M))
    assert used
    assert used <= set(COMMANDS)


def test_the_steps_in_the_readme_are_the_ones_of_the_example():
    (shown,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    chain = yaml.safe_load((examples.folder() / "chain.yaml").read_text())["steps"]
    assert {name: step["call"] for name, step in yaml.safe_load(shown).items()} == {
        name: chain[name]["call"] for name in ("ticket", "tell")
    }


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.S))
def test_the_python_in_the_readme_compiles(code: str):
    body = "\n".join(f"    {line}" for line in code.splitlines())
    compile(f"async def shown():\n{body}", "README.md", "exec")


def test_every_bundled_server_is_in_the_readme():
    folder = ROOT / "src" / "motet_servers"
    servers = {path.parent.name for path in folder.glob("*/__main__.py")} - {"playground"}
    assert servers == set(re.findall(r"^\| \[?(\w+)\]?(?:\([\w./]+\))? \| `\w+://` \|", README, re.M))


def test_the_example_configuration_gives_each_server_what_it_reads_and_nothing_else():
    environment: dict[str, str] = dict.fromkeys(
        (
            "GITHUB_TOKEN", "DATABASE_URL", "JIRA_URL", "JIRA_PERSONAL_TOKEN", "CALDAV_URL", "CALDAV_USERNAME",
            "CALDAV_PASSWORD", "DEPLOY_ROOT", "SLACK_BOT_TOKEN",
        ),
        "given",
    )  # fmt: skip
    config = load_config(examples.folder() / "motet.toml", env=environment)
    for name, server in config.servers.items():
        assert isinstance(server.transport, StdioTransport)
        command: Any = import_module(f"motet_servers.{name}.__main__").COMMAND
        assert server.transport.command == command.name
        assert set(server.transport.env) <= {variable.name for variable in command.variables}


RESULTS = (ROOT / "bench" / "RESULTS.md").read_text(encoding="utf-8")


def results(title: str) -> set[str]:
    """Every number in one table of the bench."""
    return set(re.findall(r"\d[\d,.]*", RESULTS.split(f"## {title}\n")[1].split("\n## ")[0]))


def test_the_costs_in_the_readme_are_those_of_the_bench():
    part = README.split("## What it costs")[1].split("\n## ")[0]
    shown = set(re.findall(r"(\d[\d.]*) (?:µs|KiB|ms)", part))
    assert shown
    one, many = results("One call, against the official clients"), results("Many servers, some of them broken")
    assert shown - one - many == set()


def test_the_sizing_of_a_fleet_is_that_of_the_bench():
    page = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\| ([^|]*) \|$", page.split("**How many workers?**")[1].split("\n\nWhere")[0], re.M)
    shown = {number for row in rows for number in re.findall(r"\d[\d.]*", row)}
    assert shown
    assert shown - results("A fleet on PostgreSQL") == set()
