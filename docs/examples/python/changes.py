"""Resources are watched: the servers that have them tell of their changes."""

from motet import Orchestrator


async def next_text(motet: Orchestrator, uri: str) -> str:
    """What a resource holds once it has changed."""
    async with motet.watch([uri]) as changes:
        if uri in changes.missing:
            raise changes.missing[uri]  # its server does not tell
        async for changed in changes:
            return (await motet.read_resource(changed)).text
    return ""
