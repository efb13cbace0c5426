"""For all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Ctrl-C is heard: a shell that starts the tests in the background has them, and so their children, ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
