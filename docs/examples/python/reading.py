"""Many resources from many servers at once; one that is away costs its own entry."""

from motet import Orchestrator

STATUS = ("github://acme/app/pull-requests", "jira://project/PROJ/sprint/current")


async def status(motet: Orchestrator) -> dict[str, object]:
    """What was found, what is missing and why, and both as one text."""
    reading = await motet.read_resources(STATUS)
    return {
        "found": {uri: result.data for uri, result in reading.found.items()},
        "missing": {uri: error.kind for uri, error in reading.missing.items()},
        "for a model": reading.as_context(max_bytes=20_000),
    }
