from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError
from mcp.shared.exceptions import MCPError

from motet_servers.kit.server import BoundaryError, DomainServer, uri_pattern

BOUNDARY: dict[str, Any] = {
    "domain": "sample",
    "name": "sample-mcp-server",
    "version": "1.2.3",
    "description": "Samples.",
    "uris": ["sample://**"],
    "capabilities": {"tools": {}, "resources": {}},
    "tools": ["get_item", "create_item", "fail", "slow"],
}


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("kit_server", Path(__file__).with_name("kit_server.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "kit_server", module)
    spec.loader.exec_module(module)
    return module.sample()


@pytest.mark.proves("FR-ORCH-001")
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_boundary_goes_out_in_both_eras_with_only_the_declared_capabilities(sample: Any, mode: Any) -> None:
    async with Client(sample, mode=mode) as client:
        capabilities: Any = client.session.server_capabilities
        assert capabilities.experimental == {"motet/boundary": BOUNDARY}
        assert capabilities.prompts is None
        assert capabilities.tools is not None


async def test_tools_carry_all_annotations_retry_class_and_a_flat_schema(sample: Any) -> None:
    async with Client(sample) as client:
        tools = {tool.name: tool for tool in await client.list_tools()}
    get, create = tools["get_item"], tools["create_item"]
    hints = [
        (a.read_only_hint, a.destructive_hint, a.idempotent_hint, a.open_world_hint)
        for tool in (get, create, tools["fail"])
        if (a := tool.annotations)
    ]
    assert hints == [(True, False, True, True), (False, False, False, True), (False, True, False, False)]
    assert (get.meta or {})["motet/retry"] == "safe"
    assert (create.meta or {})["motet/idempotency_key"] == "idempotency_key"
    assert (get.output_schema or {})["properties"] == {"id": {"type": "integer"}, "name": {"type": "string"}}


async def test_tools_work_in_process_as_the_specification_writes_it(sample: Any) -> None:
    result = await sample.call_tool("get_item", {"id": 7})
    assert result.structured_content == {"id": 7, "name": "one"}


async def test_a_secret_leaves_neither_in_results_nor_errors_nor_resources(sample: Any) -> None:
    created = await sample.call_tool("create_item", {"name": "x"})
    assert created.structured_content == {"name": "x", "leak": "Bearer [redacted]"}
    assert "t0k3n-value" not in created.content[0].text
    with pytest.raises(ToolError, match=r"^nothing with \[redacted\]$"):
        await sample.call_tool("fail", {"how": "told"})
    with pytest.raises(ToolError, match=r"^fail broke \(RuntimeError\), which is a mistake of this server"):
        await sample.call_tool("fail", {"how": "crash"})
    read = await sample.read_resource("sample://me/items")
    assert read.contents[0].content == '{"owner": "me", "leak": "[redacted]"}'


@pytest.mark.parametrize(
    ("owner", "code", "data"),
    [
        ("nobody", -32602, {"motet/error": {"kind": "not_found", "retry_after": None}}),
        ("somebody", -32602, {"motet/error": {"kind": "refused", "retry_after": None}}),
        ("everybody", -32603, {"motet/error": {"kind": "rate_limited", "retry_after": 7}, "retryAfter": 7}),
    ],
)
async def test_a_read_that_fails_says_in_its_code_whether_asking_again_can_help(
    sample: Any, owner: str, code: int, data: Any
) -> None:
    with pytest.raises(MCPError) as caught:
        await sample.read_resource(f"sample://{owner}/items")
    assert (caught.value.error.code, caught.value.error.data) == (code, data)
    assert "t0k3n-value" not in caught.value.error.message


async def test_a_failed_tool_tells_a_client_its_kind_and_when_to_come_back(sample: Any) -> None:
    async with Client(sample) as client:
        failed = [
            await client.call_tool_mcp(tool, arguments)
            for tool, arguments in (
                ("fail", {"how": "told"}),
                ("fail", {"how": "limited"}),
                ("fail", {"how": "crash"}),
                ("get_item", {"id": "t0k3n-value"}),
            )
        ]
    assert [each.is_error for each in failed] == [True] * 4
    assert [(each.meta or {}).get("motet/error") for each in failed] == [
        {"kind": "not_found", "retry_after": None},
        {"kind": "rate_limited", "retry_after": 7},
        {"kind": "internal", "retry_after": None},
        {"kind": "invalid_input", "retry_after": None},
    ]
    said: list[Any] = [each.content[0] for each in failed]
    assert said[0].text == "nothing with [redacted]"
    assert said[3].text.startswith("the arguments of get_item do not fit: id: Input should be a valid integer")


async def test_progress_reaches_who_asked_and_is_silent_in_process(sample: Any) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with Client(sample) as client:
        await client.call_tool("slow", {}, progress_handler=hear)
    assert heard == [(1, 2, "half")]
    await sample.call_tool("slow", {})


def declared(**changes: Any) -> DomainServer:
    settings: dict[str, Any] = {"version": "1", "description": "", "domain": "d", "capabilities": {"tools": {}}}
    return DomainServer("d", **(settings | changes))


async def test_a_capability_without_anything_registered_refuses_to_start() -> None:
    with pytest.raises(RuntimeError, match="'tools' is declared, but nothing is registered"):
        async with Client(declared()):
            pytest.fail("it started")


async def test_something_registered_without_its_capability_refuses_to_start() -> None:
    server = declared(capabilities={})

    @server.tool(retry="safe")
    async def look() -> str:
        """Look."""
        return ""

    with pytest.raises(BoundaryError, match="tools look registered, but capability 'tools' is not declared"):
        await server.boundary()


async def test_a_resource_outside_the_declared_uris_refuses_to_start() -> None:
    server = declared(capabilities={"resources": {}}, uris=["d://acme/**"])

    @server.resource("d://{owner}/things")
    async def things(owner: str) -> str:
        """Things."""
        return owner

    with pytest.raises(BoundaryError, match=r"resource d://\{owner\}/things is outside the declared URIs"):
        await server.boundary()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"retry": "keyed"}, "needs an argument 'idempotency_key'"),
        ({"retry": "safe", "read_only": False}, "needs read_only or idempotent"),
        ({"retry": "never", "read_only": True, "destructive": True}, "contradict"),
    ],
)
def test_a_retry_class_that_contradicts_the_tool_is_refused(options: Any, complaint: str) -> None:
    async def act() -> str:
        """Act."""
        return ""

    with pytest.raises(ValueError, match=complaint):
        declared().tool(**options)(act)


@pytest.mark.parametrize(
    ("pattern", "uri", "fits"),
    [
        ("github://**", "github://acme/app/issues", True),
        ("github://acme/*", "github://acme/app", True),
        ("github://acme/*", "github://acme/app/issues", False),
        ("github://acme/**", "github://acme2/app", False),
        ("a.b://x", "aXb://x", False),
    ],
)
def test_uri_patterns_match_segments(pattern: str, uri: str, fits: bool) -> None:
    assert bool(uri_pattern(pattern).fullmatch(uri)) is fits
