"""The filesystem server's tools and resources."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastmcp.resources.base import ResourceContent, ResourceResult
from pydantic import Field

from motet_servers.filesystem import model, reading, writing
from motet_servers.filesystem.jail import LONGEST_PATH, Jail, Root
from motet_servers.filesystem.watching import Watcher
from motet_servers.kit.arguments import Cursor, Encoding, base64_length, decoded
from motet_servers.kit.errors import InvalidInput
from motet_servers.kit.server import DomainServer, as_json
from motet_servers.kit.settings import SettingsError, Values
from motet_servers.kit.threads import in_thread

MOST_BYTES = 64 << 20
"""What `FILESYSTEM_MAX_BYTES` may be at most."""
FilePath = Annotated[
    str,
    Field(
        max_length=LONGEST_PATH,
        description="`ROOT/sub/file`, an absolute path inside a root, or relative when there is one root.",
    ),
]
Content = Annotated[str, Field(max_length=base64_length(MOST_BYTES))]
Line = Annotated[int, Field(ge=1, le=1 << 40, description="Line to begin at, from 1.")]
Hash = Annotated[str, Field(description="SHA-256 the file must have now, as `read` gave it.", pattern="^[0-9a-f]{64}$")]
LISTED = 1000
PAGE = Annotated[int, Field(ge=1, le=10_000, description="Most entries.")]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server is allowed to do."""

    roots: tuple[tuple[str | None, Path], ...]
    read_only: bool = False
    max_bytes: int = 4 << 20


def build(values: Values, arguments: list[str]) -> DomainServer:
    """The server for the command line's roots."""
    given = arguments or [text for text in values.get("FILESYSTEM_ROOTS").split(os.pathsep) if text]
    if not given:
        raise SettingsError("no root given: name directories as arguments, or in FILESYSTEM_ROOTS.")
    settings = Settings(
        roots=tuple(_root(text) for text in given),
        read_only=values.flag("FILESYSTEM_READ_ONLY"),
        max_bytes=values.number("FILESYSTEM_MAX_BYTES", minimum=1, maximum=MOST_BYTES),
    )
    return filesystem_server(settings)


def _root(text: str) -> tuple[str | None, Path]:
    name, equals, path = text.partition("=")
    if equals and "/" not in name:
        return name, Path(path).expanduser()
    return None, Path(text).expanduser()


def filesystem_server(settings: Settings) -> DomainServer:
    """A server over these roots; SettingsError when one is no directory."""
    try:
        jail = Jail(settings.roots)
    except ValueError as error:
        raise SettingsError(str(error)) from None

    @asynccontextmanager
    async def serving(_: DomainServer) -> AsyncGenerator[None]:
        async with watcher:
            yield

    server = DomainServer(
        "filesystem-mcp-server",
        version="1.0.0",
        description="Files below declared roots: read, list, search, write, edit, move, delete.",
        capabilities={"tools": {}, "resources": {}},
        domain="filesystem",
        uris=[pattern for root in jail.roots for pattern in (f"{root.uri}/**", root.uri)],
        open_world=False,
        lifespan=serving,
    )
    watcher = Watcher(jail, server.resource_updates())
    _reading_tools(server, jail, settings)
    if not settings.read_only:
        _writing_tools(server, jail, settings)
    _resources(server, jail, settings)
    return server


def _reading_tools(server: DomainServer, jail: Jail, settings: Settings) -> None:
    limit = settings.max_bytes

    @server.tool(retry="safe", title="Show the roots")
    async def list_roots() -> model.Roots:
        """The directories that may be used; every path begins with one of their names."""
        writable = not settings.read_only
        return model.Roots([model.RootInfo(root.name, root.uri, writable) for root in jail.roots])

    @server.tool(retry="safe", title="Read a file")
    async def read(
        path: FilePath,
        first_line: Line = 1,
        lines: Annotated[int | None, Field(ge=1, le=1 << 40, description="How many lines; all when left out.")] = None,
    ) -> model.FileText:
        """Read a file, or some lines of it. Binary content comes as base64; `hash` serves as `expected_hash` later."""
        place = jail.place(path)
        return await in_thread(
            lambda stop: reading.read(jail, place, limit=limit, first_line=first_line, lines=lines, stop=stop),
            "lines read",
        )

    @server.tool(retry="safe", title="Read several files")
    async def read_many(
        paths: Annotated[list[FilePath], Field(min_length=1, max_length=100)],
    ) -> model.Files:
        """Read several whole files; one that cannot be read is named in `missing` and costs only itself."""
        return await asyncio.to_thread(reading.read_many, jail, paths, limit=limit)

    @server.tool(retry="safe", title="List a directory", name="list")
    async def list_directory(path: FilePath = "", limit: PAGE = LISTED, cursor: Cursor = None) -> model.Listing:
        """List a directory by name, one page at a time."""
        return await asyncio.to_thread(reading.listing, jail, jail.place(path), limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="Show a tree")
    async def tree(
        path: FilePath = "", depth: Annotated[int, Field(ge=1, le=reading.DEEPEST)] = 3, limit: PAGE = LISTED
    ) -> model.Tree:
        """What is below a directory, depth first. Symlinks are shown, not entered."""
        place = jail.place(path)
        return await in_thread(
            lambda stop: reading.tree(jail, place, depth=depth, limit=limit, stop=stop), "entries seen"
        )

    @server.tool(retry="safe", title="Search files")
    async def search(
        pattern: Annotated[str, Field(min_length=1, max_length=1000, description="Regular expression, RE2 syntax.")],
        path: FilePath = "",
        inside: Annotated[Literal["content", "name"], Field(description="Look at lines, or at names.")] = "content",
        glob: Annotated[str | None, Field(max_length=255, description="Only names like this, such as `*.py`.")] = None,
        *,
        ignore_case: bool = False,
        limit: Annotated[int, Field(ge=1, le=5000)] = 200,
    ) -> model.Matches:
        """Find lines or names that match. Binary and very large files are skipped and counted."""
        place = jail.place(path)
        return await in_thread(
            lambda stop: reading.search(
                jail,
                place,
                pattern=pattern,
                inside=inside,
                glob=glob,
                ignore_case=ignore_case,
                limit=limit,
                file_limit=settings.max_bytes,
                stop=stop,
            ),
            "entries seen",
        )

    @server.tool(retry="safe", title="Describe a path")
    async def stat(path: FilePath, *, with_hash: bool = False) -> model.Stat:
        """Kind, size, times, permissions and MIME type; a symlink is described, not followed."""
        return await asyncio.to_thread(reading.stat, jail, jail.place(path), with_hash=with_hash, limit=limit)


def _writing_tools(server: DomainServer, jail: Jail, settings: Settings) -> None:
    limit = settings.max_bytes

    @server.tool(retry="safe", idempotent=True, destructive=True, read_only=False, title="Write a file")
    async def write(
        path: FilePath,
        content: Content,
        expected_hash: Hash | None = None,
        encoding: Encoding = "utf-8",
        *,
        create_parents: bool = False,
    ) -> model.Written:
        """Make the file hold exactly this, replaced in one step; with `expected_hash`, only if it is unchanged."""
        data = decoded(content, encoding, most=limit)
        return await asyncio.to_thread(
            writing.write,
            jail,
            jail.place(path),
            data,
            expected_hash=expected_hash,
            parents=create_parents,
            limit=limit,
        )

    @server.tool(retry="verify_first", destructive=True, title="Edit a file")
    async def edit(
        path: FilePath,
        edits: Annotated[list[writing.Edit], Field(min_length=1, max_length=200)],
        expected_hash: Hash | None = None,
        *,
        dry_run: bool = False,
    ) -> model.Edited:
        """Replace passages of a text file, all or none; each `old` must occur exactly once unless `all` is set."""
        return await asyncio.to_thread(
            writing.edit, jail, jail.place(path), edits, expected_hash=expected_hash, dry_run=dry_run, limit=limit
        )

    @server.tool(retry="safe", idempotent=True, destructive=False, read_only=False, title="Create a file")
    async def create(
        path: FilePath,
        content: Content = "",
        encoding: Encoding = "utf-8",
        *,
        create_parents: bool = False,
    ) -> model.Written:
        """Create a new file; refused when something else is there, `created` is false when it holds exactly this."""
        data = decoded(content, encoding, most=limit)
        return await asyncio.to_thread(
            writing.create, jail, jail.place(path), data, parents=create_parents, limit=limit
        )

    @server.tool(retry="safe", idempotent=True, destructive=False, read_only=False, title="Create a directory")
    async def create_directory(path: FilePath) -> model.Directory:
        """Create a directory and its parents; fine when it is there."""
        return await asyncio.to_thread(writing.make_directory, jail, jail.place(path))

    @server.tool(retry="verify_first", destructive=True, title="Move")
    async def move(source: FilePath, destination: FilePath, *, overwrite: bool = False) -> model.Moved:
        """Move or rename a file or directory; refused when the destination exists, unless `overwrite`."""
        return await asyncio.to_thread(
            writing.move, jail, jail.place(source), jail.place(destination), overwrite=overwrite
        )

    @server.tool(retry="safe", idempotent=True, destructive=True, read_only=False, title="Delete")
    async def delete(
        path: FilePath,
        *,
        recursive: bool = False,
        expected_hash: Hash | None = None,
    ) -> model.Deleted:
        """Delete a file, a symlink (not its target), an empty directory or, with `recursive`, a whole one.

        What is not there (any more) is `existed: false`.
        """
        place = jail.place(path)
        return await in_thread(
            lambda stop: writing.delete(
                jail, place, recursive=recursive, expected_hash=expected_hash, limit=limit, stop=stop
            ),
            "entries seen",
        )


def _resources(server: DomainServer, jail: Jail, settings: Settings) -> None:
    async def contents(address: str, path: str, cursor: str | None) -> ResourceResult:
        place = jail.place(path)
        seen = await asyncio.to_thread(reading.look, jail, place, follow=True)
        if seen.kind == "directory":
            page = await asyncio.to_thread(reading.listing, jail, place, limit=LISTED, cursor=cursor)
            return as_json(page)
        if cursor is not None:
            raise InvalidInput(f"{address} is a file; only directories page.")
        data = await asyncio.to_thread(reading.content, jail, place, limit=settings.max_bytes)
        text = reading.text_in(data)
        kind = reading.mime_type(place.shown, text=text is not None)
        return ResourceResult([ResourceContent(data if text is None else text, mime_type=kind)])

    def register(root: Root) -> None:
        base = str(root.path)

        @server.resource(root.uri, name=root.name, mime_type="application/json")
        async def top() -> ResourceResult:
            """The root's entries."""
            return await contents(root.uri, base, None)

        @server.resource(f"{root.uri}/{{path*}}{{?cursor}}", name=f"{root.name} files", mime_type="text/plain")
        async def below(path: str, cursor: Cursor = None) -> ResourceResult:
            """A file's content, or a directory's entries as JSON, a page at a time."""
            return await contents(f"{root.uri}/{path}", f"{base}/{path}", cursor)

    for root in jail.roots:
        register(root)
