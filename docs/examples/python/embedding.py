"""Servers may be commands, URLs, or objects in this very process."""

from fastmcp import FastMCP

from motet import Orchestrator

notes = FastMCP("notes")


@notes.tool
def add(text: str) -> dict[str, str]:
    """Keep a note."""
    return {"kept": text}


async def main() -> str:
    """Call a tool of a server in this process."""
    config = {"servers": {"notes": notes}}  # or "motet.toml", or {"mcpServers": {...}}
    async with Orchestrator.from_config(config) as motet:
        kept = await motet.call_tool("notes", "add", {"text": "la"})
        return f"{motet.servers['notes'].state}: {kept.data['kept']}"
