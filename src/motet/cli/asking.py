"""Questions of servers and of policy, put to the person at the terminal.

The event loop reads a line when the terminal has one: no thread is left behind when the person leaves with Ctrl-C.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import click

from motet.calls import Answer, Ask, Question
from motet.cli import output

Say = Callable[[str], None]


def asker(*, yes: bool = False, paused: Callable[[], AbstractContextManager[object]] = nullcontext) -> Ask | None:
    """Who answers questions: `--yes` to approvals, or the person at the terminal; None when there is neither.

    `paused` gives the context to ask in: nothing else is drawn meanwhile.
    """
    person = is_there()
    if not yes and not person:
        return None
    turn = asyncio.Lock()

    async def ask(question: Question) -> Answer | None:
        if yes and question.kind == "approval":
            return Answer("accept", {"by": who(), "note": "--yes"})
        if not person:
            return None
        async with turn:
            with paused():
                answer = await ask_person(question, line_of_terminal)
        if answer is not None and question.kind == "approval":
            return Answer(answer.action, {"by": who()})
        return answer

    return ask


def is_there() -> bool:
    """Is a person at the terminal?"""
    return output.is_terminal(sys.stdin) and output.is_terminal(sys.stderr)


def who() -> str:
    """Who speaks here: the name of the user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


async def ask_person(question: Question, read: Callable[[str], Any]) -> Answer | None:
    """Put one question; `read(prompt)` is awaited for each line and gives None at the end of input."""
    whose = f"{output.clean_line(question.server)}: " if question.server else ""
    output.say(f"\n{whose}{output.clean(question.message)}")
    match question.kind:
        case "approval":
            said = await _yes("Go ahead?", read)
            return None if said is None else Answer("accept" if said else "decline")
        case "url":
            output.say(f"Open this address: {output.clean_line(question.url or '')}")
            return Answer("accept" if await _yes("Done?", read) else "decline")
        case "elicitation":
            if not await _yes("Answer it?", read):
                return Answer("decline")
            fields = await _fields(question.schema or {}, read)
            return Answer("cancel") if fields is None else Answer("accept", fields)
        case _:
            return None


async def line_of_terminal(prompt: str) -> str | None:
    """One line from the terminal, without its end; None at the end of input."""
    click.echo(prompt, nl=False, err=True)
    if sys.platform == "win32":
        text = await asyncio.to_thread(sys.stdin.readline)
    else:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(sys.stdin, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(sys.stdin)
        text = sys.stdin.readline()
    return text.rstrip("\r\n") if text else None


async def _yes(prompt: str, read: Callable[[str], Any]) -> bool | None:
    while True:
        text: str | None = await read(f"{prompt} [y/n] ")
        if text is None:
            return None
        if text.strip().lower() in ("y", "yes"):
            return True
        if text.strip().lower() in ("n", "no"):
            return False


async def _fields(schema: Mapping[str, Any], read: Callable[[str], Any]) -> dict[str, Any] | None:
    """One prompt for each property of an elicitation's flat schema; an empty line leaves out what is not required."""
    answers: dict[str, Any] = {}
    required: list[str] = schema.get("required", [])
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    for name, about in properties.items():
        while True:
            text: str | None = await read(_label(name, about, needed=name in required))
            if text is None:
                return None
            if not text and name not in required:
                break
            fits, value = _value(about, text)
            if fits:
                answers[name] = value
                break
    return answers


def _label(name: str, about: Mapping[str, Any], *, needed: bool) -> str:
    choices = "/".join(map(str, about.get("enum", []))) or about.get("type", "text")
    shown = output.clean_line(about.get("title") or about.get("description") or name)
    return f"{shown} ({output.clean_line(choices)}{'' if needed else ', may be empty'}): "


def _value(about: Mapping[str, Any], text: str) -> tuple[bool, Any]:
    """Does the line fit the property, and what is its value?"""
    if "enum" in about:
        return next(((True, one) for one in about["enum"] if str(one) == text), (False, None))
    kinds = {"integer": int, "number": (int, float), "boolean": bool}
    kind: Any = kinds.get(about.get("type", ""))
    if kind is None:
        return True, text
    try:
        value = json.loads({"y": "true", "yes": "true", "n": "false", "no": "false"}.get(text.lower(), text))
    except json.JSONDecodeError:
        return False, None
    return isinstance(value, kind) and (kind is bool) == isinstance(value, bool), value


def typed(about: Mapping[str, Any], value: Any) -> Any:
    """A field as its property wants it, where text can be that; else as it is."""
    fits, found = _value(about, value) if isinstance(value, str) else (False, None)
    return found if fits else value
