"""`motet schema`."""

from __future__ import annotations

import click

from motet.cli import output
