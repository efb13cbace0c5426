"""What the tests of the filesystem, database, calendar and deploy servers share is found beside them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # test folders are no packages: what they share is found like this
sys.path.append(str(Path(__file__).parents[1] / "vendors"))  # how schemas are looked through
