"""The github, jira and slack servers and the playground, held to the vendors' own OpenAPI documents.

Each tour calls every tool and reads every resource. That every outgoing request and every answer of the playground fit
is what `held` sees to, here and in all other tests of these servers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fetch
import pytest
from contract import Contract
from fastmcp.exceptions import ToolError
from held import KNOWN, contract_of
from tours import Caller, github_tour, jira_tour, slack_tour

from motet_servers.github.server import github_server
from motet_servers.jira.server import jira_server
from motet_servers.kit.http import ApiClient
from motet_servers.kit.server import DomainServer
from motet_servers.playground.world import Playground
from motet_servers.slack.server import slack_server

pytestmark = pytest.mark.timeout(60)  # the first test of a worker may fetch the documents


def environment(playground: Playground, server: str) -> dict[str, str]:
    found: Any = playground.environment()[server]
    return {str(name): str(value) for name, value in found.items()}


def serve(playground: Playground, vendor: str) -> DomainServer:
    """The vendor's server over the playground."""
    env = environment(playground, vendor)
    match vendor:
        case "github":
            return github_server(env["GITHUB_API_URL"], env["GITHUB_TOKEN"])
        case "jira":
            return jira_server(env["JIRA_URL"], personal_token=env["JIRA_PERSONAL_TOKEN"])
        case _:
            return slack_server(env["SLACK_API_URL"], env["SLACK_BOT_TOKEN"])


def fresh(folder: Path, service: str, prefix: str = "") -> Contract:
    """The contract that the requests to come are held to, with nothing met yet."""
    contract = contract_of(folder, service, prefix)
    contract.met.clear()
    contract.unchecked.clear()
    return contract


# Each tour, and every refusal, is held to the document by the fixture `held_to_the_contracts`.


async def test_githubs_document_knows_every_request_and_answer_of_the_tour(
    contracts: Path, playground: Playground
) -> None:
    contract = fresh(contracts, "GitHub")
    # the playground keeps no branches, so no diffs of new ones
    call = Caller(serve(playground, "github"), lacking={"list_pull_request_files"})
    await github_tour(call, repo="acme/app", head="faster")
    [seeded] = (await call("list_pull_requests", head="acme:session-cache", repo="acme/app"))["items"]
    assert (await call("list_pull_request_files", number=seeded["number"], repo="acme/app"))["items"] != []
    assert await call.missed() == set()
    assert (contract.unchecked, contract.unmet()) == (set(), set())


async def test_jiras_documents_know_every_request_and_answer_of_the_tour(
    contracts: Path, playground: Playground
) -> None:
    contract = fresh(contracts, "Jira")
    call = Caller(serve(playground, "jira"))
    await jira_tour(call, project="PROJ", assignee="ada", status="Done", key="contract")
    assert await call.missed() == set()
    assert {gap.split("/")[2] for gap in contract.unchecked} == {"agile"}
    assert contract.unmet() == set()


async def test_slacks_document_knows_every_request_and_answer_of_the_tour(
    contracts: Path, playground: Playground
) -> None:
    contract = fresh(contracts, "Slack", "/api")
    call = Caller(serve(playground, "slack"))
    await slack_tour(call, channel="releases", user="grace", key="contract")
    assert (await call("search_users", query="grace@example.test"))["items"] != []
    assert await call.missed() == set()
    gaps = KNOWN["Slack"]["gaps"]
    seen = {next(gap for gap in gaps if each.startswith(gap)) for each in contract.unchecked}
    assert (seen, contract.unmet()) == (set(gaps) - {"/conversations.replies include_all_metadata"}, set())


REFUSED = {
    "github": [
        ("get_issue", {"number": 9999, "repo": "acme/app"}),
        ("get_release", {"tag": "v0.0.0", "repo": "acme/app"}),
        ("get_repository", {"repo": "acme/none"}),
        ("add_labels", {"number": 9999, "labels": ["bug"], "repo": "acme/app"}),
        ("create_pull_request", {"title": "Again", "head": "session-cache", "repo": "acme/app"}),
        ("create_release", {"tag_name": "v2.1.0", "repo": "acme/app"}),
        ("create_or_update_file", {"path": "README.md", "content": "x", "message": "m", "repo": "acme/app"}),
    ],
    "jira": [
        ("get_issue", {"key": "PROJ-9999"}),
        ("search_issues", {"jql": "nonsense ~~"}),
        ("transition_issue", {"key": "PROJ-42", "status": "Nowhere"}),
        ("create_issue", {"project": "NONE", "summary": "x"}),
        ("assign_issue", {"key": "PROJ-42", "assignee": "nobody-of-this-name"}),
    ],
    "slack": [
        ("get_channel", {"channel": "C0NONE00000"}),
        ("send_message", {"channel": "C0NONE00000", "text": "x"}),
        ("update_message", {"channel": "#releases", "ts": "1000000000.000001", "text": "x"}),
        ("list_replies", {"channel": "#releases", "thread_ts": "1000000000.000001"}),
    ],
}


@pytest.mark.parametrize("vendor", list(REFUSED))
async def test_refusals_fit_the_documents_too(playground: Playground, vendor: str) -> None:
    server = serve(playground, vendor)
    for tool, arguments in REFUSED[vendor]:
        with pytest.raises(ToolError):
            await server.call_tool(tool, arguments)


async def test_a_request_that_is_not_in_the_document_is_heard(
    playground: Playground, held_to_the_contracts: list[str]
) -> None:
    env = environment(playground, "github")
    token = {"Authorization": f"Bearer {env['GITHUB_TOKEN']}"}
    async with ApiClient("GitHub", env["GITHUB_API_URL"], headers=token) as client:
        for path in ("/user", "/repos/acme/app/issues?state=ajar"):
            await client.request("GET", path)
    assert [problem[:40] for problem in held_to_the_contracts] == [
        "GET /user is not in the document",
        "GET /repos/{owner}/{repo}/issues state: ",
    ]
    held_to_the_contracts.clear()


def test_without_a_registry_and_without_a_cache_it_says_what_is_missing_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "TARGET", tmp_path)
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(SystemExit) as failed:
        fetch.fetch()
    said = str(failed.value).splitlines()
    assert said[0].startswith(f"The vendors' OpenAPI documents are not in {tmp_path}, and npm could not fetch @octokit")
    assert "ECONNREFUSED" in "".join(said[1:-1])
    assert said[-1].endswith("then: make contracts")
    assert not (tmp_path / ".fetched").exists()


PETS: dict[str, Any] = {
    "paths": {
        "/pets/{number}": {
            "put": {
                "parameters": [
                    {"name": "number", "in": "path", "required": True, "schema": {"type": "integer"}},
                    {"name": "kind", "in": "query", "required": True, "schema": {"enum": ["cat", "dog"]}},
                ],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/pet"}}}},
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/pet"}}}}
                },
            }
        }
    },
    "components": {
        "schemas": {"pet": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}
    },
}


@pytest.mark.parametrize(
    ("method", "url", "body", "problem"),
    [
        ("PUT", "http://x/pets/1?kind=cat", b'{"name": "Tom"}', ""),
        ("POST", "http://x/pets/1?kind=cat", b'{"name": "Tom"}', "POST /pets/1 is not in the document"),
        ("PUT", "http://x/pets/tom?kind=cat", b'{"name": "Tom"}', "number: the whole: "),
        ("PUT", "http://x/pets/1?kind=cow", b'{"name": "Tom"}', "kind: the whole: "),
        ("PUT", "http://x/pets/1", b'{"name": "Tom"}', "lacks kind"),
        ("PUT", "http://x/pets/1?kind=cat&x=1", b'{"name": "Tom"}', "has no parameter x"),
        ("PUT", "http://x/pets/1?kind=cat", b'{"name": 1}', "sends: name: "),
        ("PUT", "http://x/pets/1?kind=cat", b'{"name": "Tom", "age": 3}', "sends age, which is not declared"),
    ],
)
def test_the_check_hears_what_is_wrong_with_a_request(method: str, url: str, body: bytes, problem: str) -> None:
    found = list(Contract(PETS).request_problems(method, url, "application/json", body))
    assert len(found) == (1 if problem else 0)
    assert problem in "".join(found)


@pytest.mark.parametrize(
    ("status", "kind", "body", "problem"),
    [
        (200, "application/json", b'{"name": "Tom"}', ""),
        (200, "application/json", b'{"name": null}', "answers 200: name: "),
        (200, "text/html", b"<html>", "answers text/html where JSON is declared"),
        (418, "application/json", b"{}", "never answers 418"),
    ],
)
def test_the_check_hears_what_is_wrong_with_an_answer(status: int, kind: str, body: bytes, problem: str) -> None:
    found = list(Contract(PETS).answer_problems("PUT", "http://x/pets/1", status, kind, body))
    assert len(found) == (1 if problem else 0)
    assert problem in "".join(found)
