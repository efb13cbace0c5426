"""Where the example workflows are: beside the package when installed, in the checkout when developing."""

from __future__ import annotations

from pathlib import Path

import motet
from motet.errors import ConfigError


def folder() -> Path:
    """The folder with `sequential.yaml`, `parallel.yaml`, `chain.yaml` and the web service. Raises ConfigError."""
    package = Path(motet.__file__).parent
    for place in (package / "examples", package.parents[1] / "examples"):
        if (place / "sequential.yaml").is_file():
            return place
    raise ConfigError(
        "the example workflows are missing from this installation", hint="pip install --force-reinstall motet"
    )
