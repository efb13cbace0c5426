"""The github, jira and slack servers and the playground, held to the vendors' own OpenAPI documents.

Each tour calls every tool; every outgoing request and every answer of the playground is checked. What a document is too
old to know is named here, one by one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contract import CheckedTransport, Contract, load
from fastmcp.exceptions import ToolError
from tours import Caller, github_tour, jira_tour, slack_tour

from motet_servers.github.server import github_server
from motet_servers.jira.server import jira_server
from motet_servers.playground.world import Playground
from motet_servers.slack.server import slack_server

pytestmark = pytest.mark.timeout(60)  # the first test of a worker may fetch the documents

JIRA_GAPS = ["GET /rest/agile/1.0/", "POST /rest/agile/1.0/"]
"""The Agile API has no document."""
JIRA_WRONG = {
    "GET /rest/api/2/issue/{issueIdOrKey}/remotelink answers 200: the whole": "it declares one link, Jira lists all",
}
SLACK_GAPS = [
    "POST /files.getUploadURLExternal",
    "POST /files.completeUploadExternal",
    "POST /upload/",
    "/chat.postMessage metadata",
    "/conversations.history include_all_metadata",
]
"""Added since the document was written (upload in two steps: 2024; message metadata: 2022)."""
SLACK_WRONG = {
    '"channel_actions_ts" is a required property': "its own example answers without",
    '"channel_actions_count" is a required property': "its own example answers without",
    "Additional properties are not allowed ('edited' was unexpected)": "it leaves out what changed messages have",
    "Additional properties are not allowed ('metadata' was unexpected)": "message metadata came in 2022",
}


def environment(playground: Playground, server: str) -> dict[str, str]:
    found: Any = playground.environment()[server]
    return {str(name): str(value) for name, value in found.items()}


async def test_github_requests_and_the_playgrounds_answers_fit_githubs_document(
    contracts: Path, playground: Playground
) -> None:
    env = environment(playground, "github")
    transport = CheckedTransport(load(contracts, "github"), answers=True)
    server = github_server(env["GITHUB_API_URL"], env["GITHUB_TOKEN"], transport=transport)
    call = Caller(
        server, lacking={"list_pull_request_files"}
    )  # the playground keeps no branches, so no diffs of new ones
    await github_tour(call, repo="acme/app", head="faster")
    [seeded] = (await call("list_pull_requests", head="acme:session-cache", repo="acme/app"))["items"]
    assert (await call("list_pull_request_files", number=seeded["number"], repo="acme/app"))["items"] != []
    assert transport.problems == []
    assert transport.contract.unchecked == set()
    assert await call.missed() == set()


async def test_jira_requests_and_the_playgrounds_answers_fit_jiras_documents(
    contracts: Path, playground: Playground
) -> None:
    env = environment(playground, "jira")
    # its date-times have no colon in the offset, in its examples too
    transport = CheckedTransport(load(contracts, "jira", gaps=JIRA_GAPS, wrong=JIRA_WRONG, formats=False), answers=True)
    call = Caller(jira_server(env["JIRA_URL"], personal_token=env["JIRA_PERSONAL_TOKEN"], transport=transport))
    await jira_tour(call, project="PROJ", assignee="ada", status="Done", key="contract")
    assert transport.problems == []
    assert {gap.split("/")[3] for gap in transport.contract.unchecked} == {"1.0"}
    assert await call.missed() == set()


async def test_slack_requests_and_the_playgrounds_answers_fit_slacks_document(
    contracts: Path, playground: Playground
) -> None:
    env = environment(playground, "slack")
    contract = load(contracts, "slack", prefix="/api", gaps=SLACK_GAPS, wrong=SLACK_WRONG, forms_for_queries=True)
    transport = CheckedTransport(contract, answers=True)
    call = Caller(slack_server(env["SLACK_API_URL"], env["SLACK_BOT_TOKEN"], transport=transport))
    await slack_tour(call, channel="releases", user="grace", key="contract")
    assert transport.problems == []
    seen = [next(gap for gap in SLACK_GAPS if let_pass.startswith(gap)) for let_pass in transport.contract.unchecked]
    assert sorted(seen) == sorted(SLACK_GAPS)
    assert await call.missed() == set()


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
async def test_refusals_fit_the_documents_too(contracts: Path, playground: Playground, vendor: str) -> None:
    env = environment(playground, vendor)
    match vendor:
        case "github":
            transport = CheckedTransport(load(contracts, vendor), answers=True)
            server = github_server(env["GITHUB_API_URL"], env["GITHUB_TOKEN"], transport=transport)
        case "jira":
            transport = CheckedTransport(load(contracts, vendor, gaps=JIRA_GAPS, formats=False), answers=True)
            server = jira_server(env["JIRA_URL"], personal_token=env["JIRA_PERSONAL_TOKEN"], transport=transport)
        case _:
            contract = load(
                contracts, vendor, prefix="/api", gaps=SLACK_GAPS, wrong=SLACK_WRONG, forms_for_queries=True
            )
            transport = CheckedTransport(contract, answers=True)
            server = slack_server(env["SLACK_API_URL"], env["SLACK_BOT_TOKEN"], transport=transport)
    for tool, arguments in REFUSED[vendor]:
        with pytest.raises(ToolError):
            await server.call_tool(tool, arguments)
    assert transport.problems == []


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
