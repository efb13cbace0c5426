"""Putting to somebody what a step waits for: an approval, or the questions of a server. The answer is a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from motet.calls import Answer, Ask, Json, Question
from motet.engine.ports import Redact
from motet.engine.report import short
from motet.errors import RunError
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


async def put(waiting: Waiting, ask: Ask, *, show: Redact) -> Said | None:
    """Ask for what it waits for, as it may be shown; None when nobody answered. It must be one of `ASKABLE`."""
    if waiting.reason == "question":
        return await _questions(waiting, ask)
    shown = cast("Mapping[str, Json]", show(waiting.shown or {}))
    then = cast("Mapping[str, Json]", shown.get("then") or {})
    lines = [str(shown.get("message", "")), *(f"  then {step}: {short(given, 2000)}" for step, given in then.items())]
    question = Question(server="", kind="approval", message="\n".join(lines), key=waiting.key)
    answer = await ask(question)
    if answer is None:
        return None
    content = answer.content or {}
    verdict: Verdict = "approve" if answer.action == "accept" else "reject"
    return Said(verdict, who=str(content.get("by", "")), note=str(content.get("note", "")))


def guarded(ask: Ask, redact: Redact) -> Ask:
    """The same, for answers that are stored: one that holds a configured secret is asked for once more."""

    async def asking(question: Question) -> Answer | None:
        answer = await ask(question)
        content = None if answer is None or answer.content is None else dict(answer.content)
        if answer is None or content is None or (safe := redact(content)) == content:
            return answer
        if question.kind == "approval":
            return replace(answer, content=cast("Mapping[str, Json]", safe))
        again = await ask(replace(question, message=f"{_NO_SECRETS}\n{question.message}"))
        stored = again is not None and redact(dict(again.content or {})) != dict(again.content or {})
        return None if stored else again

    return asking


_NO_SECRETS = "That holds a configured secret, which may not be stored with the run."


async def _questions(waiting: Waiting, ask: Ask) -> Said | None:
    answers: dict[str, Json] = {}
    for key, question in questions(waiting).items():
        answer = await ask(question)
        if answer is None:
            return None
        answers[key] = {"action": answer.action, "content": answer.content}
    return Said("answer", data=answers)


def questions(waiting: Waiting) -> dict[str, Question]:
    """What a server, or our own policy, asks, by the key of each question."""
    found: dict[str, Question] = {}
    for number, told in enumerate(cast("list[dict[str, Any]]", waiting.shown or [])):
        key = str(told.get("key") or number)
        found[key] = Question(
            server=str(told.get("server", "")),
            kind=told.get("kind", "elicitation"),
            message=str(told.get("message", "")),
            schema=told.get("schema"),
            url=told.get("url"),
            key=str(told.get("key", "")),
        )
    return found


def answered(waiting: Waiting, verdict: Verdict, *, who: str, data: Json) -> tuple[Verdict, Json]:
    """The verdict on questions, and its data: each question needs its answer. Raises `RunError` when it does not fit.

    `approve` and `reject` answer what only asks for an approval.
    """
    asked = questions(waiting)
    if verdict in ("approve", "reject"):
        if any(question.kind != "approval" for question in asked.values()):
            raise RunError("more is asked than an approval", hint="motet answer RUN STEP")
        action = "accept" if verdict == "approve" else "decline"
        return "answer", {key: {"action": action, "content": {"by": who}} for key in asked}
    if verdict == "decline":
        return "decline", None
    given = cast("dict[str, Json]", data if isinstance(data, dict) else {})
    if verdict != "answer" or given.keys() != asked.keys():
        raise RunError(f"it asks for {', '.join(asked)}: `{verdict}` with {', '.join(given) or 'nothing'} is no answer")
    return "answer", given
