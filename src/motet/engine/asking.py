"""Putting to somebody what a step waits for: an approval, or the questions of a server. The answer is a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from motet.calls import Ask, Json, Question
from motet.workflow.entries import Verdict, Waiting

ASKABLE = ("approval", "question")
"""What a wait must be for, that somebody can be asked."""


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said to a step that waits."""

    verdict: Verdict
    who: str = ""
    note: str = ""
    data: Json = None


async def put(waiting: Waiting, ask: Ask) -> Said | None:
    """Ask for what it waits for; None when nobody answered. It must be one of `ASKABLE`."""
    return await (_questions if waiting.reason == "question" else _approval)(waiting, ask)


async def _approval(waiting: Waiting, ask: Ask) -> Said | None:
    shown = cast("Mapping[str, Json]", waiting.shown or {})
    question = Question(server="", kind="approval", message=str(shown.get("message", "")), key=waiting.key)
    answer = await ask(question)
    if answer is None:
        return None
    content = answer.content or {}
    verdict: Verdict = "approve" if answer.action == "accept" else "reject"
    return Said(verdict, who=str(content.get("by", "")), note=str(content.get("note", "")))


async def _questions(waiting: Waiting, ask: Ask) -> Said | None:
    answers: dict[str, Json] = {}
    for number, told in enumerate(cast("list[dict[str, Json]]", waiting.shown or [])):
        question = Question(
            server=str(told.get("server", "")),
            kind=told.get("kind", "elicitation"),
            message=str(told.get("message", "")),
            schema=told.get("schema"),
            url=told.get("url"),
            key=str(told.get("key", "")),
        )
        answer = await ask(question)
        if answer is None:
            return None
        answers[question.key or str(number)] = {"action": answer.action, "content": answer.content}
    return Said("answer", data=answers)
