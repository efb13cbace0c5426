"""Every request, and every answer of the playground, is held to the vendor's contract."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "contracts"))  # test folders are no packages

from held import contracts, held

__all__ = ["contracts"]
held_to_the_contracts = held(answers=True)
