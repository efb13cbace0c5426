"""What the tests of the three vendors' servers share is beside them; every request is held to its contract."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # test folders are no packages
sys.path.append(str(Path(__file__).parents[1] / "contracts"))

from held import contracts, held

__all__ = ["contracts"]
held_to_the_contracts = held(answers=False)
