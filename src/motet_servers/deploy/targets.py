"""Where releases go: the targets file, or the defaults for a plain DEPLOY_ROOT.

targets:
  staging:
    artifacts: artifacts              # relative to this file; directories or tar files named by version
    path: staging                     # where releases/, current, journal.jsonl live; on the host for SSH
    start: [python3, app.py]          # argv, never a shell line; PORT, HOST, RELEASE_VERSION, ENVIRONMENT are set
    port: 0                           # 0: a free one for every release, old and new overlap
    health: {path: /health, timeout: 10}
    hooks: {before: [./migrate], after: [./warm]}
    environment: {LOG_LEVEL: info}
    keep: 5
  production:
    ssh: {host: web1.example.com, user: deploy, known_hosts: known_hosts, key: id_ed25519}
    path: /srv/app
    promote_from: staging
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from motet_servers.kit.settings import SettingsError

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
Argv = Annotated[list[str], Field(min_length=1)]


class Strict(BaseModel):
    """Unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Health(Strict):
    """How a release proves that it works."""

    path: str = Field(default="/health", pattern=r"^/[!-~]*$")
    timeout: float = Field(default=30.0, gt=0, le=600)
    """Seconds the release has until it must have answered well."""
    status: int = 200


class Hooks(Strict):
    """Commands (argv) run in the release's directory."""

    before: Argv | None = None
    """Before the switch; failing stops the deployment, nothing was switched."""
    after: Argv | None = None
    """After the switch and start; failing switches back."""
    timeout: float = Field(default=300.0, gt=0)


class Ssh(Strict):
    """How to reach a remote target."""

    host: str = Field(pattern=r"^[A-Za-z0-9_.:\[\]][A-Za-z0-9_.:\[\]-]*$", max_length=255)
    port: int = Field(default=22, ge=1, le=65535)
    user: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    known_hosts: Path
    """Required: a host whose key is not in it is refused."""
    key: Path | None = None


class Target(Strict):
    """One place that runs one release at a time."""

    name: str = ""
    path: str = ""
    artifacts: Path = Path("artifacts")
    start: Argv | None = None
    """None: `app.py` with this Python, or `./run`, whichever the release has; `[]` is refused."""
    service: bool = True
    """False: nothing is started; something else (a web server) uses the `current` link."""
    port: int = Field(default=0, ge=0, le=65535)
    health: Health = Health()
    health_url_port: int | None = Field(default=None, ge=1, le=65535)
    """For `service: false`: the local port at which to check."""
    hooks: Hooks = Hooks()
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(
        default_factory=dict[str, str], repr=False
    )
    keep: int = Field(default=5, ge=1)
    """Releases kept by prune, beside the current and the previous one."""
    grace: float = Field(default=5.0, ge=0, le=600)
    """Seconds between SIGTERM and SIGKILL."""
    python: str = ""
    """Interpreter for `app.py`; this one, or `python3` on a remote host."""
    promote_from: str | None = None
    """Only what is current and healthy there may be deployed here."""
    ssh: Ssh | None = None


class TargetsFile(Strict):
    """The whole file."""

    targets: dict[str, Target] = Field(min_length=1)


def load(path: Path) -> dict[str, Target]:
    """The targets of a file, paths made absolute; SettingsError naming the file and the key."""
    try:
        raw: Any = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    try:
        file = TargetsFile.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {where or 'top level'}: {first['msg']}.") from None
    found = {name: _placed(name, target, path.parent, str(path)) for name, target in file.targets.items()}
    for name, target in found.items():
        if target.promote_from is not None and target.promote_from not in found:
            raise SettingsError(f"{path}: targets.{name}.promote_from: there is no target {target.promote_from!r}.")
    return found


def defaults(root: Path, names: list[str]) -> dict[str, Target]:
    """Local targets below a DEPLOY_ROOT without a file."""
    if not names:
        raise SettingsError("DEPLOY_ENVIRONMENTS names no target.")
    return {name: _placed(name, Target(), root, "DEPLOY_ENVIRONMENTS") for name in names}


def _placed(name: str, target: Target, base: Path, source: str) -> Target:
    if not NAME.fullmatch(name):
        raise SettingsError(f"{source}: target name {name!r} must be lower case letters, digits, - and _.")
    base = base.resolve()
    path = target.path or f"targets/{name}"
    if target.ssh is None:
        path = str(base / path)
    elif not path.startswith("/"):
        raise SettingsError(f"{source}: targets.{name}.path must be absolute on a remote host.")
    python = target.python or (sys.executable if target.ssh is None else "python3")
    ssh = target.ssh and target.ssh.model_copy(
        update={
            "known_hosts": base / target.ssh.known_hosts,
            "key": None if target.ssh.key is None else base / target.ssh.key.expanduser(),
        }
    )
    return target.model_copy(
        update={"name": name, "path": path, "artifacts": base / target.artifacts, "ssh": ssh, "python": python}
    )
