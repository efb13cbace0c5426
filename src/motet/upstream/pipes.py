"""Our ends of a child's stdin and stdout, straight on the event loop: one system call for a message, one for a chunk.

asyncio's own pipe transports deliver each chunk a turn of the loop later, keep what they could not write where nobody
can take it back, and do not tell whether a byte of it has gone out.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence

CHUNK = 1 << 18
"""Bytes read at once, at most."""


class Outlet:
    """The end we write to. What does not fit is not taken, but for the rest of a message that has begun."""

    __slots__ = ("_fd", "_loop", "_on_gone", "_on_room", "_rest", "full")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, fd: int, *, on_room: Callable[[], None], on_gone: Callable[[], None]
    ) -> None:
        """`on_gone`: nobody reads it any more. `on_room`: it was full, and takes messages again."""
        self._loop = loop
        self._fd = fd
        self._on_room = on_room
        self._on_gone = on_gone
        self._rest = memoryview(b"")
        self.full = False
        """Takes nothing now: it has no room, or nobody reads it."""
        os.set_blocking(fd, False)
        loop.add_reader(fd, self._gone)  # the writing end of a pipe turns readable when the other one closes

    def write(self, message: bytes) -> bool:
        """Write it, unless there is no room. False: not a byte of it was taken."""
        try:
            taken = os.write(self._fd, message)
        except (BlockingIOError, InterruptedError):
            taken = 0
        except OSError:
            self._gone()
            return False
        if taken < len(message):
            self.full = True
            self._rest = memoryview(message)[taken:] if taken else self._rest
            self._loop.add_writer(self._fd, self._more)
        return taken > 0

    def write_all(self, messages: Sequence[bytes]) -> int:
        """Write them with one system call; how many were taken. Of the others, not a byte was."""
        if self.full:
            return 0
        try:
            left = os.write(self._fd, b"".join(messages))
        except (BlockingIOError, InterruptedError):
            left = 0
        except OSError:
            self._gone()
            return 0
        for number, message in enumerate(messages):
            if left < len(message):
                self.full = True
                self._rest = memoryview(message)[left:] if left else self._rest
                self._loop.add_writer(self._fd, self._more)
                return number + (left > 0)
            left -= len(message)
        return len(messages)

    def _more(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._fd, self._rest) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._gone()
            return
        self._loop.remove_writer(self._fd)
        self.full = False
        self._on_room()

    def _gone(self) -> None:
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self.full = True
        self._on_gone()

    def unread(self) -> int:
        """Bytes in the pipe that nobody has read."""
        if self._fd < 0:
            return 0
        from fcntl import ioctl  # not everywhere there is a Python
        from termios import FIONREAD

        return int.from_bytes(ioctl(self._fd, FIONREAD, b"\0\0\0\0"), sys.byteorder)

    def close(self) -> None:
        """Hang up; a message that has begun stays broken off."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
            os.close(fd)
        self.full = True


class Inlet:
    """The end we read from."""

    __slots__ = ("_fd", "_loop", "_on_data", "_on_end")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        *,
        on_data: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        """`on_data` gets each chunk as it comes, never an empty one; then `on_end`, once."""
        self._loop = loop
        self._fd = fd
        self._on_data = on_data
        self._on_end = on_end
        os.set_blocking(fd, False)
        loop.add_reader(fd, self._ready)

    def _ready(self) -> None:
        try:
            chunk = os.read(self._fd, CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            chunk = b""
        if chunk:
            self._on_data(chunk)
        else:
            self.close()
            self._on_end()

    def close(self) -> None:
        """Read no more."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._loop.remove_reader(fd)
            os.close(fd)
