"""The specification's three patterns on stand-ins nobody here wrote: real processes, workflow files as shipped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standins import Emulate, Jira820, Radicale

from motet import Orchestrator
from motet.cli import examples

pytestmark = pytest.mark.timeout(120)  # eight processes start, on a machine that may be busy
VERSION = "v2.1.0"
REPO = "acme/web"
"""No other test of a worker makes releases there."""


@dataclass
class Stage:
    motet: Orchestrator
    emulate: Emulate
    jira820: Jira820
    ticket: str
    summary: str
    calendar: str

    def issues(self) -> list[dict[str, Any]]:
        """GitHub's issues that came from the ticket."""
        found = self.emulate.github("GET", "/repos/acme/web/issues?state=all&per_page=100").json()
        return [issue for issue in found if issue["title"] == self.summary]

    def links(self) -> list[str]:
        found = self.jira820.ask("GET", f"/rest/api/2/issue/{self.ticket}/remotelink").json()
        return [link["object"]["url"] for link in found]

    def status(self) -> str:
        found = self.jira820.ask("GET", f"/rest/api/2/issue/{self.ticket}").json()
        return str(found["fields"]["status"]["name"])

    def messages(self) -> list[str]:
        channels = self.emulate.slack("POST", "conversations.list").json()["channels"]
        [where] = [channel["id"] for channel in channels if channel["name"] == "releases"]
        history = self.emulate.slack("POST", "conversations.history", data={"channel": where, "limit": "200"}).json()
        return [message["text"] for message in history["messages"]]


def furnish(emulate: Emulate, jira820: Jira820, radicale: Radicale, summary: str, folder: Path) -> tuple[str, str]:
    """A ticket, a calendar with a deadline, a release and what it deploys; gives the ticket's key and the calendar."""
    fields = {"project": {"key": "PROJ"}, "summary": summary, "description": "As asked.", "issuetype": {"name": "Task"}}
    ticket = str(jira820.ask("POST", "/rest/api/2/issue", json={"fields": fields}).json()["key"])
    calendar = radicale.calendar()
    day = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y%m%d")
    todo = (
        f"BEGIN:VTODO\r\nUID:freeze\r\nDTSTAMP:20261101T000000Z\r\nSUMMARY:Freeze\r\nDUE;VALUE=DATE:{day}\r\nEND:VTODO"
    )
    text = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\n{todo}\r\nEND:VCALENDAR\r\n"
    assert radicale.ask("PUT", f"/ada/{calendar}/freeze.ics", content=text.encode()).status_code == 201
    made = emulate.github("POST", "/repos/acme/web/releases", json={"tag_name": VERSION, "name": VERSION})
    assert made.status_code in {201, 422}, made.text
    artifact = folder / "artifacts" / VERSION
    artifact.mkdir(parents=True)
    (artifact / "app.py").write_text((examples.folder() / "web-service" / "app.py").read_text())
    (artifact / "VERSION").write_text(VERSION)
    return ticket, calendar


@pytest.fixture
async def stage(
    emulate: Emulate, jira820: Jira820, radicale: Radicale, tmp_path: Path, unique: Callable[[str], str]
) -> AsyncGenerator[Stage]:
    summary = unique("Ship")
    ticket, calendar = await asyncio.to_thread(furnish, emulate, jira820, radicale, summary, tmp_path)
    environments = {
        "github": {"GITHUB_API_URL": emulate.github_url, "GITHUB_TOKEN": emulate.token},
        "jira": {"JIRA_URL": jira820.url, "JIRA_PERSONAL_TOKEN": "any-token"},
        "slack": {"SLACK_API_URL": emulate.slack_url, "SLACK_BOT_TOKEN": emulate.slack_token},
        "calendar": radicale.environment(),
        "deploy": {"DEPLOY_ROOT": str(tmp_path)},
    }
    servers = {
        name: {"command": sys.executable, "args": ["-m", f"motet_servers.{name}"], "env": env, "trusted": True}
        for name, env in environments.items()
    }
    async with Orchestrator.from_config({"defaults": {"timeout": {"connect": 60}}, "servers": servers}) as motet:
        yield Stage(motet, emulate, jira820, ticket, summary, calendar)
        await motet.attempt("deploy", "stop", {"env": "staging"})


async def test_the_three_patterns_do_their_work_on_stand_ins_nobody_here_wrote(stage: Stage) -> None:
    shipped = examples.folder()

    report = await stage.motet.run(shipped / "sequential.yaml", {"ticket": stage.ticket, "repo": REPO})
    assert report.status == "complete", report
    [issue] = await asyncio.to_thread(stage.issues)
    assert issue["body"].startswith("As asked.")
    assert report.output == {"issue": issue["html_url"], "linked": True}
    assert await asyncio.to_thread(stage.links) == [issue["html_url"]]

    wanted: dict[str, Any] = {"repo": REPO, "project": "PROJ", "calendar": stage.calendar}
    report = await stage.motet.run(shipped / "parallel.yaml", wanted)
    assert report.status == "complete", report
    output: Any = report.output
    assert set(output["status"]) == {"pull_requests", "sprint", "deadlines"}
    assert [one["summary"] for one in output["status"]["deadlines"]["deadlines"]] == ["Freeze"]

    wanted = {"repo": REPO, "ticket": stage.ticket}
    report = await stage.motet.run(shipped / "chain.yaml", wanted)
    assert report.status == "complete", report
    output = report.output
    assert (output["version"], output["ticket"]) == (VERSION, "done")
    assert await asyncio.to_thread(stage.status) == "Deployed"
    assert f"{VERSION} is on staging" in await asyncio.to_thread(stage.messages)
