"""From files or a mapping to a `Config`.

Ours is `motet.toml`. Other hosts' files are read unchanged and never written: `mcpServers` (`.mcp.json`, Claude,
Cursor), `servers` in JSON (VS Code), `mcp_servers` in TOML (Codex). Only files that are named are read: the one given,
and those in its `include`. A server that stands in several is overlaid by name, the outer file last.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from platformdirs import user_state_dir
from pydantic import BaseModel, ValidationError

from motet.calls import Retry
from motet.config import settings
from motet.config.model import (
    DEFAULT_PARALLEL,
    BoundaryConfig,
    BreakerSettings,
    Config,
    HttpTransport,
    InProcessTransport,
    Limits,
    OAuth,
    Policy,
    RetrySettings,
    ServerConfig,
    StdioTransport,
    Timeouts,
    Transport,
)
from motet.config.values import expand, line_of, secret
from motet.errors import ConfigError

Table = dict[str, Any]
SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "API_KEY", "APIKEY", "PRIVATE_KEY", "AUTHORIZATION", "COOKIE")
FOREIGN_KEYS = ("command", "args", "env", "cwd", "url", "headers", "type", "disabled", "enabled")
"""What other hosts' server entries mean the same by; their other keys are theirs and are passed over."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file's text, for messages that name a line."""

    path: Path | None
    text: str = ""

    @property
    def folder(self) -> Path:
        """What relative paths in it are relative to."""
        return self.path.parent if self.path else Path.cwd()

    def error(self, key: tuple[str | int, ...], why: str, *, hint: str = "") -> ConfigError:
        """The error for one key of this file."""
        where = str(self.path) if self.path else "configuration"
        if self.path and (line := line_of(self.text, key)):
            where = f"{where}:{line}"
        dotted = ".".join(str(part) for part in key)
        return ConfigError(f"{where}: {dotted}: {why}" if dotted else f"{where}: {why}", hint=hint)


def load_config(source: str | os.PathLike[str] | Mapping[str, Any], *, env: Mapping[str, str] | None = None) -> Config:
    """The configuration a file (with its includes) or a mapping comes to.

    `env` is where variables are looked up; default: this process's environment. Raises ConfigError naming file, line,
    key and remedy. A mapping may also hold server objects of this process: `{"servers": {"x": {"object": server}}}`.
    """
    variables = os.environ if env is None else env
    if isinstance(source, Mapping):
        return _config(Source(None), dict(source), variables, remembers=False)
    path = Path(source).expanduser().absolute()
    text = _text(path)
    return _config(Source(path, text), _parsed(Source(path, text)), variables, remembers=True)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", hint="motet init writes one; or name yours with --config") from None
    except (OSError, UnicodeDecodeError) as why:
        raise ConfigError(f"{path}: cannot be read: {why}") from None


def _parsed(source: Source) -> Table:
    path = cast("Path", source.path)
    try:
        data: Any = tomllib.loads(source.text) if path.suffix == ".toml" else json.loads(_uncommented(source.text))
    except tomllib.TOMLDecodeError as why:
        raise ConfigError(f"{path}: not valid TOML: {why}") from None
    except json.JSONDecodeError as why:
        raise ConfigError(f"{path}:{why.lineno}:{why.colno}: not valid JSON: {why.msg}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a table of settings at the top, found {type(data).__name__}")
    return cast("Table", data)


def _uncommented(text: str) -> str:
    """JSON with `//` comment lines (VS Code writes them) blanked, so that lines and columns stay true."""
    return "\n".join("" if line.lstrip().startswith("//") else line for line in text.split("\n"))


def _config(source: Source, data: Table, variables: Mapping[str, str], *, remembers: bool) -> Config:
    data, foreign = _unfold(source, data)
    top = _checked(settings.File, source, data)
    places: dict[str, list[Source]] = {}
    entries: dict[str, Table] = {}
    files = [str(source.path)] if source.path else []
    for included in _included(source, top.include):
        inner, _ = _unfold(included, _parsed(included))
        for name, entry in _entries(included, inner):
            entries[name] = _overlaid(entries.get(name, {}), entry)
            places.setdefault(name, []).insert(0, included)
        files.append(str(included.path))
    raw_defaults = cast("Table", data.get("defaults", {}))
    for name, entry in _entries(source, data):
        entries[name] = _overlaid(entries.get(name, {}), entry)
        places.setdefault(name, []).insert(0, source)
    servers = {
        name: _server(name, entry, raw_defaults, places[name], variables, foreign=foreign)
        for name, entry in entries.items()
    }
    state = top.state or (variables.get("MOTET_STATE_DIR") or user_state_dir("motet") if remembers else None)
    return Config(
        servers=servers,
        files=tuple(files),
        state=str((source.folder / Path(state).expanduser()).absolute()) if state else None,
        keep_runs=top.keep_runs,
        parallel=top.parallel or DEFAULT_PARALLEL,
        secrets={name: _secret(source, ("secrets", name), text, variables) for name, text in top.secrets.items()},
    )


def _unfold(source: Source, data: Table) -> tuple[Table, bool]:
    """Our own shape, whatever host the table was written for, and whether it was written for another."""
    if isinstance(theirs := data.get("mcpServers", data.get("mcp_servers")), dict):
        return {"servers": _foreign(cast("Table", theirs)), **_ours(data)}, True
    if source.path is not None and source.path.suffix != ".toml" and isinstance(theirs := data.get("servers"), dict):
        return {"servers": _foreign(cast("Table", theirs))}, True
    if source.path is not None and isinstance(inner := data.get("mcp"), dict) and "servers" in inner:
        return {"servers": _foreign(cast("Table", inner["servers"]))}, True
    return data, False


def _ours(data: Table) -> Table:
    """Beside `mcpServers` our own keys may stand; other hosts' are passed over."""
    return {key: value for key, value in data.items() if key in settings.File.model_fields and key != "servers"}


def _foreign(servers: Table) -> Table:
    out: Table = {}
    for name, entry in servers.items():
        if not isinstance(entry, dict):
            out[name] = entry
            continue
        known = {
            k: v for k, v in cast("Table", entry).items() if k in FOREIGN_KEYS or k in settings.ServerTable.model_fields
        }
        known: Table = {k: v for k, v in cast("Table", entry).items() if _understood(k, v)}
        if known.pop("disabled", False):
            known["enabled"] = False
        out[name] = known
    return out


def _understood(key: str, value: object) -> bool:
    """Is this key of another host's entry one that means the same here? (A plain `timeout` has their units.)"""
    if key == "timeout":
        return isinstance(value, dict)
    return key in FOREIGN_KEYS or key in settings.ServerTable.model_fields


def _included(source: Source, include: list[str]) -> Iterator[Source]:
    for name in include:
        path = (source.folder / Path(name).expanduser()).absolute()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as why:
            raise source.error(("include",), f"{path} cannot be read: {why}") from None
        yield Source(path, text)


def _entries(source: Source, data: Table) -> Iterator[tuple[str, Table]]:
    servers = data.get("servers", {})
    if not isinstance(servers, dict):
        raise source.error(("servers",), "expected one table per server")
    for name, entry in cast("Table", servers).items():
        if not isinstance(entry, dict):
            if source.path is not None or isinstance(entry, str | int | float | list | None):
                raise source.error(("servers", name), "expected a table with `command` or `url`")
            entry = {"object": entry}
        if not name or any(ch in name for ch in "./ \t\n=") or not name.isprintable():
            hint = "a server's name is what stands before the dot in SERVER.TOOL: letters, digits, - and _"
            raise source.error(("servers", name), "not a usable server name", hint=hint)
        yield name, cast("Table", entry)


def _overlaid(under: Table, over: Table) -> Table:
    """Tables merge key by key; anything else is replaced. A new transport replaces the old one whole."""
    if ("command" in over or "url" in over) and not ("command" in over and "url" in over):
        gone = ("url", "headers", "type") if "command" in over else ("command", "args", "cwd", "type")
        under = {key: value for key, value in under.items() if key not in gone}
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _overlaid(cast("Table", below), cast("Table", value)) if both else value
    return merged


M = TypeVar("M", bound=BaseModel)


def _checked(model: type[M], source: Source, data: Table, at: tuple[str | int, ...] = ()) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as errors:
        first = errors.errors()[0]
        loc = first["loc"]
        why, hint = first["msg"].removeprefix("Value error, "), ""
        if first["type"] == "extra_forbidden":
            known = _known(model, loc[:-1])
            near = get_close_matches(str(loc[-1]), known, 1, 0.6)
            why = "unknown key" + (f"; did you mean `{near[0]}`?" if near else "")
            hint = "" if near else "known here: " + ", ".join(known)
        raise source.error((*at, *loc), why, hint=hint) from None


def _known(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """The keys that are known where `loc` points to."""
    here: type[BaseModel] = model
    for part in loc:
        annotation = here.model_fields[part].annotation if part in here.model_fields else None
        for inner in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                here = inner
    return sorted(here.model_fields)


def _server(
    name: str, entry: Table, defaults: Table, places: list[Source], variables: Mapping[str, str], *, foreign: bool
) -> ServerConfig:
    source, at = _home(places, name, foreign=foreign)
    _checked(
        settings.ServerTable, source, entry, at
    )  # before the defaults come in, so that an error is the entry's own
    table = _checked(settings.ServerTable, source, _overlaid(_usable(defaults), entry), at)
    secrets = {key: _secret(source, (*at, "secrets", key), text, variables) for key, text in table.secrets.items()}
    known = {**variables, **secrets}

    def filled(text: str, *key: str | int) -> str:
        try:
            return expand(text, known, folder=source.folder)
        except LookupError as why:
            hint = "export it, or give a default: ${NAME:-default}"
            if "${input:" in text:
                hint = f"a motet.toml that includes this file may say it: [servers.{name}] {key[0]} = …"
            raise source.error((*at, *key), f"{why.args[0]} (server {name!r})", hint=hint) from None

    transport = _transport(table, secrets, filled, source, at)
    return ServerConfig(
        name=name,
        transport=transport,
        timeout=_timeouts(table.timeout),
        retry=_retry(table.retry),
        breaker=replace(BreakerSettings(), **_given(table.breaker)),
        limits=replace(
            Limits(), **_given(table.limits), **({"concurrency": table.concurrency} if table.concurrency else {})
        ),
        policy=Policy(tuple(table.tools.allow), tuple(table.tools.deny), tuple(table.tools.approve)),
        boundary=_boundary(table.boundary),
        required=table.required,
        trusted=table.trusted or False,
        enabled=table.enabled,
        lazy=table.lazy or False,
        idle_stop=table.idle_stop,
        reap=table.reap or "auto",
        era=table.era,
        parse=table.parse,
        secrets=tuple({*secrets.values(), *_sensitive(transport)}),
        source=f"{source.path}:{line_of(source.text, at) or 1}" if source.path else "",
    )


def _home(places: list[Source], name: str, *, foreign: bool) -> tuple[Source, tuple[str, ...]]:
    """The file an entry is blamed on: the outermost that holds it."""
    source = places[0]
    for key in ("mcpServers", "mcp_servers", "servers"):
        if line_of(source.text, (key,)) is not None:
            return source, (key, name)
    return source, ("mcpServers" if foreign else "servers", name)


def _usable(defaults: Table) -> Table:
    return {key: value for key, value in defaults.items() if key in settings.Shared.model_fields}


def _given(table: BaseModel) -> dict[str, Any]:
    """What was written, without what was left out."""
    return {key: value for key in table.model_fields_set if (value := getattr(table, key)) is not None}


def _timeouts(table: settings.TimeoutTable) -> Timeouts:
    return replace(Timeouts(), **_given(table))


def _retry(table: settings.RetryTable) -> RetrySettings:
    policy = replace(Retry(), **{k: v for k, v in _given(table).items() if k in ("attempts", "base", "cap")})
    rest = {k: v for k, v in _given(table).items() if k in ("budget", "budget_min", "keyed")}
    return RetrySettings(
        policy=policy,
        idempotent=frozenset(table.idempotent),
        read_only=frozenset(table.read_only),
        on_tool_error=frozenset(table.on_tool_error),
        tools={name: replace(policy, **_given(own)) for name, own in table.tools.items()},
        **rest,
    )


def _boundary(table: settings.BoundaryTable | None) -> BoundaryConfig | None:
    if table is None:
        return None
    return BoundaryConfig(table.domain, table.description, tuple(table.schemes), tuple(table.uris))


class _Fill(Protocol):
    def __call__(self, text: str, /, *key: str | int) -> str: ...


def _transport(
    table: settings.ServerTable, secrets: Mapping[str, str], filled: _Fill, source: Source, at: tuple[str, ...]
) -> Transport:
    if table.object is not None:
        return InProcessTransport(table.object)
    if (table.command is None) == (table.url is None):
        what = "both `command` and `url`" if table.command else "neither `command` nor `url`"
        raise source.error(at, f"has {what}", hint="a server is a command to start, or a url to reach")
    if table.command is not None:
        env = {key: filled(text, "env", key) for key, text in table.env.items()}
        args = tuple(filled(text, "args", i) for i, text in enumerate(table.args))
        cwd = str((source.folder / Path(filled(table.cwd, "cwd")).expanduser()).absolute()) if table.cwd else None
        return StdioTransport(str(Path(filled(table.command, "command")).expanduser()), args, {**env, **secrets}, cwd)
    url = filled(table.url or "", "url")
    if not url.startswith(("http://", "https://")):
        raise source.error((*at, "url"), "expected http:// or https://")
    auth = None
    if table.auth is not None:
        password = table.auth.client_secret
        auth = OAuth(
            client_id=table.auth.client_id,
            client_secret=filled(password, "auth", "client_secret") if password else None,
            scopes=tuple(table.auth.scopes),
            grant=table.auth.grant,
            redirect_port=table.auth.redirect_port,
            issuer=table.auth.issuer,
            client_metadata_url=table.auth.client_metadata_url,
        )
    headers = {key: filled(text, "headers", key) for key, text in table.headers.items()}
    return HttpTransport(url, headers, "sse" if table.type == "sse" else "http", auth)


def _sensitive(transport: Transport) -> Iterator[str]:
    """Values that are secrets by their name, whoever wrote them down."""
    match transport:
        case StdioTransport(env=env):
            yield from (value for name, value in env.items() if any(word in name.upper() for word in SECRET_WORDS))
        case HttpTransport(headers=headers, auth=auth):
            for name, value in headers.items():
                if any(word in name.upper().replace("-", "_") for word in SECRET_WORDS):
                    yield from (value, value.rpartition(" ")[2])
            if auth is not None and auth.client_secret:
                yield auth.client_secret
        case InProcessTransport():
            return


def _secret(source: Source, key: tuple[str | int, ...], text: str, variables: Mapping[str, str]) -> str:
    try:
        return secret(text, variables, folder=source.folder)
    except LookupError as why:
        raise source.error(key, str(why.args[0])) from None
