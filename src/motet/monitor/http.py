"""The HTTP face of a worker: `/livez`, `/healthz`, `/readyz` and `/metrics`, and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from motet.errors import ConfigError
from motet.monitor.metrics import CONTENT_TYPE, Metrics

Complaints = Callable[[], Mapping[str, str]]
"""What is wrong, by name; empty while all is well."""

_CONTENT_TYPE = {"Content-Type": CONTENT_TYPE}


@asynccontextmanager
async def serving(address: str, *, healthy: Complaints, ready: Complaints, metrics: Metrics) -> AsyncGenerator[str]:
    """Serve at `HOST:PORT` for as long as the block lasts; gives the address with the port that was taken.

    `/livez` answers 200 as long as anything is answered: an outage of the database is no reason to restart a worker,
    whose calls in flight would become unknown. `/healthz` and `/readyz` answer 200, or 503 with what is wrong as JSON.
    Raises `ConfigError` when nothing can be
    served there.
    """
    host, port = _split(address)

    async def life(_: web.Request) -> web.Response:
        return _answer({})

    async def health(_: web.Request) -> web.Response:
        return _answer(healthy())

    async def readiness(_: web.Request) -> web.Response:
        return _answer({**healthy(), **ready()})

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers=_CONTENT_TYPE)

    app = web.Application(client_max_size=1024)
    app.router.add_get("/livez", life)
    app.router.add_get("/healthz", health)
    app.router.add_get("/readyz", readiness)
    app.router.add_get("/metrics", scrape)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"cannot serve at {address}: {error.strerror or error}", hint="--http HOST:PORT"
            ) from error
        taken: tuple[str, int] = runner.addresses[0][:2]
        yield f"http://{taken[0]}:{taken[1]}"
    finally:
        await runner.cleanup()


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"`{address}` is no address", hint="HOST:PORT, as in 127.0.0.1:9464")
    return host.strip("[]") or "127.0.0.1", int(port)


def _answer(wrong: Mapping[str, str]) -> web.Response:
    body = json.dumps({"ok": not wrong, **({"wrong": dict(wrong)} if wrong else {})})
    return web.Response(status=503 if wrong else 200, text=body, content_type="application/json")
