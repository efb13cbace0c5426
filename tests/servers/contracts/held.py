"""Holds every request of a github, jira or slack server, whatever a test is about, to the vendor's contract.

A `conftest.py` takes the fixtures from here; a test fails if a request is not what the vendor's document says. What the
playground answers is held to it too; the stand-ins nobody here wrote answer as they do.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from contract import Contract, load

from motet_servers.kit.addresses import is_loopback
from motet_servers.kit.http import Answer, ApiClient

HERE = Path(__file__).parent
KNOWN: dict[str, dict[str, Any]] = {
    "GitHub": {
        "gaps": ["GET /repos/acme/app/contents"],  # "omit the path parameter", it says, for the root
    },
    "Jira": {
        "gaps": ["GET /rest/agile/1.0/", "POST /rest/agile/1.0/"],  # the Agile API has no document
        "wrong": {
            "GET /rest/api/2/issue/{issueIdOrKey}/remotelink answers 200: the whole": "it declares one, Jira lists all",
            'assignee sends: name: null is not of type "string"': "Data Center takes the assignee away so",
        },
        "formats": False,  # its date-times have no colon in the offset, in its examples too
    },
    "Slack": {
        "gaps": [  # added since the document was written (upload in two steps: 2024; message metadata: 2022)
            "POST /files.getUploadURLExternal",
            "POST /files.completeUploadExternal",
            "POST /upload/",
            "/chat.postMessage metadata",
            "/conversations.history include_all_metadata",
            "/conversations.replies include_all_metadata",
        ],
        "wrong": {
            '"channel_actions_ts" is a required property': "its own example answers without",
            '"channel_actions_count" is a required property': "its own example answers without",
            "Additional properties are not allowed ('edited' was unexpected)": "changed messages have it",
            "Additional properties are not allowed ('metadata' was unexpected)": "message metadata came in 2022",
            "Additional properties are not allowed ('response_metadata' was unexpected)": "its prose pages by cursor",
        },
        "forms_for_queries": True,
    },
}
"""By service: what its document is too old to know, or has wrong, one by one with the reason."""


@pytest.fixture(scope="session")
def contracts() -> Path:
    """The folder with the vendors' documents, fetched once into the cache."""
    done = subprocess.run(
        [sys.executable, str(HERE / "fetch.py")], timeout=400, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@cache
def contract_of(folder: Path, service: str, prefix: str) -> Contract:
    """A service's contract, for a base URL with that path."""
    return load(folder, service.lower(), prefix=prefix, **KNOWN[service])


def held(*, answers: bool) -> Callable[..., Any]:
    """A fixture for every test of a folder: the requests, and if asked the playground's answers, fit."""

    @pytest.fixture(autouse=True)
    def held_to_the_contracts(contracts: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[list[str]]:
        problems: list[str] = []
        send = ApiClient._send

        async def checked(client: ApiClient, request: httpx2.Request, *, harmless: bool) -> Answer:
            if client.service not in KNOWN:
                return await send(client, request, harmless=harmless)
            base = urlsplit(client.base)
            contract = contract_of(contracts, client.service, base.path)
            method, url, kind = request.method, str(request.url), request.headers.get("content-type", "")
            problems.extend(contract.request_problems(method, url, kind, await request.aread()))
            answer = await send(client, request, harmless=harmless)
            if answers and is_loopback(base.hostname or ""):
                kind = answer.headers.get("content-type", "")
                problems.extend(contract.answer_problems(method, url, answer.status, kind, answer.content))
            return answer

        monkeypatch.setattr(ApiClient, "_send", checked)
        yield problems
        if problems:
            pytest.fail("\n".join(dict.fromkeys(problems)))

    return held_to_the_contracts
