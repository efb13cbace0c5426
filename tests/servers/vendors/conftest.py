"""What the tests of the github, jira and slack servers share is found beside them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # test folders are no packages: what they share is found like this
