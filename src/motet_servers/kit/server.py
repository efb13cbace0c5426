"""`DomainServer`: a FastMCP server that says what it is for, and is held to it.

The declaration (name, version, description, capabilities, as the specification writes it, plus domain and URIs) goes
out under `capabilities.experimental["motet/boundary"]`, in both protocol eras. Before the first client is served, what
is declared is compared with what is registered; a difference refuses to start.

Every tool carries all four annotations and, in `_meta`, its retry class:

    safe          may be repeated: it only reads, or doing it twice is doing it once
    keyed         may be repeated with the same idempotency key
    verify_first  look whether it happened before repeating it
    never         a repetition is a second effect; a person decides
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, Protocol, TypeVar

import pydantic_core
from fastmcp import FastMCP
from fastmcp.exceptions import FastMCPError, NotFoundError, ToolError, ValidationError
from fastmcp.resources.base import ResourceContent, ResourceResult
from fastmcp.server.middleware.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from fastmcp.tools.function_tool import FunctionTool
from fastmcp.utilities.versions import VersionSpec
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    DiscoverRequest,
    DiscoverResult,
    InitializeRequest,
    InitializeResult,
    ServerCapabilities,
    TextContent,
    ToolAnnotations,
)

from motet_servers.kit.errors import Conflict, DomainError, InvalidInput, NotFound, Refused, TooLarge
from motet_servers.kit.guard import checked, guarded, misfits
from motet_servers.kit.redaction import Redactor
from motet_servers.kit.subscriptions import ResourceUpdates

Retry = Literal["safe", "keyed", "verify_first", "never"]
F = TypeVar("F", bound=Callable[..., Any])

BOUNDARY = "motet/boundary"
RETRY_META = "motet/retry"
KEY_META = "motet/idempotency_key"
ERROR_META = "motet/error"
JSON = "application/json"
LONGEST_ADDRESS = 16_384
"""Characters of a resource's address."""
KINDS = ("tools", "resources", "prompts")

Lifespan = Callable[["DomainServer"], AbstractAsyncContextManager[Any]]


class BoundaryError(Exception):
    """What the server declares and what it registers differ. The message lists every difference."""


class Closeable(Protocol):
    """What is open while a server serves."""

    async def aclose(self) -> None:
        """Close it."""
        ...


def closing(thing: Closeable) -> Lifespan:
    """A lifespan that closes the thing when the serving ends."""

    @asynccontextmanager
    async def serving(_: DomainServer) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await thing.aclose()

    return serving


def as_json(value: object) -> ResourceResult:
    """What a resource answers: the value (a dataclass, say) as JSON."""
    return ResourceResult([ResourceContent(pydantic_core.to_json(value).decode(), mime_type=JSON)])


class DomainServer(FastMCP[Any]):
    """A FastMCP server for one domain, with a declared boundary."""

    def __init__(
        self,
        name: str,
        *,
        version: str,
        description: str,
        capabilities: Mapping[str, Mapping[str, Any]],
        domain: str,
        uris: Sequence[str] = (),
        instructions: str | None = None,
        open_world: bool = True,
        secrets: Iterable[str] = (),
        lifespan: Lifespan | None = None,
        list_page_size: int | None = None,
    ) -> None:
        """Declare a server.

        `uris` are patterns of the addresses it serves (`*` one segment, `**` any). `open_world` is the default of that
        annotation. `secrets` are replaced in every result, error and log line. `lifespan` wraps the serving.
        """
        self.declared = {kind: dict(settings) for kind, settings in capabilities.items()}
        self.domain = domain
        self.uris = tuple(uris)
        self.description = description
        self.redactor = Redactor(secrets)
        self._open_world = open_world
        self._own_lifespan = lifespan
        super().__init__(
            name,
            instructions or description,
            version=version,
            lifespan=self._checked_lifespan,
            mask_error_details=True,
            list_page_size=list_page_size,
            on_duplicate="error",
            middleware=[_DeclaredCapabilities(self.declared), _TypedErrors(self.redactor)],
        )

    # -- declaring ---------------------------------------------------------------------------------------------------

    def tool(  # pyright: ignore[reportIncompatibleMethodOverride] - narrower on purpose: retry class and annotations are not optional here
        self,
        *,
        retry: Retry,
        read_only: bool | None = None,
        destructive: bool | None = None,
        idempotent: bool | None = None,
        open_world: bool | None = None,
        key: str = "idempotency_key",
        name: str | None = None,
        title: str | None = None,
        timeout: float | None = None,
    ) -> Callable[[F], F]:
        """Register a function as a tool; gives the function back.

        Left out, annotations follow from the class: `safe` reads only, everything else writes, destructively unless
        said otherwise. `timeout` is in seconds. ValueError when class, annotations and signature contradict.
        """
        read = retry == "safe" and not destructive and idempotent is None if read_only is None else read_only
        annotations = ToolAnnotations(
            title=title,
            read_only_hint=read,
            destructive_hint=(not read) if destructive is None else destructive,
            idempotent_hint=read if idempotent is None else idempotent,
            open_world_hint=self._open_world if open_world is None else open_world,
        )

        def register(function: F) -> F:
            tool_name = name or getattr(function, "__name__", "")
            meta = _retry_meta(tool_name, retry, annotations, function, key)
            door = guarded(function, tool_name, self.redactor)
            door.__doc__ = None  # else the framework loads a parser to look there for arguments, a tenth of a start
            tool = FunctionTool.from_function(
                door,
                name=tool_name,
                title=title,
                description=inspect.cleandoc(function.__doc__ or ""),
                annotations=annotations,
                meta=meta,
                timeout=timeout,
            )
            self.add_tool(tool)
            return function

        return register

    def resource(  # pyright: ignore[reportIncompatibleMethodOverride] - narrower on purpose, like `tool`
        self, uri: str, *, name: str | None = None, mime_type: str | None = None
    ) -> Callable[[F], F]:
        """Register a function as a resource, or, with `{…}` in its address (RFC 6570), a template; gives it back."""

        def register(function: F) -> F:
            named = name or getattr(function, "__name__", "")
            door = guarded(checked(function, named), f"resource {named}", self.redactor)
            super(DomainServer, self).resource(uri, name=name, mime_type=mime_type)(door)
            return function

        return register

    def resource_updates(self) -> ResourceUpdates:
        """Serve subscriptions to resources; give what changed to the result's `updated`."""
        return ResourceUpdates(self._mcp_server)

    async def boundary(self) -> dict[str, Any]:
        """The declaration as it goes over the wire; BoundaryError when it does not fit what is registered."""
        registered = await self._registered()
        problems = _differences(self.declared, self.uris, registered)
        if problems:
            raise BoundaryError(f"{self.name} declares one thing and registers another: " + "; ".join(problems) + ".")
        return {
            "domain": self.domain,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "uris": list(self.uris),
            "capabilities": self.declared,
            "tools": registered["tools"],
        }

    async def _registered(self) -> dict[str, list[str]]:
        resources = [str(resource.uri) for resource in await self.list_resources(run_middleware=False)]
        templates = [item.uri_template for item in await self.list_resource_templates(run_middleware=False)]
        return {
            "tools": [tool.name for tool in await self.list_tools(run_middleware=False)],
            "resources": resources + templates,
            "prompts": [prompt.name for prompt in await self.list_prompts(run_middleware=False)],
        }

    @asynccontextmanager
    async def _checked_lifespan(self, _server: FastMCP[Any]) -> AsyncGenerator[Any]:
        self.experimental_capabilities = {BOUNDARY: await self.boundary()}
        if self._own_lifespan is None:
            yield {}
        else:
            async with self._own_lifespan(self) as state:
                yield state if state is not None else {}

    # -- serving -----------------------------------------------------------------------------------------------------

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        version: VersionSpec | None = None,
        run_middleware: bool = True,
    ) -> ToolResult:
        """Call a tool, in process or for a client; secrets are replaced in the result and in a ToolError's message."""
        if not run_middleware:
            return await super().call_tool(name, arguments, version=version, run_middleware=False)
        try:
            result = await super().call_tool(name, arguments, version=version)
        except (FastMCPError, NotFoundError) as error:
            if self.redactor.found(str(error)):
                raise ToolError(self.redactor.text(str(error)), log_level=logging.WARNING) from None
            raise
        return self._redacted(result)

    async def read_resource(
        self, uri: str, *, version: VersionSpec | None = None, run_middleware: bool = True
    ) -> ResourceResult:
        """Read a resource; a DomainError becomes the protocol's error, with its kind and its wait in `data`."""
        if not run_middleware:
            return await super().read_resource(uri, version=version, run_middleware=False)
        if len(uri) > LONGEST_ADDRESS:
            raise MCPError(INVALID_PARAMS, f"the address is over {LONGEST_ADDRESS:,} characters.")
        try:
            result = await super().read_resource(uri, version=version)
        except NotFoundError as error:
            if self.redactor.found(uri):
                raise MCPError(INVALID_PARAMS, self.redactor.text(str(error))) from None
            raise
        except DomainError as error:
            wait = {} if error.retry_after is None else {"retryAfter": error.retry_after}
            raise MCPError(_code(error), self.redactor.text(str(error)), {**_told(error), **wait}) from None
        for content in result.contents:
            if isinstance(content.content, bytes):
                content.content = self.redactor.data(content.content)
            else:
                content.content = self.redactor.text(content.content)
        return result

    def _redacted(self, result: ToolResult) -> ToolResult:
        texts = [block for block in result.content if isinstance(block, TextContent)]
        if not any(self.redactor.found(block.text) for block in texts):
            return result
        for block in texts:
            block.text = self.redactor.text(block.text)
        result.structured_content = self.redactor.json(result.structured_content)
        return result


class _TypedErrors(Middleware):
    """Tells a client of a tool's failure in `_meta` too: its kind and when to come back. In process it is raised."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        try:
            return await call_next(context)
        except DomainError as error:
            failed = error
        except ValidationError as error:
            said = f"the arguments of {context.message.name} do not fit: {misfits(error)}."
            failed = InvalidInput(self._redactor.text(said))
        here = context.fastmcp_context
        if here is None or here.request_context is None:
            raise failed from None
        return ToolResult([TextContent(type="text", text=str(failed))], meta=_told(failed), is_error=True)


def _told(error: DomainError) -> dict[str, Any]:
    """What a program may want to know of an error."""
    return {ERROR_META: {"kind": error.kind, "retry_after": error.retry_after}}


def _code(error: DomainError) -> int:
    """JSON-RPC's code: repeating a request with invalid parameters cannot help, and hosts know that."""
    final = isinstance(error, InvalidInput | NotFound | Conflict | Refused | TooLarge)
    return INVALID_PARAMS if final else INTERNAL_ERROR


class _DeclaredCapabilities(Middleware):
    """Announces the capabilities that are declared, not all that the framework could serve."""

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self._dropped = {kind: None for kind in KINDS if kind not in declared}

    async def on_initialize(
        self,
        context: MiddlewareContext[InitializeRequest],
        call_next: CallNext[InitializeRequest, InitializeResult | None],
    ) -> InitializeResult | None:
        result = await call_next(context)
        if result is not None:
            result.capabilities = self._declared_only(result.capabilities)
        return result

    async def on_discover(
        self,
        context: MiddlewareContext[DiscoverRequest],
        call_next: CallNext[DiscoverRequest, DiscoverResult | dict[str, Any]],
    ) -> DiscoverResult | dict[str, Any]:
        result = await call_next(context)
        if isinstance(result, DiscoverResult):
            result.capabilities = self._declared_only(result.capabilities)
        return result

    def _declared_only(self, capabilities: ServerCapabilities) -> ServerCapabilities:
        return capabilities.model_copy(update=self._dropped)


def uri_pattern(pattern: str) -> re.Pattern[str]:
    """A boundary pattern as a regular expression: `**` is anything, `*` is one segment or part of one."""
    parts = re.split(r"(\*\*|\*)", pattern)
    wild = {"**": ".*", "*": "[^/]*"}
    return re.compile("".join(wild.get(part, re.escape(part)) for part in parts), re.DOTALL)


def _retry_meta(
    tool: str, retry: Retry, annotations: ToolAnnotations, function: Callable[..., Any], key: str
) -> dict[str, Any]:
    meta: dict[str, Any] = {RETRY_META: retry}
    if retry == "safe" and not (annotations.read_only_hint or annotations.idempotent_hint):
        raise ValueError(f"{tool}: retry='safe' needs read_only or idempotent.")
    if annotations.read_only_hint and annotations.destructive_hint:
        raise ValueError(f"{tool}: read_only and destructive contradict each other.")
    has_key = key in inspect.signature(function).parameters
    if retry == "keyed" and not has_key:
        raise ValueError(f"{tool}: retry='keyed' needs an argument {key!r}.")
    if has_key:
        meta[KEY_META] = key
    return meta


def _differences(
    declared: Mapping[str, Any], uris: Sequence[str], registered: Mapping[str, Sequence[str]]
) -> list[str]:
    problems = [f"capability {kind!r} is unknown" for kind in declared if kind not in KINDS]
    for kind in KINDS:
        if kind in declared and not registered[kind]:
            problems.append(f"capability {kind!r} is declared, but nothing is registered")
        if kind not in declared and registered[kind]:
            problems.append(f"{kind} {', '.join(registered[kind])} registered, but capability {kind!r} is not declared")
    patterns = [uri_pattern(uri) for uri in uris]
    for uri in registered["resources"]:
        sample = re.sub(r"\{[?&][^}]*\}", "", uri)
        sample = re.sub(r"\{[^}]*\}", "x", sample)
        if not any(pattern.fullmatch(sample) for pattern in patterns):
            problems.append(f"resource {uri} is outside the declared URIs ({', '.join(uris) or 'none'})")
    return problems
