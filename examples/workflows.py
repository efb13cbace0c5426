"""The three patterns as `@workflow` functions: Python's control flow, a workflow file's report, undo and limits.

report = await motet.run(chain, {"repo": "acme/app", "ticket": "PROJ-42"})
"""

from __future__ import annotations

from typing import Any

from motet import workflow
from motet.engine.functions import Hub


@workflow
async def sequential(hub: Hub, ticket: str, repo: str) -> dict[str, Any]:
    """Create a GitHub issue from a Jira ticket and link the two."""
    found = await hub.jira.get_issue(key=ticket).named("ticket").optional()
    if found is None:
        return {"issue": None, "linked": False}
    made = hub.github.create_issue(repo=repo, title=found["summary"], body=found["description"])
    issue = await made.named("issue")
    link = await hub.jira.add_link(key=ticket, url=issue["html_url"]).named("link").optional()
    return {"issue": issue["html_url"], "linked": link is not None}


@workflow
async def parallel(hub: Hub, repo: str, project: str, calendar: str = "team") -> dict[str, Any]:
    """Project status from GitHub, Jira and the team calendar."""
    status = await hub.read(
        {
            "pull_requests": f"github://{repo}/pull-requests",
            "sprint": f"jira://project/{project}/sprint/current",
            "deadlines": f"calendar://{calendar}/deadlines",
        }
    ).named("status")
    return {"status": status, "missing": [key for key in ("pull_requests", "sprint", "deadlines") if key not in status]}


@workflow
async def chain(hub: Hub, repo: str, ticket: str, env: str = "staging", channel: str = "#releases") -> dict[str, Any]:
    """Deploy the latest release, update the ticket and tell the channel."""
    release = await hub.github.get_latest_release(repo=repo).named("release")
    version = release["tag_name"]
    deployment = hub.deploy.deploy(version=version, env=env).named("deploy")
    deployed = await deployment.undo(hub.deploy.rollback, lambda done: {"env": env, "to": done["previous"]})
    healthy = await hub.deploy.check(env=env).named("healthy")

    moved = await hub.jira.transition_issue(key=ticket, status="deployed").named("ticket").optional()
    text = f"{version} is on {env}" + ("" if moved is not None else "; ticket update pending")
    told = await hub.slack.send_message(channel=channel, text=text).named("tell").optional()
    return {
        "version": version,
        "previous": deployed["previous"],
        "health": healthy["health_body"],
        "ticket": "done" if moved is not None else "failed",
        "message": told["text"] if told is not None else None,
    }
