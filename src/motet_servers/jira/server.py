"""The Jira server's tools and resources."""

from __future__ import annotations

from ssl import SSLContext
from typing import Annotated, Literal

import httpx2
from fastmcp.resources.base import ResourceResult
from pydantic import Field

from motet_servers.jira import dialect, model
from motet_servers.jira.api import LONGEST_TEXT, Jira
from motet_servers.kit.arguments import Cursor, Key
from motet_servers.kit.http import ApiClient
from motet_servers.kit.server import JSON, DomainServer, as_json, closing
from motet_servers.kit.settings import SettingsError, Values

IssueKey = Annotated[str, Field(min_length=1, max_length=300, description="An issue's key, such as PROJ-42.")]
ProjectKey = Annotated[str, Field(min_length=1, max_length=255, description="A project's key, such as PROJ.")]
Limit = Annotated[int, Field(ge=1, le=100, description="Most items on one page.")]
Summary = Annotated[str, Field(min_length=1, max_length=255)]
Markup = Annotated[str, Field(max_length=LONGEST_TEXT, description="Text in Jira's wiki markup.")]
Labels = Annotated[
    list[Annotated[str, Field(max_length=255, pattern=r"^\S+$")]] | None,
    Field(max_length=100, description="Without spaces."),
]
Name = Annotated[str, Field(min_length=1, max_length=255)]
UserName = Annotated[str, Field(max_length=255, description="A user name; empty: nobody.")]
Id = Annotated[int, Field(ge=1, le=2**53)]
Day = Annotated[str | None, Field(description="YYYY-MM-DD.", pattern=r"^(\d{4}-\d{2}-\d{2})?$")]


def build(values: Values, arguments: list[str]) -> DomainServer:
    """The server for the environment's Jira."""
    del arguments
    url = values.url("JIRA_URL")
    username, token = values.get("JIRA_USERNAME"), values.get("JIRA_API_TOKEN")
    if values.get("JIRA_PERSONAL_TOKEN"):
        return jira_server(url, personal_token=values.token("JIRA_PERSONAL_TOKEN"), tls=values.authorities())
    if username and token:
        return jira_server(url, basic=(username, token), tls=values.authorities())
    raise SettingsError("no credential: set JIRA_PERSONAL_TOKEN, or JIRA_USERNAME and JIRA_API_TOKEN.")


def jira_server(
    url: str,
    *,
    personal_token: str = "",
    basic: tuple[str, str] | None = None,
    tls: SSLContext | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> DomainServer:
    """A server for the Jira at `url`, by personal token or by user name and password (or API token)."""
    secrets = [personal_token, basic[1] if basic is not None else ""]
    client = ApiClient(
        "Jira",
        url,
        headers={"Accept": "application/json"}
        | ({"Authorization": f"Bearer {personal_token}"} if personal_token else {}),
        auth=basic,
        explain=dialect.words,
        secrets=secrets,
        tls=tls,
        transport=transport,
    )
    jira = Jira(client)

    server = DomainServer(
        "jira-mcp-server",
        version="1.0.0",
        description="Jira integration: issues, sprints, boards, and project management.",
        capabilities={"tools": {}, "resources": {}},
        domain="jira",
        uris=["jira://**"],
        secrets=secrets,
        lifespan=closing(client),
    )
    _reading_tools(server, jira)
    _writing_tools(server, jira)
    _moving_tools(server, jira)
    _linking_tools(server, jira)
    _planning_tools(server, jira)
    _resources(server, jira)
    return server


def _reading_tools(server: DomainServer, jira: Jira) -> None:
    @server.tool(retry="safe", title="Get an issue")
    async def get_issue(key: IssueKey) -> model.Issue:
        """An issue by its key."""
        return await jira.issue(key)

    @server.tool(retry="safe", title="Search issues")
    async def search_issues(
        jql: Annotated[str, Field(max_length=10_000, description="A query in Jira's query language.")],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> model.IssuePage:
        """Issues that a JQL query finds."""
        return await jira.search(jql, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="List comments")
    async def list_comments(key: IssueKey, limit: Limit = 50, cursor: Cursor = None) -> model.CommentPage:
        """Comments of an issue, oldest first."""
        return await jira.comments(key, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="List links")
    async def list_links(key: IssueKey) -> model.Links:
        """The pages elsewhere that an issue links to."""
        return await jira.links(key)

    @server.tool(retry="safe", title="List transitions")
    async def list_transitions(key: IssueKey) -> model.Transitions:
        """Where an issue can go from the status it has."""
        return await jira.transitions(key)

    @server.tool(retry="safe", title="List projects")
    async def list_projects(limit: Limit = 100, cursor: Cursor = None) -> model.ProjectPage:
        """The projects the credential may see."""
        return await jira.projects(limit=limit, cursor=cursor)


def _writing_tools(server: DomainServer, jira: Jira) -> None:
    @server.tool(retry="keyed", title="Create an issue", destructive=False)
    async def create_issue(
        project: ProjectKey,
        summary: Summary,
        description: Markup = "",
        type: Annotated[Name, Field(description="The issue type's name.")] = "Task",  # noqa: A002 - the field's name everywhere
        priority: Name | None = None,
        assignee: Annotated[Name | None, Field(description="A user name.")] = None,
        labels: Labels = None,
        parent: Annotated[IssueKey | None, Field(description="Key of the issue it is a sub-task of.")] = None,
        due_date: Day = None,
        idempotency_key: Key = None,
    ) -> model.Issue:
        """Create an issue. With a key, a repetition gives the issue that the first call made."""
        fields = {
            "description": description or None,
            "type": type,
            "priority": priority,
            "assignee": assignee,
            "labels": labels,
            "parent": parent,
            "due_date": due_date,
        }
        return await jira.create(project, summary, fields, key=idempotency_key)

    @server.tool(retry="safe", title="Update an issue", read_only=False, idempotent=True)
    async def update_issue(
        key: IssueKey,
        summary: Summary | None = None,
        description: Markup | None = None,
        priority: Name | None = None,
        labels: Labels = None,
        due_date: Day = None,
    ) -> model.Issue:
        """Change an issue's fields. What is left out stays; an empty `due_date` takes it away."""
        fields = {
            "summary": summary,
            "description": description,
            "priority": priority,
            "labels": labels,
            "due_date": due_date,
        }
        return await jira.update(key, fields)

    @server.tool(retry="safe", title="Assign an issue", read_only=False, idempotent=True)
    async def assign_issue(key: IssueKey, assignee: UserName) -> model.Issue:
        """Give an issue to somebody."""
        return await jira.assign(key, assignee)


def _moving_tools(server: DomainServer, jira: Jira) -> None:
    @server.tool(retry="keyed", title="Comment on an issue", destructive=False)
    async def add_comment(
        key: IssueKey, body: Annotated[Markup, Field(min_length=1)], idempotency_key: Key = None
    ) -> model.Comment:
        """Comment on an issue. With a key, a repetition gives the comment that the first call made."""
        return await jira.comment(key, body, idempotency_key=idempotency_key)

    @server.tool(retry="safe", title="Move an issue", read_only=False, idempotent=True)
    async def transition_issue(
        key: IssueKey,
        status: Annotated[Name, Field(description="Status or transition, by name or id.")],
    ) -> model.Moved:
        """Move an issue to a status; one that has it already is left alone."""
        return await jira.transition(key, status)


def _linking_tools(server: DomainServer, jira: Jira) -> None:
    @server.tool(retry="safe", title="Link to a page", read_only=False, idempotent=True)
    async def add_link(
        key: IssueKey,
        url: Annotated[str, Field(min_length=1, max_length=2000)],
        title: Annotated[str | None, Field(max_length=255, description="Left out: the URL.")] = None,
    ) -> model.Link:
        """Link an issue to a page elsewhere; the same URL is linked once, its title brought up to date."""
        return await jira.link(key, url, title)

    @server.tool(retry="safe", title="Link two issues", read_only=False, destructive=False, idempotent=True)
    async def link_issues(
        key: IssueKey,
        other: IssueKey,
        type: Annotated[Name, Field(description="The link type's name.")] = "Relates",  # noqa: A002 - the field's name everywhere
    ) -> model.IssueLink:
        """Link an issue to another (`key` blocks `other`, say); such a link between them is made once."""
        return await jira.link_issues(key, other, type)


def _planning_tools(server: DomainServer, jira: Jira) -> None:
    @server.tool(retry="safe", title="List boards")
    async def list_boards(
        project: ProjectKey | None = None, limit: Limit = 50, cursor: Cursor = None
    ) -> model.BoardPage:
        """Boards, of one project or all."""
        return await jira.boards(project, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="List sprints")
    async def list_sprints(
        board_id: Id,
        state: Literal["active", "future", "closed"] | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> model.SprintPage:
        """Sprints of a board."""
        return await jira.sprints(board_id, state, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="List a sprint's issues")
    async def list_sprint_issues(sprint_id: Id, limit: Limit = 50, cursor: Cursor = None) -> model.IssuePage:
        """Issues in a sprint."""
        return await jira.sprint_issues(sprint_id, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="Get the current sprint")
    async def get_current_sprint(project: ProjectKey, limit: Limit = 50, cursor: Cursor = None) -> model.CurrentSprint:
        """A project's active sprint with its issues."""
        return await jira.current_sprint(project, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="Put issues into a sprint", read_only=False, idempotent=True)
    async def add_to_sprint(
        sprint_id: Id,
        keys: Annotated[list[IssueKey], Field(min_length=1, max_length=50)],
    ) -> model.SprintFilled:
        """Move issues into a sprint, out of the one they are in."""
        return await jira.fill_sprint(sprint_id, keys)

    @server.tool(retry="safe", title="Search users")
    async def search_users(
        query: Annotated[str, Field(min_length=1, max_length=255, description="Part of a name or address.")],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> model.UserPage:
        """Users whose name or address matches."""
        return await jira.users(query, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="List assignees")
    async def list_assignees(
        project: ProjectKey, query: Annotated[str, Field(max_length=255)] = "", limit: Limit = 50, cursor: Cursor = None
    ) -> model.UserPage:
        """Users an issue of the project can be assigned to; `query` narrows them by name or address."""
        return await jira.assignees(project, query, limit=limit, cursor=cursor)


def _resources(server: DomainServer, jira: Jira) -> None:
    @server.resource("jira://projects{?cursor}", name="projects", mime_type=JSON)
    async def projects(cursor: str | None = None) -> ResourceResult:
        """The projects the credential may see."""
        return as_json(await jira.projects(limit=100, cursor=cursor))

    @server.resource("jira://issue/{key}", name="issue", mime_type=JSON)
    async def issue(key: str) -> ResourceResult:
        """One issue."""
        return as_json(await jira.issue(key))

    @server.resource("jira://issue/{key}/comments{?cursor}", name="comments", mime_type=JSON)
    async def comments(key: str, cursor: str | None = None) -> ResourceResult:
        """Comments of an issue, oldest first."""
        return as_json(await jira.comments(key, limit=50, cursor=cursor))

    @server.resource("jira://project/{key}/issues{?cursor}", name="issues", mime_type=JSON)
    async def issues(key: str, cursor: str | None = None) -> ResourceResult:
        """A project's issues that are not done, last changed first."""
        return as_json(await jira.open_issues(key, limit=50, cursor=cursor))

    @server.resource("jira://project/{key}/sprint/current{?cursor}", name="current sprint", mime_type=JSON)
    async def current_sprint(key: str, cursor: str | None = None) -> ResourceResult:
        """A project's active sprint with its issues."""
        return as_json(await jira.current_sprint(key, limit=50, cursor=cursor))

    @server.resource("jira://project/{key}/boards{?cursor}", name="boards", mime_type=JSON)
    async def boards(key: str, cursor: str | None = None) -> ResourceResult:
        """A project's boards."""
        return as_json(await jira.boards(key, limit=50, cursor=cursor))
