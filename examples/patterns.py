"""The three patterns of multi-server work as plain Python functions over an `Orchestrator`.

They do what `sequential.yaml`, `parallel.yaml` and `chain.yaml` do, with nothing but `call_tool`, `attempt` and
`read_resources`. Where the work can go on without a server it goes on, and the result says what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motet import CallError, Orchestrator, Reading


async def sequential(motet: Orchestrator, *, ticket: str, repo: str) -> dict[str, Any]:
    """Create a GitHub issue from a Jira ticket, and link the two."""
    found = await motet.call_tool("jira", "get_issue", {"key": ticket})
    issue = await motet.call_tool(
        "github", "create_issue", {"repo": repo, "title": found.data["summary"], "body": found.data["description"]}
    )
    url = issue.data["html_url"]
    link = await motet.attempt("jira", "add_link", {"key": ticket, "url": url})
    try:
        link.result()
    except CallError as error:
        return {"issue": url, "linked": False, "pending": str(error)}
    return {"issue": url, "linked": True}


async def parallel(motet: Orchestrator, *, repo: str, project: str, calendar: str = "team") -> Reading:
    """Project status from three servers at once; `missing` names what could not be had."""
    return await motet.read_resources(
        [
            f"github://{repo}/pull-requests",
            f"jira://project/{project}/sprint/current",
            f"calendar://{calendar}/deadlines",
        ]
    )


async def chain(
    motet: Orchestrator, *, repo: str, ticket: str, env: str = "staging", channel: str = "#releases"
) -> Mapping[str, Any]:
    """Deploy the latest release, move the ticket, tell the channel; an unhealthy deployment is taken back."""
    release = await motet.call_tool("github", "get_latest_release", {"repo": repo})
    version = release.data["tag_name"]
    deployed = await motet.call_tool("deploy", "deploy", {"version": version, "env": env})
    try:
        health = await motet.call_tool("deploy", "check", {"env": env})
    except CallError:
        await motet.call_tool("deploy", "rollback", {"env": env, "to": deployed.data["previous"]})
        raise

    pending: dict[str, str] = {}
    try:
        await motet.call_tool("jira", "transition_issue", {"key": ticket, "status": "deployed"})
    except CallError as error:
        pending["ticket"] = str(error)
    text = f"{version} is on {env}" + ("; ticket update pending" if "ticket" in pending else "")
    try:
        await motet.call_tool("slack", "send_message", {"channel": channel, "text": text})
    except CallError as error:
        pending["tell"] = str(error)
    return {"version": version, "health": health.data["health_body"], "message": text, "pending": pending}
