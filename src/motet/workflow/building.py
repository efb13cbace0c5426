"""Document -> `Workflow`: what each key of one file means, and what is wrong with how it is written.

Strict: a key that is not in the format is a problem, with the key that was probably meant. A problem never stops it,
so that all are told at once; what could not be made out is `Unusable` in the workflow. Nothing is opened here: the
workflows that a `run` names come from the function it is given.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, cast

from motet.calls import Json, Retry
from motet.catalog.schema import BadSchema, compiled
from motet.workflow.document import Node
from motet.workflow.expressions.functions import MOST_SECONDS, seconds_of
from motet.workflow.format import (
    APPROVAL_KEYS,
    INPUT_KEYS,
    KINDS,
    MODIFIERS,
    NAME,
    ON_ERROR_KEYS,
    ON_UNAVAILABLE_KEYS,
    READ_KEYS,
    RECONCILE_KEYS,
    RESERVED_NAMES,
    RETRY_KEYS,
    SCHEMA_WORDS,
    STEP_KEYS,
    TYPES,
    UNDO_KEYS,
    VERSION,
    WAIT_KEYS,
    WORKFLOW_KEYS,
)
from motet.workflow.graph import ordered
from motet.workflow.model import (
    Action,
    Approval,
    Foreach,
    Input,
    OnError,
    OnUnavailable,
    Place,
    PromptGet,
    Read,
    ReadTarget,
    Reconcile,
    RunWorkflow,
    SetValues,
    Step,
    ToolCall,
    Undo,
    Value,
    Wait,
    Workflow,
)
from motet.workflow.problems import Problem, Source
from motet.workflow.shapes import nearby
from motet.workflow.values import AnyValue, Code, Compiler, Fixed, Text, Unusable

Pairs: TypeAlias = dict[str, tuple[Node, Node]]


class CannotRun(Exception):
    """A workflow that a `run` names cannot be used; told at the place of the `run`."""

    def __init__(self, message: str, *, hint: str = "", code: str = "form") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


Nested: TypeAlias = Callable[[str], Workflow | None]
"""The workflow that a `run` names; None when its own problems are told already. Raises `CannotRun`."""


class Builder:
    """Makes the workflow of one file; its problems are added to those given."""

    def __init__(self, source: Source, problems: list[Problem], nested: Nested) -> None:
        self.source = source
        self.problems = problems
        self.nested = nested
        self.compiler = Compiler(source, problems)

    # -- problems

    def wrong(self, node: Node, message: str, *, hint: str = "", code: str = "form") -> None:
        self.problems.append(self.source.problem(message, node.start, node.end, hint=hint, code=code))

    def place(self, node: Node) -> Place:
        return self.source.place(node.start, node.end)

    def pairs(self, node: Node, what: str, keys: tuple[str, ...] = (), example: str = "") -> Pairs:
        """The entries of a map; a key that is not among `keys` is a problem."""
        if not isinstance(node.value, dict):
            self.wrong(node, f"{what} has to be a map", hint=f"such as `{example}`" if example else "")
            return {}
        for name, (key, _) in node.value.items():
            if keys and name not in keys:
                near = nearby(name, keys)
                self.wrong(key, f"{what} has no key `{name}`", hint=near or f"its keys: {', '.join(keys)}", code="key")
        return node.value

    def text(self, node: Node, what: str) -> str:
        if isinstance(node.value, str):
            return node.value
        self.wrong(node, f"{what} has to be text", hint="quote it" if node.value is not None else "")
        return ""

    # -- the whole

    def workflow(self, root: Node) -> Workflow | None:
        """All that the document says, without its digest; None when it is no map."""
        top = self.pairs(root, "a workflow", WORKFLOW_KEYS)
        if not isinstance(root.value, dict):
            return None
        self.version(root, top)
        fallback = posixpath.splitext(posixpath.basename(self.source.path))[0] or "workflow"
        inputs = self.inputs(top["inputs"][1]) if "inputs" in top else {}
        steps = self.steps(top["steps"][1], {}) if "steps" in top else {}
        if not steps and not ("steps" in top and top["steps"][1].value):
            where = top["steps"][1] if "steps" in top else Node(None, root.start, root.start + 5)
            self.wrong(where, "a workflow needs at least one step under `steps`")
        final = self.steps(top["finally"][1], steps) if "finally" in top else {}
        names = steps.keys() | final.keys()
        return Workflow(
            name=self.text(top["name"][1], "`name`") if "name" in top else fallback,
            description=self.text(top["description"][1], "`description`") if "description" in top else "",
            inputs=inputs,
            steps={name: ordered(step, names) for name, step in steps.items()},
            final={name: ordered(step, names) for name, step in final.items()},
            output=self.compiler.value(top["output"][1]) if "output" in top else None,
            timeout=self.duration(top["timeout"][1], "`timeout`") if "timeout" in top else None,
            concurrency=self.count(top["concurrency"][1], "`concurrency`") if "concurrency" in top else None,
            path=self.source.path,
            source=self.source.text,
        )

    def version(self, root: Node, top: Pairs) -> None:
        if "motet" not in top:
            node = Node(None, root.start, root.start + 1)
            self.wrong(node, f"the version of the format is missing: a workflow begins with `motet: {VERSION}`")
        elif (given := top["motet"][1]).value is True or given.value != VERSION:
            self.wrong(given, f"this is not a version of the format: write `motet: {VERSION}`")

    # -- inputs

    def inputs(self, node: Node) -> dict[str, Input]:
        made: dict[str, Input] = {}
        for name, (key, value) in self.pairs(node, "`inputs`", example="repo: {type: string}").items():
            if not NAME.match(name):
                self.wrong(key, f"`{name}` cannot name an input", hint=_as_name(name), code="name")
            made[name] = self.input(name, value)
        return made

    def input(self, name: str, node: Node) -> Input:
        if isinstance(node.value, str):
            self.type(node)
            return Input(name, {"type": node.value}, place=self.place(node))
        what = f"input `{name}`"
        parts = self.pairs(node, what, example="{type: string}")
        for word, (key, _) in parts.items():
            if word not in SCHEMA_WORDS and word not in INPUT_KEYS:
                known = sorted(SCHEMA_WORDS | set(INPUT_KEYS))
                hint = nearby(word, known) or "it takes the words of JSON Schema, `required` and `secret`"
                self.wrong(key, f"{what} has no key `{word}`", hint=hint, code="key")
        if "type" in parts:
            self.type(parts["type"][1])
        schema = {word: value.plain() for word, (_, value) in parts.items() if word not in INPUT_KEYS}
        default = schema.get("default")
        if "default" in parts:
            self.default(parts["default"][1], what, schema)
        secret = "secret" in parts and self.flag(parts["secret"][1], "`secret`")
        if secret and schema.setdefault("type", "string") != "string":
            self.wrong(parts["secret"][1], "a secret is given by its name, so its type is string")
        required = "default" not in parts
        if "required" in parts:
            required = self.flag(parts["required"][1], "`required`")
        return Input(name, schema, required, default, secret, str(schema.get("description") or ""), self.place(node))

    def type(self, node: Node) -> None:
        for one in node.value if isinstance(node.value, list) else [node]:
            if one.value not in TYPES:
                word = str(one.value)
                aliases = {
                    "str": "string",
                    "text": "string",
                    "int": "integer",
                    "float": "number",
                    "bool": "boolean",
                    "list": "array",
                    "dict": "object",
                    "map": "object",
                }
                near = (
                    f"did you mean `{aliases[word]}`?"
                    if word in aliases
                    else nearby(word, TYPES) or f"types: {', '.join(TYPES)}"
                )
                self.wrong(one, f"there is no type `{word}`", hint=near)

    def default(self, node: Node, what: str, schema: Mapping[str, Json]) -> None:
        try:
            checker = compiled(schema)
        except BadSchema as bad:
            self.wrong(node, f"the schema of {what} cannot be used: {bad}")
            return
        if not checker.is_valid(schema["default"]):
            why = next(iter(checker.iter_errors(schema["default"])), None)
            self.wrong(
                node, f"the default of {what} does not fit it: {'' if why is None else why.message}", code="type"
            )

    # -- small values

    def flag(self, node: Node, what: str) -> bool:
        if isinstance(node.value, bool):
            return node.value
        self.wrong(node, f"{what} is true or false")
        return False

    def count(self, node: Node, what: str, most: int = 10_000) -> int | None:
        if isinstance(node.value, int) and not isinstance(node.value, bool) and 1 <= node.value <= most:
            return node.value
        self.wrong(node, f"{what} is a number from 1 to {most:,}")
        return None

    def duration(self, node: Node, what: str, *, zero: bool = False) -> float | None:
        value = node.value
        seconds: float | None = None
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = float(value)
        elif isinstance(value, str) and "${{" in value:
            self.wrong(node, f"{what} is fixed, not an expression", hint="such as `30s`")
            return None
        elif isinstance(value, str):
            seconds = seconds_of(value.replace(" ", ""))
        if seconds is None or not (seconds >= 0 if zero else seconds > 0) or seconds > MOST_SECONDS:
            self.wrong(node, f"{what} is a time", hint="seconds, or text such as `500ms`, `30s`, `1h30m`, `1d`")
            return None
        return seconds

    def word(self, node: Node, what: str, choices: tuple[str, ...]) -> str:
        if node.value in choices:
            return str(node.value)
        given = nearby(str(node.value), choices) or f"one of {', '.join(choices)}"
        self.wrong(node, f"{what} is {' or '.join(f'`{one}`' for one in choices)}", hint=given)
        return choices[0]

    # -- steps

    def steps(self, node: Node, others: Mapping[str, Step]) -> dict[str, Step]:
        made: dict[str, Step] = {}
        for name, (key, value) in self.pairs(node, "`steps`", example="NAME: {call: SERVER.TOOL}").items():
            if name in others:
                self.wrong(key, f"there is a step `{name}` already", code="name")
            elif not NAME.match(name):
                self.wrong(key, f"`{name}` cannot name a step", hint=_as_name(name), code="name")
            elif name in RESERVED_NAMES:
                self.wrong(
                    key,
                    f"`{name}` is a word of the language and cannot name a step",
                    hint=f"such as `{name}_step`",
                    code="name",
                )
            made[name] = self.step(name, key, value)
        return made

    def step(self, name: str, key: Node, node: Node) -> Step:
        parts = self.pairs(node, f"step `{name}`", STEP_KEYS, "{call: SERVER.TOOL, with: {…}}")
        kinds = [kind for kind in KINDS if kind in parts]
        if len(kinds) != 1 and isinstance(node.value, dict):
            has = f"it has {' and '.join(kinds)}" if kinds else "it has none"
            self.wrong(key, f"step `{name}` needs exactly one of {', '.join(KINDS)}", hint=has)
        kind = kinds[0] if kinds else ""
        for word, (at, _) in parts.items():
            if kind and word in MODIFIERS and kind not in MODIFIERS[word]:
                self.wrong(
                    at,
                    f"`{word}` does not belong to a `{kind}` step",
                    hint=f"it belongs to: {', '.join(MODIFIERS[word])}",
                    code="key",
                )
        action = self.action(kind, parts, node)
        return Step(
            name=name,
            action=action,
            place=self.place(key),
            needs=self.needs(parts["needs"][1]) if "needs" in parts else (),
            condition=self.compiler.condition(parts["if"][1], "if") if "if" in parts else None,
            foreach=self.foreach(parts),
            timeout=self.duration(parts["timeout"][1], "`timeout`") if "timeout" in parts else None,
            retry=self.retry(parts["retry"][1]) if "retry" in parts else None,
            on_error=self.on_error(parts["on_error"][1])
            if "on_error" in parts
            else OnError("continue" if kind == "read" else "fail"),
            on_unavailable=self.on_unavailable(parts["on_unavailable"][1]) if "on_unavailable" in parts else None,
            reconcile=self.reconcile(parts["reconcile"][1]) if "reconcile" in parts else None,
            undo=self.undo(parts["undo"][1]) if "undo" in parts else None,
            idempotency_key=self.compiler.value(parts["idempotency_key"][1]) if "idempotency_key" in parts else None,
            keep=self.flag(parts["keep"][1], "`keep`") if "keep" in parts else True,
            parse_json=self.word(parts["parse"][1], "`parse`", ("schema", "json")) == "json"
            if "parse" in parts
            else False,
        )

    def needs(self, node: Node) -> tuple[str, ...]:
        many = node.value if isinstance(node.value, list) else [node]
        return tuple(dict.fromkeys(name for one in many if (name := self.text(one, "`needs`, the name of a step,"))))

    def foreach(self, parts: Pairs) -> Foreach | None:
        if "foreach" not in parts:
            for word in ("as", "concurrency"):
                if word in parts:
                    self.wrong(parts[word][0], f"`{word}` belongs to `foreach`", code="key")
            return None
        name = "item"
        if "as" in parts:
            node = parts["as"][1]
            name = self.text(node, "`as`") or "item"
            if not NAME.match(name) or (name in RESERVED_NAMES and name != "item"):
                self.wrong(node, f"`{name}` cannot name an item", hint=_as_name(name), code="name")
        concurrency = self.count(parts["concurrency"][1], "`concurrency`") if "concurrency" in parts else None
        return Foreach(self.compiler.condition(parts["foreach"][1], "foreach"), name, concurrency)

    def retry(self, node: Node) -> Retry | None:
        if not isinstance(node.value, dict):
            attempts = self.count(node, "`retry`, the number of attempts,", 100)
            return None if attempts is None else Retry(attempts)
        parts = self.pairs(node, "`retry`", RETRY_KEYS)
        plain = Retry()
        attempts = self.count(parts["attempts"][1], "`attempts`", 100) if "attempts" in parts else None
        base = self.duration(parts["base"][1], "`base`", zero=True) if "base" in parts else None
        cap = self.duration(parts["cap"][1], "`cap`", zero=True) if "cap" in parts else None
        base = plain.base if base is None else base
        return Retry(
            plain.attempts if attempts is None else attempts, base, max(base, plain.cap if cap is None else cap)
        )

    def on_error(self, node: Node) -> OnError:
        if isinstance(node.value, dict):
            parts = self.pairs(node, "`on_error`", ON_ERROR_KEYS)
            if ("value" in parts) == ("call" in parts):
                self.wrong(node, "`on_error` is fail, continue, {value: …} or {call: …}")
                return OnError("fail")
            if "value" in parts:
                if "with" in parts:
                    self.wrong(parts["with"][0], "`with` belongs to `call`", code="key")
                return OnError("value", value=self.compiler.value(parts["value"][1]))
            return OnError("call", call=self.tool_call(parts))
        return OnError(cast('Literal["fail", "continue"]', self.word(node, "`on_error`", ("fail", "continue"))))

    def on_unavailable(self, node: Node) -> OnUnavailable:
        if isinstance(node.value, dict):
            parts = self.pairs(node, "`on_unavailable`", ON_UNAVAILABLE_KEYS)
            defer = self.duration(parts["defer"][1], "`defer`") if "defer" in parts else None
            return OnUnavailable("defer", defer or 0.0)
        return OnUnavailable(
            cast('Literal["fail", "continue"]', self.word(node, "`on_unavailable`", ("fail", "continue")))
        )

    def reconcile(self, node: Node) -> Reconcile | None:
        parts = self.pairs(node, "`reconcile`", RECONCILE_KEYS)
        if not self.has(node, parts, "`reconcile`", ("call", "happened")):
            return None
        happened = self.compiler.condition(parts["happened"][1], "happened")
        data = self.compiler.value(parts["data"][1]) if "data" in parts else None
        return Reconcile(self.tool_call(parts), happened, data)

    def undo(self, node: Node) -> Undo | None:
        parts = self.pairs(node, "`undo`", UNDO_KEYS)
        if not self.has(node, parts, "`undo`", ("call",)):
            return None
        when = self.word(parts["when"][1], "`when`", ("done", "maybe")) if "when" in parts else "done"
        return Undo(self.tool_call(parts), cast('Literal["done", "maybe"]', when))

    def has(self, node: Node, parts: Pairs, what: str, keys: tuple[str, ...]) -> bool:
        missing = [key for key in keys if key not in parts]
        if missing and isinstance(node.value, dict):
            self.wrong(node, f"{what} needs {' and '.join(f'`{key}`' for key in missing)}")
        return not missing

    # -- what a step does

    def action(self, kind: str, parts: Pairs, node: Node) -> Action:
        place = self.place(parts[kind][1]) if kind else self.place(node)
        match kind:
            case "call":
                return self.tool_call(parts)
            case "prompt":
                server, name, place = self.address(parts["prompt"][1], "prompt", "SERVER.PROMPT")
                return PromptGet(server, name, self.arguments(parts), place)
            case "read":
                return self.read(parts["read"][1])
            case "approval":
                return self.approval(parts["approval"][1])
            case "wait":
                return self.wait(parts["wait"][1])
            case "run":
                return self.run(parts)
            case "set":
                return SetValues(self.compiler.value(parts["set"][1]), place)
            case _:
                return SetValues(Unusable(self.source, node), place)

    def tool_call(self, parts: Pairs) -> ToolCall:
        server, tool, place = self.address(parts["call"][1], "call", "SERVER.TOOL")
        return ToolCall(server, tool, self.arguments(parts), place)

    def address(self, node: Node, key: str, form: str) -> tuple[str, str, Place]:
        text = node.value if isinstance(node.value, str) else ""
        server, _, name = text.partition(".")
        if "${{" in text:
            self.wrong(node, f"`{key}` is fixed, not an expression", hint="choose between steps with `if`")
            server = name = ""
        elif not server or not name:
            self.wrong(node, f"`{key}` is written {form}")
            server = name = ""
        return server, name, self.place(node)

    def arguments(self, parts: Pairs) -> Value | None:
        if "with" not in parts:
            return None
        node = parts["with"][1]
        value = self.compiler.value(node)
        if isinstance(node.value, dict) or isinstance(value, Code | Unusable):
            return value
        self.wrong(node, "`with` has to be a map of arguments", hint="such as `{repo: org/app}`")
        return Unusable(self.source, node)

    def read(self, node: Node) -> Read:
        place = self.place(node)
        match node.value:
            case dict(fields) if fields and set(fields) <= set(READ_KEYS):
                return Read({"": self.target(node)}, "one", place)
            case dict(fields):
                if not fields:
                    self.wrong(node, "`read` names at least one URI")
                return Read({name: self.target(one) for name, (_, one) in fields.items()}, "map", place)
            case list(items):
                if not items:
                    self.wrong(node, "`read` names at least one URI")
                return Read({str(index): self.target(one) for index, one in enumerate(items)}, "list", place)
            case _:
                return Read({"": self.target(node)}, "one", place)

    def target(self, node: Node) -> ReadTarget:
        if isinstance(node.value, dict):
            parts = self.pairs(node, "a read", READ_KEYS, "{server: SERVER, uri: …}")
            if not self.has(node, parts, "a read", READ_KEYS):
                return ReadTarget(Unusable(self.source, node))
            return ReadTarget(self.uri(parts["uri"][1]), self.text(parts["server"][1], "`server`"))
        value = self.uri(node)
        lead = value.value if isinstance(value, Fixed) else value.parts[0] if isinstance(value, Text) else ""
        server, equals, rest = str(lead).partition("=")
        if not equals or "://" not in rest or "/" in server or ":" in server:
            return ReadTarget(value)
        if isinstance(value, Text):
            return ReadTarget(Text(self.source, node, [rest, *value.parts[1:]]), server)
        return ReadTarget(Fixed(self.source, node, rest), server)

    def uri(self, node: Node) -> AnyValue:
        if not isinstance(node.value, str):
            self.wrong(node, "a URI has to be text", hint="such as `github://org/app/pull-requests`")
            return Unusable(self.source, node)
        value = self.compiler.value(node)
        if isinstance(value, Fixed) and ":" not in node.value:
            self.wrong(node, f"`{node.value[:60]}` is no URI", hint="a URI begins with its scheme: `github://…`")
        return value

    def approval(self, node: Node) -> Approval:
        place = self.place(node)
        if not isinstance(node.value, dict):
            if not isinstance(node.value, str):
                self.wrong(node, "`approval` says what to ask", hint='such as `{message: "Deploy?", timeout: 1d}`')
            return Approval(self.compiler.value(node), None, place)
        parts = self.pairs(node, "`approval`", APPROVAL_KEYS)
        timeout = self.duration(parts["timeout"][1], "`timeout`") if "timeout" in parts else None
        if not self.has(node, parts, "`approval`", ("message",)):
            return Approval(Unusable(self.source, node), timeout, place)
        return Approval(self.compiler.value(parts["message"][1]), timeout, place)

    def wait(self, node: Node) -> Wait:
        place = self.place(node)
        if isinstance(node.value, dict):
            parts = self.pairs(node, "`wait`", WAIT_KEYS)
            if len(parts) != 1:
                self.wrong(node, "`wait` is a time, `{for: …}` or `{until: …}`")
                return Wait(None, None, place)
            if "until" in parts:
                return Wait(None, self.compiler.value(parts["until"][1]), place)
            node = parts["for"][1] if "for" in parts else node
        value = self.compiler.value(node)
        if isinstance(value, Fixed):
            seconds = self.duration(node, "`wait`", zero=True)
            value = Fixed(self.source, node, 0.0 if seconds is None else seconds)
        return Wait(value, None, place)

    def run(self, parts: Pairs) -> Action:
        node = parts["run"][1]
        text = self.text(node, "`run`, the path of a workflow,")
        if "${{" in text:
            self.wrong(node, "`run` is fixed, not an expression", hint="choose between steps with `if`")
            text = ""
        try:
            nested = self.nested(text) if text else None
        except CannotRun as refused:
            self.wrong(node, refused.message, hint=refused.hint, code=refused.code)
            nested = None
        if nested is None:
            return SetValues(Unusable(self.source, node), self.place(node))
        return RunWorkflow(nested, self.arguments(parts), self.place(node))


def _as_name(name: str) -> str:
    fixed = "".join(char if char.isascii() and (char.isalnum() or char == "_") else "_" for char in name)
    fixed = f"_{fixed}" if fixed[:1].isdigit() or not fixed else fixed
    if "-" in name:
        return f"write `{fixed}`: in an expression `{name}` would be a subtraction"
    return f"letters, digits and `_`, such as `{fixed[:40]}`" if fixed != name else "it is a word of the language"
