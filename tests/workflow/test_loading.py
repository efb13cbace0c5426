# ruff: noqa: E501 - tables: one case, one line
"""Loading: every key of the format, everything that is refused, and where it is said to stand."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from motet.calls import Retry
from motet.errors import WorkflowError
from motet.workflow.loading import bundle, load, load_text, parsed, unbundle
from motet.workflow.model import (
    Absent,
    Approval,
    ExpressionError,
    OnUnavailable,
    PromptGet,
    Read,
    RunWorkflow,
    SetValues,
    Step,
    ToolCall,
    Wait,
    Workflow,
)


def loaded(text: str) -> Workflow:
    return load_text(textwrap.dedent(text), path="flow.yaml")


def step(text: str) -> Step:
    """The one step `s` of a workflow, from the lines under it."""
    return loaded("motet: 1\nsteps:\n  other: {set: 1}\n  s:\n" + textwrap.indent(textwrap.dedent(text), "    ")).steps[
        "s"
    ]


def problems(text: str) -> list[str]:
    """Every problem as `line:column: message | hint`."""
    found = parsed(textwrap.dedent(text), path="flow.yaml").problems
    return [
        f"{one.place.line}:{one.place.column}: {one.message}" + (f" | {one.hint}" if one.hint else "") for one in found
    ]


def step_problems(text: str) -> list[str]:
    return problems("motet: 1\nsteps:\n  s:\n" + textwrap.indent(textwrap.dedent(text), "    "))


def test_a_whole_workflow_is_loaded() -> None:
    workflow = loaded("""
        motet: 1
        name: deploy
        description: All of it.
        inputs:
          repo: string
          count: {type: integer, default: 3, minimum: 1}
          token: {secret: true, required: false}
        timeout: 1h30m
        concurrency: 4
        steps:
          first: {call: github.get, with: {repo: "${{ inputs.repo }}"}}
          second: {call: slack.send, with: {text: "${{ first.name }}"}, if: steps.first.ok, needs: [first]}
        finally:
          clean: {call: deploy.clean, with: {id: "${{ second.id }}"}}
        output: {name: "${{ first.name }}"}
        """)
    assert (workflow.name, workflow.timeout, workflow.concurrency) == ("deploy", 5400.0, 4)
    assert [(one.name, one.required, one.default, one.secret, one.schema) for one in workflow.inputs.values()] == [
        ("repo", True, None, False, {"type": "string"}),
        ("count", False, 3, False, {"type": "integer", "default": 3, "minimum": 1}),
        ("token", False, None, True, {"type": "string"}),
    ]
    assert {name: one.after for name, one in workflow.steps.items()} == {
        "first": frozenset(),
        "second": frozenset({"first"}),
    }
    assert workflow.final["clean"].after == {"second"}
    assert workflow.output is not None
    assert workflow.output.evaluate({"first": {"name": "x"}}) == {"name": "x"}


def test_every_modifier_of_a_call_is_loaded() -> None:
    made = step("""
        call: jira.create.issue
        with: {title: "${{ item.title }}", extra: "${{ item.?note }}"}
        needs: other
        if: ${{ size(inputs.items) > 0 }}
        foreach: inputs.items
        as: item
        concurrency: 5
        timeout: 2m
        retry: {attempts: 5, base: 100ms, cap: 2s}
        on_error: {call: slack.send, with: {text: failed}}
        on_unavailable: {defer: 1d}
        reconcile: {call: jira.find, with: {q: x}, happened: result.total > 0, data: "${{ result.issues[0] }}"}
        undo: {call: jira.delete, with: {key: "${{ s.key }}"}, when: maybe}
        idempotency_key: "${{ inputs.key }}"
        keep: false
        parse: json
        """)
    assert isinstance(made.action, ToolCall)
    assert (made.action.server, made.action.tool) == ("jira", "create.issue")
    assert (made.needs, made.after, made.timeout, made.retry) == (("other",), {"other"}, 120.0, Retry(5, 0.1, 2.0))
    assert made.foreach is not None
    assert (made.foreach.name, made.foreach.concurrency) == ("item", 5)
    assert made.on_error.mode == "call"
    assert made.on_unavailable == OnUnavailable("defer", 86400.0)
    assert made.reconcile is not None
    assert made.reconcile.happened.evaluate({"result": {"total": 1}}) is True
    assert made.undo is not None
    assert (made.undo.when, made.undo.call.tool) == ("maybe", "delete")
    assert (made.keep, made.parse_json) == (False, True)
    arguments = made.action.arguments
    assert arguments is not None
    assert arguments.evaluate({"item": {"title": "x"}}) == {"title": "x"}
    assert arguments.evaluate({"item": {"title": "x", "note": 1}}) == {"title": "x", "extra": 1}


def test_every_kind_of_step_is_loaded() -> None:
    assert isinstance(step("prompt: github.review\nwith: {pr: '1'}").action, PromptGet)
    read = step("read: [github://a/b, ghe=github://a/b, {server: jira, uri: 'jira://x/${{ inputs.p }}'}]").action
    assert isinstance(read, Read)
    assert [(key, one.server, one.uri.evaluate({"inputs": {"p": "P"}})) for key, one in read.uris.items()] == [
        ("0", None, "github://a/b"),
        ("1", "ghe", "github://a/b"),
        ("2", "jira", "jira://x/P"),
    ]
    one = step("read: ghe=github://a/${{ inputs.p }}").action
    assert isinstance(one, Read)
    assert (one.form, one.uris[""].server, one.uris[""].uri.evaluate({"inputs": {"p": "P"}})) == (
        "one",
        "ghe",
        "github://a/P",
    )
    many = step("read: {prs: github://a/prs, sprint: jira://s}").action
    assert isinstance(many, Read)
    assert (many.form, list(many.uris)) == ("map", ["prs", "sprint"])
    assert step("read: x://y").on_error.mode == "continue"
    approval = step("approval: {message: 'Deploy ${{ other }}?', timeout: 1d}").action
    assert isinstance(approval, Approval)
    assert (approval.timeout, approval.message.evaluate({"other": 1})) == (86400.0, "Deploy 1?")
    for text, _scope, seconds in [
        ("wait: 90s", {}, 90.0),
        ("wait: {for: 1.5}", {}, 1.5),
        ("wait: ${{ duration('2m') }}", {}, "120s"),
    ]:
        wait = step(text).action
        assert isinstance(wait, Wait)
        assert wait.duration is not None
        assert wait.duration.evaluate({}) == seconds
    until = step("wait: {until: '${{ inputs.at }}'}").action
    assert isinstance(until, Wait)
    assert until.until is not None
    assert isinstance(step("set: [1, {a: '${{ other }}'}]").action, SetValues)


def test_a_value_that_is_one_expression_keeps_its_type_and_text_follows_the_rules() -> None:
    made = step("""
        set:
          whole: ${{ other.list }}
          number: "${{ 3.0 }}"
          block: |
            ${{ other.list }}
          text: "n=${{ 3.0 }} b=${{ true }} s=${{ other.s }} t=${{ timestamp(0) }}"
          braces: "${{ {'a': {'b': '}}'}}.a.b }} }}"
          once: "${{ '${' + '{ 1 }}' }}"
          quotes: 'it''s ${{ ''x'' }}'
          escaped: "\\"${{ \\"x\\" }}\\""
          left_out: ${{ other.?nothing }}
        """)
    assert isinstance(made.action, SetValues)
    assert made.action.value.evaluate({"other": {"list": [1, 2], "s": "x"}}) == {
        "whole": [1, 2],
        "number": 3,
        "block": [1, 2],
        "text": "n=3 b=true s=x t=1970-01-01T00:00:00Z",
        "braces": "}} }}",
        "once": "${{ 1 }}",
        "quotes": "it's x",
        "escaped": '"x"',
    }


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("${{ other.list }}!", "a list inside text: choose a field, or `.join(…)`", (5, 15)),
        ("a ${{ other.map }}", "an object inside text: choose a field, or `.join(…)`", (5, 17)),
        ("a ${{ other.none }}", "null inside text", (5, 17)),
        ("a ${{ other.?x }}", "an optional value inside text: end it with `.orValue(…)`", (5, 17)),
        ("${{ other.x.y }}", "there is no field `x`", (5, 21)),
        ("[${{ other.?x }}]", "an empty optional cannot be an item: end it with `.orValue(…)`", (5, 12)),
    ],
)
def test_what_has_no_text_form_fails_with_its_place(text: str, message: str, place: tuple[int, int]) -> None:
    text = "['${{ other.?x }}']" if text.startswith("[") else f'"{text}"'
    made = loaded(f"motet: 1\nsteps:\n  other: {{set: 1}}\n  s:\n    set: {text}\n").steps["s"].action
    assert isinstance(made, SetValues)
    with pytest.raises(ExpressionError) as raised:
        made.value.evaluate({"other": {"list": [], "map": {}, "none": None}})
    assert raised.value.message == message
    assert raised.value.place is not None
    if not text.startswith("["):
        assert (raised.value.place.line, raised.value.place.column) == place


def test_absent_data_is_named_with_its_place() -> None:
    made = step('set: "a ${{ steps.other.ok ? other.x : 1 }}"').action
    assert isinstance(made, SetValues)
    with pytest.raises(Absent) as raised:
        made.value.evaluate({"steps": {"other": {"ok": True}}})
    assert raised.value.name == "other"
    assert made.value.reads == {("steps", "other", "ok"), ("other", "x")}
    assert made.value.evaluate({"steps": {"other": {"ok": False}}}) == "a 1"


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ('"a \\u00e9 \\" ${{ nope() }}"', 28 - 8),
        ("'it''s ${{ nope() }}'", 12),
        ("|\n  one\n  two ${{ nope() }}", 13),
        (">\n  one\n\n  two\n  ${{ nope() }}", 9),
        ("plain ${{ nope() }}", 11),
        ('"one\n   two ${{ nope() }}"', 14),
        ('"one \\\n   two ${{ nope() }}"', 14),
    ],
)
def test_columns_are_exact_in_every_way_of_writing_text(text: str, column: int) -> None:
    body = textwrap.indent(text, " " * 6).lstrip()
    found = parsed(f"motet: 1\nsteps:\n  s:\n    set:\n      x: {body}\n").problems
    assert [one.message for one in found] == ["there is no function `nope()`"]
    place = found[0].place
    assert found[0].line[place.column - 1 : place.column + 3] == "nope"


def test_json_is_accepted_with_places_of_its_own() -> None:
    text = '{"motet": 1,\n\t"steps": {"s": {"set": {"x": "\\ud83d\\ude00 ${{ nope() }}", "y": "\\/"}}}}'
    found = parsed(text, path="flow.json").problems
    assert [(one.message, one.place.line, one.line[one.place.column - 1 : one.place.column + 3]) for one in found] == [
        ("there is no function `nope()`", 2, "nope")
    ]
    good = load_text(
        json.dumps({"motet": 1, "steps": {"s": {"set": {"x": "é\n${{ 1 }}"}}}}, indent=2), path="flow.json"
    )
    action = good.steps["s"].action
    assert isinstance(action, SetValues)
    assert action.value.evaluate({}) == {"x": "é\n1"}


def test_yaml_is_read_by_its_newer_rules() -> None:
    made = step(
        "set: {a: no, b: 0o17, c: 1_000, d: 2026-01-02, e: ~, f: 1e3, g: .inf, h: 12:30, i: 0x1F, j: '1'}"
    ).action
    assert isinstance(made, SetValues)
    assert made.value.evaluate({}) == {
        "a": "no",
        "b": 15,
        "c": "1_000",
        "d": "2026-01-02",
        "e": None,
        "f": 1000.0,
        "g": ".inf",
        "h": "12:30",
        "i": 31,
        "j": "1",
    }


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "motet: 1\nsteps:\n  s: {set: 1}\noutput: ${{ s ? 'b' : 'c' }}",
            "4:9: an expression that holds `: ` or ` #` wants quotes | write \"${{ s ? 'b' : 'c' }}\"",
        ),
        (
            "motet: 1\nsteps:\n  s:\n    call: a.b\n    with: {k: ${{ inputs.x }}}",
            '5:15: an expression inside `{…}` or `[…]` wants quotes | write "${{ inputs.x }}"',
        ),
        (
            "motet: 1\nsteps:\n  s:\n    call: a.b\n    with:\n      channel: #releases",
            '6:16: `#releases` begins a comment, so the value is null | quote it: "#releases"',
        ),
        (
            "motet: 1\nsteps:\n  s:\n    set: 1\n    if: !ready",
            '5:9: `!ready` reads as a YAML tag: a value cannot begin with `!` unquoted | for an expression, quote it: "!ready …"',
        ),
        (
            "motet: 1\nsteps:\n  open-pr: {set: 1}",
            "3:3: `open-pr` cannot name a step | write `open_pr`: in an expression `open-pr` would be a subtraction",
        ),
    ],
)
def test_the_five_common_mistakes_have_their_own_words(text: str, found: str) -> None:
    assert problems(text) == [found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["1:1: the file is empty | a workflow begins with `motet: 1`"]),
        ("[]", ["1:1: a workflow has to be a map"]),
        ("steps: {s: {set: 1}}", ["1:1: the version of the format is missing: a workflow begins with `motet: 1`"]),
        ("motet: 2\nsteps: {s: {set: 1}}", ["1:8: this is not a version of the format: write `motet: 1`"]),
        ("motet: 1\nsteps: {}", ["2:8: a workflow needs at least one step under `steps`"]),
        ("motet: 1\nstep: {}\nsteps: {s: {set: 1}}", ["2:1: a workflow has no key `step` | did you mean `steps`?"]),
        (
            "motet: 1\nsteps: {s: &a {set: 1}}",
            [
                "2:12: anchors and aliases are not allowed | a text that begins with `&` wants quotes; to share a value use a `set` step"
            ],
        ),
        (
            "motet: 1\nsteps: {s: {set: *a}}",
            [
                "2:18: anchors and aliases are not allowed | a text that begins with `*` wants quotes; to share a value use a `set` step"
            ],
        ),
        ("motet: 1\nmotet: 1\nsteps: {s: {set: 1}}", ["2:1: the key `motet` comes twice | the first is in line 1"]),
        ("motet: 1\n---\nmotet: 1", ["2:1: a workflow file holds one document"]),
        (
            "motet: 1\nsteps:\n\ts: 1",
            [
                "3:1: not valid YAML: found character that cannot start any token, while scanning for the next token | indent with spaces: YAML takes no tabs"
            ],
        ),
        ("motet: 1\nsteps: {1: {set: 1}}", ['2:9: a key must be text: "1" | quote it']),
        (
            "motet: 1\nsteps: {in: {set: 1}}",
            ["2:9: `in` is a word of the language and cannot name a step | such as `in_step`"],
        ),
        ("motet: 1\nsteps: {s: {set: 1}}\nfinally: {s: {set: 1}}", ["3:11: there is a step `s` already"]),
        ("motet: 1\ninputs: {x: str}\nsteps: {s: {set: 1}}", ["2:13: there is no type `str` | did you mean `string`?"]),
        (
            "motet: 1\ninputs: {x: {type: integer, default: a}}\nsteps: {s: {set: 1}}",
            ['2:38: the default of input `x` does not fit it: "a" is not of type "integer"'],
        ),
        (
            "motet: 1\ninputs: {x: {typ: integer}}\nsteps: {s: {set: 1}}",
            ["2:14: input `x` has no key `typ` | did you mean `type`?"],
        ),
        (
            "motet: 1\ntimeout: soon\nsteps: {s: {set: 1}}",
            ["2:10: `timeout` is a time | seconds, or text such as `500ms`, `30s`, `1h30m`, `1d`"],
        ),
        ('{"motet": 1,}', ["1:12: not valid JSON: a comma before the closing bracket"]),
    ],
)
def test_a_file_of_the_wrong_form_is_refused(text: str, found: list[str]) -> None:
    path = "flow.json" if text.startswith('{"') else "flow.yaml"
    made = parsed(text, path=path).problems
    assert [
        f"{one.place.line}:{one.place.column}: {one.message}" + (f" | {one.hint}" if one.hint else "") for one in made
    ] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("call: jira", ["4:11: `call` is written SERVER.TOOL"]),
        ("call: ${{ x }}.y", ["4:11: `call` is fixed, not an expression | choose between steps with `if`"]),
        (
            "call: a.b\nset: 1",
            ["3:3: step `s` needs exactly one of call, read, prompt, approval, wait, run, set | it has call and set"],
        ),
        ("with: {}", ["3:3: step `s` needs exactly one of call, read, prompt, approval, wait, run, set | it has none"]),
        ("call: a.b\nretries: 3", ["5:5: step `s` has no key `retries` | did you mean `retry`?"]),
        ("set: 1\nundo: {call: a.b}", ["5:5: `undo` does not belong to a `set` step | it belongs to: call, run"]),
        ("call: a.b\nas: x", ["5:5: `as` belongs to `foreach`"]),
        ("call: a.b\nwith: [1]", ["5:11: `with` has to be a map of arguments | such as `{repo: org/app}`"]),
        ("call: a.b\non_error: ignore", ["5:15: `on_error` is `fail` or `continue` | one of fail, continue"]),
        ("call: a.b\non_error: {value: 1, call: a.b}", ["5:15: `on_error` is fail, continue, {value: …} or {call: …}"]),
        ("call: a.b\nretry: 0", ["5:12: `retry`, the number of attempts, is a number from 1 to 100"]),
        ("call: a.b\nundo: {with: {}}", ["5:11: `undo` needs `call`"]),
        ("call: a.b\nreconcile: {call: a.b}", ["5:16: `reconcile` needs `happened`"]),
        ("call: a.b\nkeep: maybe", ["5:11: `keep` is true or false"]),
        ("call: a.b\ntimeout: ${{ 1 }}", ["5:14: `timeout` is fixed, not an expression | such as `30s`"]),
        (
            "call: a.b\ntimeout: -5",
            ["5:14: `timeout` is a time | seconds, or text such as `500ms`, `30s`, `1h30m`, `1d`"],
        ),
        ("read: nowhere", ["4:11: `nowhere` is no URI | a URI begins with its scheme: `github://…`"]),
        ("read: []", ["4:11: `read` names at least one URI"]),
        ("run: other.yaml", ["4:10: other workflows cannot be read from here"]),
        ("wait: {for: 1s, until: x}", ["4:11: `wait` is a time, `{for: …}` or `{until: …}`"]),
        (
            'set: 1\nif: "${{ a }} && ${{ b }}"',
            ["5:9: `if` is one expression, and this is text with expressions in it | write `${{ a && b }}`"],
        ),
        ('set: "${{ a"', ["4:11: `${{` without `}}` | close it with `}}`"]),
        ('set: "${{ \'a }}"', ["4:11: `${{` without `}}` | a string is not closed: '"]),
        (
            "set: {'${{ a }}': 1}",
            ["4:11: a key cannot hold an expression | put the map together in one: `${{ {inputs.key: value} }}`"],
        ),
        ('set: "${{ a +  }}"', ["4:18: expected a value, found the end"]),
        ("set: 1\nforeach: inputs.x\nas: in", ["6:9: `in` cannot name an item | it is a word of the language"]),
    ],
)
def test_a_step_of_the_wrong_form_is_refused(text: str, found: list[str]) -> None:
    assert step_problems(text) == found


def test_all_problems_are_told_at_once_with_line_and_caret() -> None:
    with pytest.raises(WorkflowError) as raised:
        loaded("""\
            motet: 1
            steps:
              one: {call: jira, retries: 3}
              two: {set: "${{ len(one) }}"}
            """)
    assert raised.value.message == "flow.yaml has 3 problems; the first: flow.yaml:3:15: `call` is written SERVER.TOOL"
    assert raised.value.problems[1:] == (
        (
            "flow.yaml:3:21: error: step `one` has no key `retries` [key]\n"
            " 3 |   one: {call: jira, retries: 3}\n"
            "   |                     ^^^^^^^ did you mean `retry`?"
        ),
        (
            "flow.yaml:4:19: error: there is no function `len()` [function]\n"
            ' 4 |   two: {set: "${{ len(one) }}"}\n'
            "   |                   ^^^ write `size(x)`"
        ),
    )


def test_control_characters_of_a_file_never_reach_the_terminal() -> None:
    found = parsed("motet: 1\nsteps: {s: {set: 1, 'x\\e[31m': \"\\e[2J\"}}").problems
    assert all("\x1b" not in one.render() for one in found)
    found = parsed('{"motet": 1, "x\\u001b[31m": 1}', path="x.json").problems
    assert found
    assert all("\x1b" not in one.render() for one in found)


# -- other workflows -------------------------------------------------------------------------------------------------


FILES = {
    "flows/a.yaml": "motet: 1\nsteps:\n  b: {run: sub/b.yaml, with: {x: 1}}\n  c: {run: ./sub/../sub/b.yaml}\n",
    "flows/sub/b.yaml": "motet: 1\ninputs: {x: {type: integer, required: false}}\nsteps:\n  s: {set: '${{ inputs.x }}'}\n",
    "flows/loop.yaml": "motet: 1\nsteps:\n  s: {run: loop2.yaml}\n",
    "flows/loop2.yaml": "motet: 1\nsteps:\n  s: {run: ./loop.yaml}\n",
}


def test_nested_workflows_are_read_relative_to_their_file_and_once() -> None:
    asked: list[str] = []

    def read(path: str) -> str:
        asked.append(path)
        return FILES[path]

    workflow = load_text(FILES["flows/a.yaml"], path="flows/a.yaml", read=read)
    first, second = workflow.steps["b"].action, workflow.steps["c"].action
    assert isinstance(first, RunWorkflow)
    assert isinstance(second, RunWorkflow)
    assert first.workflow is second.workflow
    assert asked == ["flows/sub/b.yaml"]


def test_a_workflow_is_made_again_from_its_stored_sources_alone() -> None:
    workflow = load_text(FILES["flows/a.yaml"], path="flows/a.yaml", read=FILES.__getitem__)
    again = unbundle(json.loads(json.dumps(bundle(workflow))))
    assert again.digest == workflow.digest
    nested = again.steps["b"].action
    assert isinstance(nested, RunWorkflow)
    assert nested.workflow.path == "flows/sub/b.yaml"


def test_the_digest_covers_nested_workflows() -> None:
    one = load_text(FILES["flows/a.yaml"], path="flows/a.yaml", read=FILES.__getitem__)
    changed = {**FILES, "flows/sub/b.yaml": FILES["flows/sub/b.yaml"] + "\n# changed\n"}
    assert load_text(FILES["flows/a.yaml"], path="flows/a.yaml", read=changed.__getitem__).digest != one.digest


def test_a_workflow_that_runs_itself_is_refused() -> None:
    found = parsed(FILES["flows/loop.yaml"], path="flows/loop.yaml", read=FILES.__getitem__).problems
    assert [(one.file, one.message) for one in found] == [
        ("flows/loop2.yaml", "the workflow runs itself: loop.yaml -> loop2.yaml -> loop.yaml")
    ]


def test_a_nested_file_that_is_not_there_is_told_at_its_place() -> None:
    found = parsed("motet: 1\nsteps:\n  s: {run: gone.yaml}\n", path="a.yaml", read=FILES.__getitem__).problems
    assert [(one.place.line, one.place.column, one.message) for one in found] == [
        (3, 12, "cannot read `gone.yaml`: there is no such file")
    ]


def test_a_chain_of_workflows_without_end_is_refused() -> None:
    def read(path: str) -> str:
        return f"motet: 1\nsteps:\n  s: {{run: x{path}}}\n"

    found = parsed("motet: 1\nsteps:\n  s: {run: a.yaml}\n", path="", read=read).problems
    assert [one.message for one in found] == [
        "workflows run workflows more than 16 levels deep, or more than 100 of them"
    ]


def test_a_file_is_loaded_from_disk(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.yaml").write_text(FILES["flows/sub/b.yaml"])
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + FILES["flows/a.yaml"].encode())
    assert load(tmp_path / "a.yaml").name == "a"
    with pytest.raises(WorkflowError, match="cannot read the workflow"):
        load(tmp_path / "gone.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"motet: 1 # \xff")
    with pytest.raises(WorkflowError, match="it is not UTF-8 text"):
        load(tmp_path / "latin.yaml")


# -- hostile files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "a: &a [*a]",
        "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]",
        "x" * (9 << 20),
        "motet: 1\nsteps: {s: {set: '" + "${{ " * 100_000 + "'}}",
        "motet: 1\nsteps: {s: {set: '" + "${{ 1 }}" * 1000 + "${{'}}",
        '{"a":' * 50_000,
        "motet: 1\n" + "".join(f"k{index}: 1\n" for index in range(20_000)),
        "motet: 1\nsteps: {s: {set: !!python/object/apply:os.system ['true']}}",
        "\x00",
        "motet: \x07",
        "? [a, b]\n: 1",
        "motet: 1\nsteps: {s: {set: " + "9" * 5000 + ", needs: 3}}",
        "%YAML 3.0\n---\nmotet: 1",
    ],
    ids=range(16),
)
def test_hostile_files_are_refused_and_nothing_else_happens(text: str) -> None:
    assert parsed(text, path="x.yaml").problems
    assert parsed(text, path="x.json").problems
