"""What the configuration shows to a server, for the lint of boundaries: credentials, databases, writable roots.

Values leave this module only as digests, or without their password.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from motet.catalog.boundary import Exposure
from motet.config.model import HttpTransport, ServerConfig, StdioTransport

_SECRET_NAME = re.compile(
    r"(?i)(?:^|_|-)(?:token|secret|password|passwd|pat|apikey|api_key|access_key|private_key|credentials?|authorization)(?:$|_|-)"
)
_DATABASE = re.compile(r"(?i)(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|mongodb|redis|sqlite|duckdb)(?:\+\w+)?://")
_ROOTS_NAME = re.compile(r"(?i)(?:^|_)(?:roots?|dirs?|directory|directories|workspace)$")


def exposure(config: ServerConfig) -> Exposure:
    """What this server is given."""
    match config.transport:
        case StdioTransport(command=command, args=args, env=env):
            texts = [(f"argument {at + 1}", text) for at, text in enumerate(args)] + [*env.items()]
            roots = set(_argument_roots((command, *args)))
            for name, value in env.items():
                if _ROOTS_NAME.search(name):
                    roots.update(_root(part) for part in re.split(r"[:,;]", value) if part.startswith("/"))
        case HttpTransport(headers=headers):
            texts, roots = [*headers.items()], set[str]()
        case _:
            return Exposure()
    secrets = set(config.secrets)
    credentials = {
        name: _digest(value)
        for name, value in texts
        if len(value) >= 6 and not _DATABASE.match(value) and (value in secrets or _SECRET_NAME.search(name))
    }
    databases = {name: _database(value) for name, value in texts if _DATABASE.match(value)}
    return Exposure(credentials, databases, tuple(sorted(roots)))


def _argument_roots(command: tuple[str, ...]) -> Iterable[str]:
    """Directories handed to a file server on its command line."""
    if not any("filesystem" in part for part in command):
        return
    for part in command[1:]:
        if part.startswith("/") and not PurePosixPath(part).suffix:
            yield _root(part)


def _root(path: str) -> str:
    return str(PurePosixPath(path))


def _database(url: str) -> str:
    """Which database it is, whoever logs in: host, port and path, or the file."""
    parts = urlsplit(url)
    kind = parts.scheme.split("+")[0].replace("postgresql", "postgres")
    return f"{kind}://{(parts.hostname or '').lower()}:{parts.port or ''}{parts.path}"


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
