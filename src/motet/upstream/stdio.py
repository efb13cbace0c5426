"""JSON-RPC over a child's stdin and stdout, without a reader task: the pipe's callback settles the waiting call.

What the wire guarantees whatever the server does: reading is linear in the bytes that come, one line is capped, noise
and unreadable lines cost themselves only, and a full pipe holds nobody: a line waits in our own queue (never in the
transport's, from which it could not be taken back) until there is room or its call's time is over.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from json import JSONDecoder
from typing import cast

import msgspec
import orjson

from motet.calls import Call, Json
from motet.config.model import ServerConfig, StdioTransport
from motet.errors import CallError, Fenced, ServerUnavailable
from motet.upstream import process
from motet.upstream.answers import Reader, repaired
from motet.upstream.channel import Channel
from motet.upstream.link import Ident, Peer, read_envelope
from motet.upstream.pipes import Inlet, Outlet
from motet.upstream.sanitise import clean, clean_line, without_credentials

STDERR_KEPT = 64 * 1024
"""Bytes of a server's stderr that are remembered: the last ones."""
QUEUE_LIMIT = 1 << 20
"""Bytes that may wait for a server that does not read its input."""
ABANDON_WITHIN = 2.0
"""Seconds for ending a process whose start was given up."""

_HEAD_ID = re.compile(rb'^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(-?\d{1,18}|"[^"\\]{1,80}")')
_TAIL_ID = re.compile(rb'"id"\s*:\s*(-?\d{1,18}|"[^"\\]{1,80}")\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
_START = re.compile(rb'\{\s*"(?:jsonrpc|id|result|error|method)"\s*:')
_FALSE_STARTS = 8
_RESCUE_LIMIT = 256 * 1024
_EDGE = 4096


class StdioLink(Channel, asyncio.SubprocessProtocol):
    """One child process and the calls that wait for it. Made by `StdioLink.spawn`."""

    transport = "stdio"
    wants_headers = False

    def __init__(self, config: ServerConfig, peer: Peer, reader: Reader) -> None:
        super().__init__(config, peer, reader)
        self._pid = 0
        self._mode: process.Mode = "group"
        self._exit: int | None = None
        # outgoing
        self.read_everything = False
        """Had it read all that was written when it left at once? Then perhaps it left because of that."""
        self._held: list[tuple[Ident | None, bytes, Call | None]] | None = None
        """Messages of this turn of the loop, while answers are read; None: messages are written at once."""
        self._queue: dict[Ident, bytes] = {}
        self._queued = 0
        self._posts = 0
        # incoming
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping: bytes | None = None
        self._stderr: deque[bytes] = deque()
        self._stderr_size = 0
        self.noise = 0

    # -- starting and ending ------------------------------------------------------------------------------------------

    @classmethod
    async def spawn(cls, config: ServerConfig, peer: Peer, reader: Reader) -> StdioLink:
        """Start the server's process.

        Raises:
            ServerUnavailable: (reason `spawn`) it cannot be started.

        """
        transport = cast("StdioTransport", config.transport)
        env = process.environment(transport.env, os.environ)
        program = process.command(config, transport, env)
        wrap = await process.wrap_for(config)
        link = cls(config, peer, reader)
        link._mode = wrap.mode
        stdin, stdout = link._connect_pipes()
        # pidfd or thread, the loop's own watcher reaps it
        starting = asyncio.ensure_future(link._loop.subprocess_exec(
            lambda: link, *wrap.prefix, program, *transport.args, env=env, cwd=transport.cwd,
            start_new_session=wrap.mode != "none", stdin=stdin, stdout=stdout,
        ))  # fmt: skip
        starting.add_done_callback(lambda _: (os.close(stdin), os.close(stdout)))
        try:
            child, _ = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # asyncio may never come back from a start cancelled while pipes are connected: let it come up first
            await asyncio.wait([starting])
            if not starting.cancelled() and starting.exception() is None:
                link._pid = starting.result()[0].get_pid()
            await link.close(within=ABANDON_WITHIN)
            raise
        except (OSError, ValueError) as why:
            await link.close(within=0)
            raise ServerUnavailable(
                f"cannot start {clean_line(transport.command)}: {clean_line(why)}", server=config.name, reason="spawn"
            ) from None
        link._pid = child.get_pid()
        return link

    _child: asyncio.SubprocessTransport
    _out: Outlet
    _in: Inlet

    def _connect_pipes(self) -> tuple[int, int]:
        """Make the pipes; the child's ends of them: stdin and stdout."""
        stdin, out = os.pipe()
        from_, stdout = os.pipe()
        self._out = Outlet(self._loop, out, on_room=self._room, on_gone=self._deaf)
        self._in = Inlet(self._loop, from_, on_data=self._read, on_end=self._mute)
        return stdin, stdout

    @property
    def exit_code(self) -> int | None:
        """The exit code, once there is one; negative: the signal that ended it."""
        return self._exit

    @property
    def stderr(self) -> str:
        """The last lines of stderr, sanitised, configured secrets and what looks like a credential replaced."""
        said = b"".join(self._stderr)[-STDERR_KEPT:].decode("utf-8", "replace")
        lines = [line for line in said.splitlines() if line.strip()][-12:]
        told = clean("\n".join(line[-500:] for line in lines), secrets=self._config.secrets)
        return without_credentials(told)

    @property
    def details(self) -> Mapping[str, Json]:
        return {
            "transport": "stdio",
            "pid": self._pid,
            "reap": self._mode,
            "noise": self.noise,
            "stderr": self.stderr,
            "exit_code": self._exit,
        }

    def adopt(self, version: str, *, modern: bool) -> None:
        """Nothing: the pipe shows no version."""

    async def close(self, *, within: float) -> None:
        """Stdin closed, SIGTERM, SIGKILL: to the whole family, within so many seconds."""
        self._end("closed")
        try:
            if self._pid:
                await asyncio.shield(
                    process.stop(
                        self._pid,
                        self._mode,
                        hang_up=self._out.close,
                        exited=lambda: self._exit is not None,
                        within=within,
                    )
                )
        except asyncio.CancelledError:
            process.kill(self._pid, self._mode, process.descendants(self._pid))
            raise
        finally:
            self._out.close()
            self._in.close()
            if self._pid:
                self._child.close()

    # -- sending ------------------------------------------------------------------------------------------------------

    def exchange(
        self,
        ident: Ident,
        message: bytes,
        until: float | None,
        call: Call | None,
        headers: Mapping[str, str] | None,  # noqa: ARG002 - pipes have none
    ) -> asyncio.Future[msgspec.Raw]:
        """Send one newline-terminated request and wait for its result until loop time `until`. Raises CallError."""
        answer = self._expect(ident, until, call)
        out = self._out
        if self._held is not None:
            self._held.append((ident, message, call))
        elif out.full or not out.write(message):
            self._wait_for_room(ident, message)
            return answer
        if call is not None:
            call.written = True
        return answer

    def _let_go(self) -> None:
        """Write what was held back while answers were read: the calls that came of them, with one system call."""
        held, self._held = self._held, None
        if not held or self._gone is not None:
            return
        taken = self._out.write_all([message for _, message, _ in held])
        for ident, message, call in held[taken:]:
            if call is not None:
                call.written = False
            if ident is None:
                self._post_later(message)
            elif ident in self._waiting:
                self._wait_for_room(ident, message)

    def _wait_for_room(self, ident: Ident, message: bytes) -> None:
        if self._queued + len(message) > QUEUE_LIMIT and self._queue:
            self._settle(ident, ServerUnavailable("it does not read its input", server=self._name, reason="down"))
            return
        self._queue[ident] = message
        self._queued += len(message)

    def _room(self) -> None:
        while self._queue and not self._out.full and self._gone is None:
            ident = next(iter(self._queue))
            waiter = self._waiting.get(ident)
            call = None if waiter is None else waiter.call
            if call is not None and call.fence is not None and not call.fence():
                self._take_back(ident)
                self._settle(ident, Fenced("its run may be another process's by now", server=self._name))
                continue
            if not self._out.write(self._queue[ident]):
                return
            self._take_back(ident)
            if call is not None:
                call.written = True

    def _deaf(self) -> None:
        self._loop.call_later(0.25, self._end, "it closed its input")  # its last answers may be on their way

    def post(self, message: bytes) -> None:
        """Send something that has no answer; dropped when a server that does not read has let too much pile up."""
        if self._gone is not None:
            return
        if self._held is not None:
            self._held.append((None, message, None))
        elif self._out.full or not self._out.write(message):
            self._post_later(message)

    def _post_later(self, message: bytes) -> None:
        if self._queued + len(message) <= QUEUE_LIMIT:
            self._posts += 1
            self._queue[f"post-{self._posts}"] = message
            self._queued += len(message)

    def _take_back(self, ident: Ident) -> bool:
        """Withdraw a request that still waits in our queue; True when it did."""
        message = self._queue.pop(ident, None)
        if message is None:
            return False
        self._queued -= len(message)
        return True

    # -- receiving ----------------------------------------------------------------------------------------------------

    def _read(self, chunk: bytes) -> None:
        self.received += 1
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines and (self._parts or self._skipping is not None):
            lines[0] = self._finish_line(lines[0])
        self._held = []
        try:
            for line in lines:
                if self._gone is not None:  # who was resumed by a line before may have closed us
                    return
                if line:
                    self._line(line)
        finally:
            self._let_go()
        if rest:
            self._keep(rest)

    def _finish_line(self, end: bytes) -> bytes:
        parts, self._parts, self._size = self._parts, [], 0
        if self._skipping is None:
            parts.append(end)
            line = b"".join(parts)
            if len(line) <= self._cap:
                return line
            head = line[:_EDGE]
        else:
            head, self._skipping = self._skipping, None
            if not head:  # its call has been told already
                return b""
        parts.append(end[-_EDGE:])
        self._fail_by_text(head, b"".join(parts)[-_EDGE:], self._reader.too_large(self._cap))
        return b""

    def _keep(self, rest: bytes) -> None:
        if self._skipping is not None:
            self._parts = [(b"".join(self._parts) + rest)[-_EDGE:]]
            self._count_unasked(1 + len(rest) // 256)
            return
        self._parts.append(rest)
        self._size += len(rest)
        if self._size > self._cap:
            head = b"".join(self._parts)
            self._parts, self._skipping = [head[-_EDGE:]], head[:_EDGE]
            if _HEAD_ID.search(self._skipping):  # its call can be told at once
                self._fail_by_text(self._skipping, b"", self._reader.too_large(self._cap))
                self._skipping = b""

    def _line(self, line: bytes) -> None:
        try:
            message = read_envelope(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._odd_line(line)
            return
        self._message(message)

    def _odd_line(self, line: bytes) -> None:
        """Noise, a glued or broken message: rescue what can be read, fail the call it was for, count the rest."""
        self.noise += 1
        self._count_unasked(1 + len(line) // 256)
        if self.noise == 1:
            shown = clean_line(line[:200].decode("utf-8", "replace"))
            self._peer.noticed("noise", f"writes to stdout what is no message: {shown}")
        if len(line) <= _RESCUE_LIMIT and self._rescue(line):
            return
        if (start := _START.search(line)) is not None:
            head = line[start.start() : start.start() + _EDGE]
            self._fail_by_text(head, line[-_EDGE:], self._reader.unusable("the answer cannot be read as JSON"))

    def _rescue(self, line: bytes) -> bool:
        """Find whole messages in a line that is not one: glued together, after or before noise, or in broken UTF-8."""
        found = False
        text = line.decode("utf-8", "replace")
        decode = JSONDecoder().raw_decode
        at = false_starts = 0
        while false_starts < _FALSE_STARTS and (start := _START_TEXT.search(text, at)) is not None:
            try:
                at = decode(text, start.start())[1]
            except (ValueError, RecursionError):
                at = start.end()
                false_starts += 1
                continue
            better = repaired(text[start.start() : at].encode("utf-8", "replace"))
            if better is None:
                continue
            with suppress(msgspec.MsgspecError, RecursionError):
                self._message(read_envelope(better))
                found = True
        return found

    def _fail_by_text(self, head: bytes, tail: bytes, error: CallError) -> None:
        """Fail the call whose answer this must have been: by the id it shows, or else the only one there is."""
        named = _HEAD_ID.search(head) or _TAIL_ID.search(tail)
        if named is not None:
            self._settle(cast("Ident", orjson.loads(named.group(1))), error)
        elif len(self._waiting) == 1 and _START.match(head) and b'"method"' not in head:
            self._settle(next(iter(self._waiting)), error)

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:  # noqa: ARG002 - only stderr is asyncio's
        data = cast("bytes", data)[-STDERR_KEPT:]
        self._stderr.append(data)
        self._stderr_size += len(data)
        if len(self._stderr) > 512:  # many small writes: one piece
            self._stderr = deque([b"".join(self._stderr)[-STDERR_KEPT:]])
            self._stderr_size = len(self._stderr[0])
        while self._stderr_size - len(self._stderr[0]) >= STDERR_KEPT:
            self._stderr_size -= len(self._stderr.popleft())

    # -- the end ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._child = cast("asyncio.SubprocessTransport", transport)  # it may exit before `spawn` has it

    def process_exited(self) -> None:
        self._exit = self._child.get_returncode()
        self.read_everything = self._out.unread() == 0
        self._loop.call_later(0.25, self._end, "")  # stdout may still hold answers; a grandchild may hold it open

    def _mute(self) -> None:
        self._loop.call_later(0.05, self._end, "it closed its output")  # the exit code is about to come

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._end("")

    def _obituary(self, reason: str) -> str:
        if self._exit is not None and reason in ("", "it closed its output", "it closed its input"):
            how = f"was ended by signal {-self._exit}" if self._exit < 0 else f"exited with code {self._exit}"
            if 128 < self._exit < 160:  # a namespace's and a shell's way of saying it
                how += f" (signal {self._exit - 128})"
            said = self.stderr
            return f"the server {how}" + (f"; its last words:\n{said}" if said else "")
        return reason if reason and not reason.startswith("it ") else f"the server is gone: {reason or 'it left'}"


_START_TEXT = re.compile(r'\{\s*"(?:jsonrpc|id|result|error|method)"\s*:')
