"""Checking a workflow with what the configuration knows: which calls only read, may be repeated, or take a key."""

from __future__ import annotations

from pathlib import Path

from motet.catalog.catalog import Catalog, ServerCatalog
from motet.config.model import Config
from motet.errors import WorkflowError
from motet.host import policy
from motet.host.memory import Memory
from motet.workflow.calling import Effect, EffectOf
from motet.workflow.check import Checked, check, check_text
from motet.workflow.loading import read_file, refusal
from motet.workflow.model import Workflow


def checked_text(text: str, path: str, config: Config, catalog: Catalog) -> Checked:
    """What checking a text finds: what is wrong with its form and with its meaning, together."""
    return check_text(text, catalog, path=path, read=read_file, effect=effects(config, catalog))


def checked_file(path: str, config: Config, catalog: Catalog) -> Checked:
    """The same for a file. Raises WorkflowError when it cannot be read."""
    try:
        text = read_file(path)
    except (OSError, ValueError) as why:
        reason = why.strerror if isinstance(why, OSError) and why.strerror else str(why)
        raise WorkflowError(f"cannot read the workflow `{path}`: {reason}") from None
    return checked_text(text, path, config, catalog)


def checked(workflow: Workflow, config: Config, catalog: Catalog) -> Checked:
    """What checking a loaded workflow finds."""
    return check(workflow, catalog, effect=effects(config, catalog))


def runnable(found: Checked, path: str) -> Workflow:
    """The workflow that was checked. Raises WorkflowError with every error when it has any."""
    if found.errors or found.workflow is None:
        raise refusal(found.errors, path)
    return found.workflow


def effects(config: Config, catalog: Catalog) -> EffectOf:
    """What repeating a call means, by our own configuration; hints count only for servers marked trusted."""

    def effect(server: str, name: str) -> Effect:
        settings = config.servers.get(server)
        part = catalog.servers.get(server)
        tool = part.tools.get(name) if part else None
        if settings is None:
            return Effect("writes")
        if policy.read_only(settings, tool, name):
            return Effect("reads")
        if policy.idempotent(settings, tool, name):
            return Effect("repeatable")
        key = policy.key_argument(tool, name, settings.retry)
        return Effect("keyed", key) if key else Effect("writes")

    return effect


def remembered(config: Config) -> Catalog:
    """What is remembered of the servers; those that were never listed are in it, not known."""
    memory = Memory(Path(config.state) if config.state else None)
    parts: dict[str, ServerCatalog] = {}
    for name, server in config.servers.items():
        kept = memory.load(server)
        parts[name] = kept.part if kept else ServerCatalog(name, stale="it was never listed on this machine")
    return Catalog(parts)
