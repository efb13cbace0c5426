"""A small server for the kit's own tests, run in process and as a command."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from motet_servers.kit import progress
from motet_servers.kit.command import ServerCommand
from motet_servers.kit.errors import NotFound, RateLimited, Refused
from motet_servers.kit.server import DomainServer
from motet_servers.kit.settings import Values, Variable

COMMAND = ServerCommand(
    name="motet-server-sample",
    summary="A sample.",
    build="kit_server:build",
    variables=(Variable("SAMPLE_TOKEN", "the token", secret=True, where="Get one at https://example.com/tokens."),),
)


@dataclass
class Item:
    """One item."""

    id: int
    name: str


def build(values: Values, arguments: list[str]) -> DomainServer:
    """The server for a token."""
    return sample(values.require("SAMPLE_TOKEN"))


def sample(token: str = "t0k3n-value") -> DomainServer:
    """A server that would leak its token, were it let."""
    server = DomainServer(
        name="sample-mcp-server",
        version="1.2.3",
        description="Samples.",
        capabilities={"tools": {}, "resources": {}},
        domain="sample",
        uris=["sample://**"],
        secrets=[token],
    )

    @server.tool(retry="safe")
    async def get_item(id: int) -> Item:  # noqa: A002 - a tool's argument
        """Get an item."""
        return Item(id, "one")

    @server.tool(retry="keyed", destructive=False)
    async def create_item(name: str, idempotency_key: str | None = None) -> dict[str, str]:
        """Create an item."""
        return {"name": name, "leak": f"Bearer {token}"}

    @server.tool(retry="never", open_world=False)
    async def fail(how: str) -> Item:
        """Fail."""
        told = {"told": NotFound(f"nothing with {token}"), "limited": RateLimited("too many requests", retry_after=7)}
        if how in told:
            raise told[how]
        raise RuntimeError(f"crashed with {token}")

    @server.tool(retry="safe")
    async def slow() -> Item:
        """Tell progress."""
        await progress.note(1, 2, "half")
        return Item(0, "slow")

    @server.resource("sample://{owner}/items", mime_type="application/json")
    async def items(owner: str) -> str:
        """Items of an owner."""
        refusals = {
            "nobody": NotFound(f"no owner {owner}, {token}"),
            "somebody": Refused("not yours"),
            "everybody": RateLimited("too many requests", retry_after=7),
        }
        if owner in refusals:
            raise refusals[owner]
        return f'{{"owner": "{owner}", "leak": "{token}"}}'

    return server


if __name__ == "__main__":
    sys.exit(COMMAND.main())
