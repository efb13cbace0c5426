from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from fastmcp import Client
from mcp.client.subscriptions import ResourceUpdated, listen

from motet_servers.filesystem import watching
from motet_servers.filesystem.server import Settings, filesystem_server

WITHIN = 15


async def test_a_listen_stream_hears_of_the_file_and_the_directory_it_asked_for(root: Path) -> None:
    async with Client(filesystem_server(Settings(roots=((None, root),)))) as client:
        capabilities: Any = client.session.server_capabilities
        assert capabilities.resources.subscribe is True
        wanted = ["files://Project/README.md", "files://Project/src"]
        async with listen(client.session, resource_subscriptions=wanted) as stream, asyncio.timeout(WITHIN):
            await client.call_tool("write", {"path": "README.md", "content": "changed"})
            assert await anext(stream) == ResourceUpdated(uri=wanted[0])
            (root / "other.txt").write_text("nobody asked")
            (root / "src/new.py").write_text("x")
            assert await anext(stream) == ResourceUpdated(uri=wanted[1])


async def test_an_earlier_client_hears_of_it_until_it_unsubscribes(root: Path) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: Any) -> None:
        if isinstance(message, mcp_types.ResourceUpdatedNotification):
            heard.put_nowait(str(message.params.uri))

    server = filesystem_server(Settings(roots=((None, root),)))
    uri, other = "files://Project/README.md", "files://Project/src/app.py"
    async with Client(server, mode="legacy", message_handler=hear) as client, asyncio.timeout(WITHIN):
        for each in (uri, other):
            params = mcp_types.SubscribeRequestParams(uri=each)
            await client.session.send_request(mcp_types.SubscribeRequest(params=params), mcp_types.EmptyResult)
        (root / "README.md").write_text("changed")
        assert await heard.get() == uri
        gone = mcp_types.UnsubscribeRequestParams(uri=uri)
        await client.session.send_request(mcp_types.UnsubscribeRequest(params=gone), mcp_types.EmptyResult)
        (root / "README.md").write_text("changed again, unheard")
        (root / "src/app.py").unlink()
        assert await heard.get() == other


async def test_a_subscription_outside_the_roots_watches_nothing(root: Path) -> None:
    (root / "out").symlink_to(root.parent)
    async with Client(filesystem_server(Settings(roots=((None, root),)))) as client:
        wanted = ["files://Project/out/secret.txt", "files://Project/../secret.txt", "files://Project/README.md"]
        async with listen(client.session, resource_subscriptions=wanted) as stream, asyncio.timeout(WITHIN):
            (root.parent / "secret.txt").write_text("changed")
            (root / "README.md").write_text("changed")
            assert await anext(stream) == ResourceUpdated(uri=wanted[2])


async def test_without_watches_left_changes_are_still_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses to watch, as it does when a user's watches are used up."""
    watch: Any = getattr(watching, "awatch")  # noqa: B009 - one of its types is unknown

    def refusing(*paths: Any, force_polling: bool, **options: Any) -> Any:
        if not force_polling:
            raise OSError(28, "No space left on device")
        return watch(*paths, force_polling=True, **options)

    monkeypatch.setattr(watching, "awatch", refusing)
    monkeypatch.setattr(watching, "POLL_MS", 20)
    async with Client(filesystem_server(Settings(roots=((None, root),)))) as client:
        uri = "files://Project/README.md"
        async with listen(client.session, resource_subscriptions=[uri]) as stream, asyncio.timeout(WITHIN):
            (root / "README.md").write_text("changed")
            assert await anext(stream) == ResourceUpdated(uri=uri)


async def test_a_file_in_a_directory_that_goes_and_comes_back_is_told_each_time(root: Path) -> None:
    async with Client(filesystem_server(Settings(roots=((None, root),)))) as client:
        uri = "files://Project/src/app.py"
        async with listen(client.session, resource_subscriptions=[uri]) as stream, asyncio.timeout(WITHIN):
            await client.call_tool("delete", {"path": "src", "recursive": True})
            assert await anext(stream) == ResourceUpdated(uri=uri)
            await client.call_tool("create", {"path": "src/app.py", "content": "back", "create_parents": True})
            assert await anext(stream) == ResourceUpdated(uri=uri)
