# ruff: noqa: E501 - a table: one tool, one line
"""The catalog that the tests of checking use: what four servers list."""

from __future__ import annotations

from motet.calls import Json
from motet.catalog.catalog import Catalog, ServerCatalog
from motet.catalog.model import Annotations, Boundary, LeftOut, Prompt
from motet.catalog.tool import Tool

TEXT = {"type": "string"}
NULLABLE = {"anyOf": [TEXT, {"type": "null"}]}


def an_object(required: list[str], /, **properties: Json) -> dict[str, Json]:
    return {"type": "object", "properties": properties, "required": required}


ENVIRONMENT = {"type": "string", "enum": ["staging", "production"]}
RELEASE = an_object(
    ["tag_name", "draft", "id", "assets", "author"],
    tag_name=TEXT,
    name=NULLABLE,
    body={"type": ["string", "null"]},
    draft={"type": "boolean"},
    id={"type": "integer"},
    score={"type": "number"},
    author={"$ref": "#/$defs/User"},
    assets={"type": "array", "items": an_object(["name", "size"], name=TEXT, size={"type": "integer"})},
    labels={"type": "object", "additionalProperties": {"type": "integer"}},
) | {"$defs": {"User": an_object(["login"], login=TEXT, manager={"$ref": "#/$defs/User"})}}
STATUS = {"type": "string", "enum": ["open", "deployed", "closed"]}
ISSUE = an_object(["key", "status"], key=TEXT, status=STATUS, points={"type": ["number", "null"]}, assignee=NULLABLE)
READS, REPEATABLE, WRITES = Annotations(read_only=True), Annotations(idempotent=True), Annotations()

TOOLS: dict[str, dict[str, tuple[dict[str, Json], dict[str, Json] | None, Annotations]]] = {
    "github": {
        "get_latest_release": (an_object(["repo"], repo={"type": "string", "pattern": "^[^/]+/[^/]+$"}), RELEASE, READS),
        "search": (an_object(["q"], q=TEXT, per_page={"type": "integer", "maximum": 100}), None, READS),
        "create_issue": (an_object(["title"], title=TEXT, labels={"type": "array", "items": TEXT}), an_object(["number"], number={"type": "integer"}), WRITES),
    },
    "deploy": {
        "deploy": (an_object(["version", "env"], version=TEXT, env=ENVIRONMENT) | {"additionalProperties": False}, an_object(["id", "previous"], id={"type": "integer"}, previous=TEXT), WRITES),
        "rollback": (an_object(["env"], env=ENVIRONMENT, to=TEXT), an_object(["id"], id={"type": "integer"}), REPEATABLE),
        "check": (an_object(["env"], env=ENVIRONMENT), an_object(["healthy"], healthy={"type": "boolean"}), READS),
        "find": (an_object([], version=TEXT), an_object(["found", "total"], found={"type": "array", "items": an_object(["id"], id={"type": "integer"})}, total={"type": "integer"}), READS),
    },
    "jira": {
        "get_issue": (an_object(["key"], key=TEXT), ISSUE, READS),
        "search": (an_object(["jql"], jql=TEXT), {"type": "object", "properties": {"result": {"type": "array", "items": ISSUE}}, "required": ["result"], "x-fastmcp-wrap-result": True}, READS),
        "transition_issue": (an_object(["key", "status"], key=TEXT, status=STATUS), ISSUE, REPEATABLE),
    },
    "slack": {
        "send_message": (an_object(["channel", "text"], channel=TEXT, text=TEXT, thread=NULLABLE), an_object(["ts"], ts=TEXT), WRITES),
    },
}  # fmt: skip


def catalog(**changed: ServerCatalog) -> Catalog:
    servers = {
        name: ServerCatalog(
            name,
            tools={
                tool: Tool(name, tool, input_schema=takes, output_schema=gives, annotations=hints)
                for tool, (takes, gives, hints) in tools.items()
            },
            boundary=Boundary(domain=name, uris=(f"{name}://**",)),
            prompts={"review": Prompt("review", arguments={"pr": True, "tone": False})} if name == "github" else {},
            left_out=(LeftOut("broken", "its input schema is no schema"),) if name == "github" else (),
            known=True,
        )
        for name, tools in TOOLS.items()
    }
    return Catalog({**servers, **changed})
