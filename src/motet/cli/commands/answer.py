"""`motet answer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from motet.cli import arguments, options

if TYPE_CHECKING:
    from motet.calls import Question
    from motet.engine.durable import Durable
    from motet.workflow.entries import Waiting


@click.command(short_help="Answer what a server asked while nobody was there.")
@click.argument("run")
@click.argument("step")
@click.argument("fields", nargs=-1, metavar="[FIELD=TEXT]...")
@click.option("--decline", is_flag=True, help="Answer nothing: the step fails.")
@options.shown
@options.journal
@options.config
@options.json
def command(
    *,
    run: str,
    step: str,
    fields: tuple[str, ...],
    decline: bool,
    shown: str,
    journal: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Answer the questions that a step of a run waits with; without fields they are put to you here.

    The same round is repeated with your answer as soon as somebody goes on with the run: `motet resume RUN`. Where a
    step asks several things, write QUESTION.FIELD=TEXT. FIELD:=JSON gives numbers, booleans and lists.

    \b
    motet answer 1a2b3c4d5e6f deploy region=eu
    """
    from motet.cli import asking, runs

    if decline and fields:
        raise click.UsageError("--decline answers nothing: leave the fields out")
    given = arguments.pairs(fields, what="field")

    async def say(durable: Durable) -> None:
        waiting = await durable.waiting(run, step)
        data = None if decline or waiting is None else await _answers(waiting, given)
        verdict = "decline" if decline else "answer"
        await durable.answer(run, step, verdict, who=asking.who(), data=data, digest=shown)

    runs.say(
        config,
        journal,
        say,
        told=f"{step} of run {run}: {'declined' if decline else 'answered'}",
        run=run,
        as_json=as_json,
    )


async def _answers(waiting: Waiting, given: dict[str, Any]) -> dict[str, Any] | None:
    """The answer to each question: from the fields that were given, or asked for here."""
    from motet.cli import asking
    from motet.engine.asking import questions

    if waiting.reason != "question":
        return None
    asked = questions(waiting)
    answers: dict[str, Any] = {}
    for key, question in asked.items():
        if given or not asking.is_there():
            fields = _fields(question, _own(given, key, alone=len(asked) == 1))
            answers[key] = {"action": "accept", "content": fields}
        else:
            said = await asking.ask_person(question, asking.line_of_terminal)
            answers[key] = {"action": said.action if said else "cancel", "content": said and said.content}
    return answers


def _own(given: dict[str, Any], key: str, *, alone: bool) -> dict[str, Any]:
    prefix = f"{key}."
    own = {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}
    return own or (given if alone else {})


def _fields(question: Question, given: dict[str, Any]) -> dict[str, Any] | None:
    """The fields as the question's schema wants them. Raises click.UsageError when they do not fit."""
    import jsonschema_rs

    from motet.cli import asking

    if question.kind != "elicitation":
        return None
    schema = question.schema or {}
    about: dict[str, Any] = schema.get("properties", {})
    fields = {name: asking.typed(about.get(name, {}), value) for name, value in given.items()}
    try:
        jsonschema_rs.validate({**schema, "additionalProperties": False}, fields)
    except jsonschema_rs.ValidationError as error:
        wants = ", ".join(about)
        raise click.UsageError(f"{question.message}: {error.message}; it asks for {wants}") from None
    return fields
