"""What holds for every single tool and resource of the filesystem, database, calendar and deploy servers."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from domain_samples import ADDRESSES, NAMES, READS, REFUSED_TWICE, WRITES, Facts, World, world
from fastmcp.exceptions import FastMCPError
from mcp.shared.exceptions import MCPError
from mcp_types import ToolAnnotations
from test_vendor_tools import deep, strings

from motet_servers.kit.errors import DomainError, InvalidInput
from motet_servers.kit.server import KEY_META, LONGEST_ADDRESS, RETRY_META, uri_pattern

Make = Callable[[str], World]
HUGE = 1_000_000
"""An argument that may be longer is bounded by the server's settings, too; those have their own tests."""
PARTS_LOOKED_AT = {"edit.edits[]", "execute_batch.statements[]"}
FREE_FORM = {
    f"{place}.parameters" for place in ("query", "explain", "run_query", "execute", "execute_batch.statements[]")
}
"""Arguments that hold whatever a query's placeholders take."""
ROWS = {"query.rows[]", "run_query.rows[]", "execute.rows[]", "execute_batch.results[].rows[]"}
EVIL = (
    *("../../etc/passwd", "/etc/passwd", "..", "x\x00y", "a\r\nb", "$(id)", "`id`", ";id", "-rf", "--help", "%2e%2e"),
    *("' or 1=1; --", "x" * 300, "\\..\\..", "{0}", "%s", "http://169.254.169.254/", "ünï", "\u202e", "files://x"),
)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda name: world(name, tmp_path)


async def hints(made: World, tool: str) -> tuple[ToolAnnotations, str, bool]:
    """A tool's annotations, its retry class, and whether it takes a key."""
    [found] = [each for each in await made.serve().list_tools() if each.name == tool]
    assert found.annotations is not None
    assert found.meta is not None
    return found.annotations, found.meta[RETRY_META], KEY_META in found.meta


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


every = pytest.mark.parametrize("name", NAMES)
reads = pytest.mark.parametrize(("name", "tool"), list(READS), ids=["-".join(row) for row in READS])
writes = pytest.mark.parametrize(("name", "tool"), list(WRITES), ids=["-".join(row) for row in WRITES])


# Arguments and answers


@every
async def test_every_argument_has_a_type_and_a_bound(make: Make, name: str) -> None:
    unbounded: list[str] = []
    for tool in await make(name).serve().list_tools():
        assert tool.parameters["additionalProperties"] is False, tool.name
        for argument, schema in tool.parameters["properties"].items():
            assert {"type", "anyOf", "enum"} & set(schema), (tool.name, argument)
            unbounded += strings(schema, f"{tool.name}.{argument}")
            for part, inner in schema.get("items", {}).get("properties", {}).items():
                unbounded += strings(inner, f"{tool.name}.{argument}[].{part}")
    assert {place.removesuffix(" is an object") for place in unbounded} <= FREE_FORM | PARTS_LOOKED_AT


@every
async def test_what_is_oversized_is_refused_before_anything_is_done(make: Make, name: str) -> None:
    made = make(name)
    server, before = made.serve(), made.state()
    for tool in await server.list_tools():
        fine = {**READS, **WRITES}[name, tool.name]
        for argument, schema in tool.parameters["properties"].items():
            longest = max(each.get("maxLength", 100) for each in schema.get("anyOf", [schema]))
            for wrong in (*(["x" * (longest + 1)] if longest < HUGE else []), 10**30, ["x"] * 1000):
                with pytest.raises(InvalidInput, match=f"the arguments of {tool.name} do not fit: {argument}"):
                    await server.call_tool(tool.name, {**fine, argument: wrong})
        with pytest.raises(InvalidInput, match="nonsense"):
            await server.call_tool(tool.name, {**fine, "nonsense": 1})
    for address, _ in ADDRESSES[name]:
        with pytest.raises(MCPError, match="the address is over 16,384 characters"):
            await server.read_resource(f"{address}{'x' * LONGEST_ADDRESS}")
    assert made.state() == before


@every
async def test_every_answer_is_flat_and_all_its_fields_are_always_there(make: Make, name: str) -> None:
    for tool in await make(name).serve().list_tools():
        assert tool.output_schema is not None, tool.name
        text = json.dumps(tool.output_schema).replace('"additionalProperties": true', '"additionalProperties": {}')
        schema = json.loads(text)
        found = list(deep(schema, tool.name, schema.get("$defs", {})))
        assert [place for place in found if place.removesuffix(" is of no known shape") not in ROWS] == []


@every
async def test_no_argument_reaches_what_is_not_its_own(
    make: Make, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever stands in an argument, nothing outside is touched and nothing breaks."""
    made = make(name)
    (tmp_path / "outside.txt").write_text("theirs")
    beside = names(tmp_path)
    server = made.serve()
    caplog.set_level(logging.ERROR)
    for tool in await server.list_tools():
        fine = {**READS, **WRITES}[name, tool.name]
        for argument, schema in tool.parameters["properties"].items():
            if "string" not in {each.get("type") for each in schema.get("anyOf", [schema])} or "enum" in str(schema):
                continue
            for evil in EVIL:
                with contextlib.suppress(DomainError):
                    await server.call_tool(tool.name, {**fine, argument: evil})
    assert caplog.text == ""  # a mistake of ours would be told there
    assert names(tmp_path) == beside
    assert (tmp_path / "outside.txt").read_text() == "theirs"


# Annotations and retry classes


async def test_the_tables_of_tools_are_complete(make: Make, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).mkdir()
        tools = await world(name, tmp_path / name).serve().list_tools()
        reading = {tool.name for tool in tools if tool.annotations and tool.annotations.read_only_hint}
        assert reading == {tool for vendor, tool in READS if vendor == name}
        assert {tool.name for tool in tools} - reading == {tool for vendor, tool in WRITES if vendor == name}


@every
async def test_every_class_agrees_with_the_annotations(make: Make, name: str) -> None:
    for tool in await make(name).serve().list_tools():
        assert tool.annotations is not None
        assert tool.meta is not None
        said, retry = tool.annotations, tool.meta[RETRY_META]
        assert None not in {said.read_only_hint, said.destructive_hint, said.idempotent_hint}, tool.name
        assert said.open_world_hint is (name == "deploy"), tool.name  # the others touch what is configured, alone
        assert retry in {"safe", "keyed", "verify_first", "never"}, tool.name
        assert (retry == "safe") is bool(said.read_only_hint or said.idempotent_hint), tool.name
        assert (retry == "keyed") is (KEY_META in tool.meta), tool.name


@reads
async def test_a_tool_that_only_reads_changes_nothing_and_can_be_the_first_one_called(
    make: Make, name: str, tool: str
) -> None:
    made = make(name)
    said, retry, _ = await hints(made, tool)
    assert (said.read_only_hint, said.destructive_hint, said.idempotent_hint, retry) == (True, False, True, "safe")
    before = made.state()
    answers = [await made.serve().call_tool(tool, READS[name, tool]) for _ in "12"]
    assert made.state() == before
    assert answers[0].structured_content == answers[1].structured_content
    assert answers[0].structured_content


@writes
async def test_a_tool_destroys_something_if_and_only_if_it_says_so(make: Make, name: str, tool: str) -> None:
    made = make(name)
    said, _, _ = await hints(made, tool)
    before = made.facts()
    await made.serve().call_tool(tool, WRITES[name, tool])
    after = made.facts()
    if (name, tool) != ("deploy", "stop"):  # what it destroys is a process: test_deploying
        assert after != before
        assert bool(before - after) is said.destructive_hint


@writes
async def test_twice_is_once_if_the_tool_says_so_or_has_a_key(make: Make, name: str, tool: str) -> None:
    """Each call by a new server, as when the answer was lost with the first one."""
    made = make(name)
    said, retry, has_key = await hints(made, tool)
    key = {"idempotency_key": "k"} if has_key else {}
    seen: list[Facts] = []
    for _ in "12":
        with contextlib.suppress(FastMCPError) if (name, tool) in REFUSED_TWICE and seen else contextlib.nullcontext():
            await made.serve().call_tool(tool, {**WRITES[name, tool], **key})
        seen.append(made.facts())
    once = seen[0] == seen[1]
    assert once is (retry in {"safe", "keyed"} or (name, tool) in REFUSED_TWICE)
    assert once is bool(said.idempotent_hint or has_key or (name, tool) in REFUSED_TWICE)


@writes
async def test_without_a_key_a_keyed_tool_has_a_second_effect(make: Make, name: str, tool: str) -> None:
    made = make(name)
    _, retry, _ = await hints(made, tool)
    server = made.serve()
    await server.call_tool(tool, WRITES[name, tool])
    first = made.facts()
    if (name, tool) in REFUSED_TWICE:
        with pytest.raises(DomainError):
            await server.call_tool(tool, WRITES[name, tool])
    else:
        await server.call_tool(tool, WRITES[name, tool])
    changed = made.facts() != first
    assert changed is (retry in {"keyed", "verify_first"} and (name, tool) not in REFUSED_TWICE)


# Resources


@every
async def test_every_resource_has_an_address_that_works_first_and_a_type_that_is_said(make: Make, name: str) -> None:
    made = make(name)
    before = made.state()
    server = made.serve()
    templates = [each.uri_template for each in await server.list_resource_templates()]
    known = [str(each.uri) for each in await server.list_resources()] + templates
    patterns = {each: uri_pattern(re.sub(r"\{[^}?]*\}", "**", re.sub(r"\{\?.*\}", "", each))) for each in known}
    reached: set[str] = set()
    for address, kind in ADDRESSES[name]:
        [content] = (await made.serve().read_resource(address)).contents
        assert content.mime_type == kind, address
        assert content.content, address
        reached |= {each for each, pattern in patterns.items() if pattern.fullmatch(address.partition("?")[0])}
    assert reached == set(known)
    assert made.state() == before


@pytest.mark.parametrize(
    ("name", "address", "complaint"),
    [
        ("filesystem", "files://files/no.txt", "files/no.txt does not exist"),
        ("filesystem", "files://files/sub?cursor=bogus", "cursor is not one this server gave"),
        ("database", "db://tables/nothing", "there is no table 'nothing'"),
        ("database", "db://tables/people/rows?cursor=bogus", "cursor is not one this server gave"),
        ("database", "db://queries/nothing", "there is no named query 'nothing'; there are: everyone"),
        ("calendar", "calendar://nobody/events", "there is no calendar 'nobody'; there are: team"),
        ("calendar", "calendar://team/events?limit=0", "the address of events does not fit: limit"),
        ("calendar", "calendar://team/events?start=soon", "'soon' is not a time"),
        ("calendar", "calendar://team/free-busy", "say from when until when"),
        ("deploy", "deploy://moon/current", "there is no target 'moon'; the targets are: production"),
        ("deploy", "deploy://staging/history?cursor=bogus", "cursor is not one this server gave"),
    ],
)
async def test_an_address_that_does_not_fit_says_what_is_wrong(
    make: Make, name: str, address: str, complaint: str
) -> None:
    with pytest.raises(MCPError, match=re.escape(complaint)):
        await make(name).serve().read_resource(address)


@every
async def test_a_wrong_call_says_what_there_is_instead(make: Make, name: str) -> None:
    wrong: dict[str, list[tuple[str, dict[str, Any], str]]] = {
        "filesystem": [
            ("read", {"path": "/etc/passwd"}, "the roots are files"),
            ("write", {"path": "no/x", "content": ""}, "does not exist"),
            ("write", {"path": "a.txt", "content": "", "expected_hash": "0" * 64}, "Read it again and decide"),
        ],
        "database": [
            ("query", {"sql": "delete from people"}, "execute"),
            ("execute", {"sql": "begin"}, "each call being one transaction of its own"),
            ("query", {"sql": "select 1; select 2"}, "use execute_batch"),
        ],
        "calendar": [
            ("get_event", {"uid": "nobody"}, "list_events and list_deadlines show UIDs"),
            ("create_event", {"summary": "x", "start": "tomorrow"}, "write 2026-11-24 for a whole day"),
        ],
        "deploy": [
            ("deploy", {"version": "v9", "env": "staging"}, "the latest ones are: v1, v2, v3"),
            ("rollback", {"env": "staging", "to": "v9"}, "Deploy it"),
        ],
    }
    server = make(name).serve()
    for tool, arguments, said in wrong[name]:
        with pytest.raises(DomainError, match=said):
            await server.call_tool(tool, arguments)
