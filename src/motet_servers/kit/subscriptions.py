"""Change notifications for resources, in both protocol eras.

2026-07-28: `subscriptions/listen` streams, served by the SDK's handler. Earlier: `resources/subscribe`, remembered per
connection and forgotten when it closes. What is watched is told to `on_change`, so that a server watches only that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
from fastmcp.server.low_level import LowLevelServer
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated

from motet_servers.kit.errors import InvalidInput

MOST_PER_CLIENT = 1024
"""URIs one connection or stream may subscribe to."""

Context = ServerRequestContext[Any]


class ResourceUpdates:
    """Who wants to hear of which resource. Give `updated(uri)` what changed."""

    def __init__(self, low_level: LowLevelServer[Any]) -> None:
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        self._counts: Counter[str] = Counter()
        self._sessions: dict[int, tuple[Connection, set[str]]] = {}
        self.on_change: Callable[[], None] = lambda: None
        """Called whenever `wanted` may have changed."""
        self.settle: Callable[[], Awaitable[None]] = _at_once
        """Awaited before a subscription is answered."""
        low_level.add_request_handler("subscriptions/listen", types.SubscriptionsListenRequestParams, self._on_listen)
        low_level.add_request_handler("resources/subscribe", types.SubscribeRequestParams, self._on_subscribe)
        low_level.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, self._on_unsubscribe)

    @property
    def wanted(self) -> frozenset[str]:
        """The URIs somebody subscribed to."""
        return frozenset(self._counts)

    async def updated(self, uri: str) -> None:
        """Tell every subscriber that the resource changed."""
        await self._bus.publish(ResourceUpdated(uri=uri))
        note = types.ResourceUpdatedNotification(params=types.ResourceUpdatedNotificationParams(uri=uri))
        data = note.model_dump(by_alias=True, mode="json", exclude_none=True)
        for connection, uris in list(self._sessions.values()):
            if uri in uris:
                await connection.outbound.notify(data["method"], data.get("params"))

    async def _on_listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        uris = list(params.notifications.resource_subscriptions or ())
        _check_count(len(uris))
        self._add(uris)
        try:
            await self.settle()
            return await self._listen(context, params)
        finally:
            self._remove(uris)

    async def _on_subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        connection = _connection(context)
        if id(connection) not in self._sessions:
            self._sessions[id(connection)] = (connection, set())
            connection.exit_stack.callback(self._forget, id(connection))
        uris = self._sessions[id(connection)][1]
        _check_count(len(uris) + 1)
        uri = str(params.uri)
        if uri not in uris:
            uris.add(uri)
            self._add([uri])
            await self.settle()
        return types.EmptyResult()

    async def _on_unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        _, uris = self._sessions.get(id(_connection(context)), (None, set[str]()))
        uri = str(params.uri)
        if uri in uris:
            uris.discard(uri)
            self._remove([uri])
        return types.EmptyResult()

    def _forget(self, key: int) -> None:
        _, uris = self._sessions.pop(key)
        self._remove(list(uris))

    def _add(self, uris: list[str]) -> None:
        self._counts.update(uris)
        self.on_change()

    def _remove(self, uris: list[str]) -> None:
        self._counts.subtract(uris)
        self._counts += Counter()
        self.on_change()


async def _at_once() -> None:
    """Nothing has to be looked at first."""


def _check_count(count: int) -> None:
    if count > MOST_PER_CLIENT:
        raise InvalidInput(f"at most {MOST_PER_CLIENT} resource subscriptions per client.")


def _connection(context: Context) -> Connection:
    """The connection behind a request: what outlives it, and can be told something later."""
    return context.session._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the SDK has no public way
