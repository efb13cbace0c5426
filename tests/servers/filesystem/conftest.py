"""A filesystem server over a temporary root, with something secret beside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from motet_servers.filesystem.server import Settings, filesystem_server


class Files:
    """A client; calling it gives a tool's data."""

    def __init__(self, client: Any, root: Path) -> None:
        self.client = client
        self.root = root

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        assert not result.is_error, result.content
        return result.structured_content

    async def refused(self, tool: str, **arguments: Any) -> str:
        """A call that must fail: what it says."""
        result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        assert result.is_error, result.structured_content
        return result.content[0].text


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`Project` with a few files; `secret.txt` lies beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    root = tmp_path / "Project"
    (root / "src").mkdir(parents=True)
    (root / "README.md").write_text("# Title\n\nHello wörld\n")
    (root / "src/app.py").write_text("def main():\n    return 42\n")
    (root / "src/data.bin").write_bytes(b"\x00\x01\xff")
    return root


@pytest.fixture
async def files(root: Path) -> AsyncGenerator[Files]:
    """A server over `Project`."""
    async with Client(filesystem_server(Settings(roots=((None, root),), max_bytes=100_000))) as client:
        yield Files(client, root)
