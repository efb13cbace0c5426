# ruff: noqa: E501 - tables: one case, one line
"""`check`: everything that can be known to be wrong before anything runs, each with its place."""

from __future__ import annotations

import textwrap

import pytest

from motet.catalog.catalog import Catalog, ServerCatalog
from motet.workflow.calling import Effect, EffectOf
from motet.workflow.check import Checked, check, check_text
from motet.workflow.loading import ReadText, load_text
from workflow.check_catalog import catalog


def checked(
    text: str, *, using: Catalog | None = None, effect: EffectOf | None = None, read: ReadText | None = None
) -> Checked:
    return check_text(textwrap.dedent(text), using or catalog(), path="flow.yaml", effect=effect, read=read)


def told(found: Checked) -> list[str]:
    return [
        f"{one.severity} {one.place.line}:{one.place.column} {one.message}" + (f" | {one.hint}" if one.hint else "")
        for one in found.problems
    ]


def words(found: Checked) -> list[str]:
    """The same with the words it is about, in place of their line and column."""
    made: list[str] = []
    for one in found.problems:
        begin = one.place.column - 1
        about = one.line[begin : begin + max(1, one.place.end - one.place.start)]
        made.append(f"{one.severity} <{about}> {one.message}" + (f" | {one.hint}" if one.hint else ""))
    return made


def steps(text: str) -> list[str]:
    """What is told of these steps; the warnings about unsafe writes, which have their own tests, are left out."""
    head = "motet: 1\ninputs: {repo: string, items: {type: array, items: {type: string}}, n: {type: integer, required: false}}\nsteps:\n"
    body = "  release: {call: github.get_latest_release, with: {repo: org/app}}\n" + textwrap.indent(
        textwrap.dedent(text), "  "
    )
    return [one for one in words(checked(head + body)) if "when its answer is lost" not in one]


DEPLOY = """\
motet: 1
name: deploy-and-tell
description: Deploy the latest release and update the ticket.
inputs:
  repo: {type: string}
  ticket: {type: string}
steps:
  release:
    call: github.get_latest_release
    with: {repo: "${{ inputs.repo }}"}
  approve:
    approval: {message: "Deploy ${{ release.tag_name }} to staging?", timeout: 1d}
  deploy:
    call: deploy.deploy
    with: {version: "${{ release.tag_name }}", env: staging}
    needs: [approve]
    undo: {call: deploy.rollback, with: {env: staging, to: "${{ deploy.previous }}"}}
  healthy:
    call: deploy.check
    with: {env: staging}
    needs: [deploy]
  ticket:
    call: jira.transition_issue
    with: {key: "${{ inputs.ticket }}", status: deployed}
    needs: [healthy]
    on_error: continue
  tell:
    call: slack.send_message
    with:
      channel: "#releases"
      text: "${{ release.tag_name }} deployed${{ steps.ticket.ok ? '' : '; ticket update pending' }}"
    needs: [healthy]
    on_error: continue
output: {version: "${{ release.tag_name }}", ticket: "${{ steps.ticket.status }}"}
"""


def test_a_good_workflow_has_no_errors_and_a_plan() -> None:
    found = checked(DEPLOY)
    assert told(found) == [
        (
            "warning 28:11 `slack.send_message` writes: when its answer is lost, nobody can say whether it acted"
            " | declare `undo`, `reconcile` or `idempotency_key`"
        )
    ]
    assert found.plan.waves == (("release",), ("approve",), ("deploy",), ("healthy",), ("ticket",), ("tell",))
    assert found.plan.servers == ("github", "deploy", "jira", "slack")
    assert found.plan.crossings == (
        "github.release.tag_name -> deploy.deploy.version",
        "github.release.tag_name -> slack.tell.text",
    )
    assert [name for name, one in found.plan.steps.items() if one.unsafe] == ["deploy", "tell"]
    assert found.to_json()["ok"] is True


def test_a_wrong_field_a_missing_argument_a_cycle_and_a_type_error_are_told_at_once_with_their_places() -> None:
    found = checked("""\
        motet: 1
        steps:
          release: {call: github.get_latest_release, with: {repo: org/app}}
          field: {set: "${{ release.tag_nmae }}"}
          missing: {call: deploy.rollback}
          a: {set: "${{ b }}"}
          b: {set: "${{ a }}"}
          kind: {call: jira.get_issue, with: {key: "${{ release.id }}"}}
        """)
    assert told(found) == [
        "error 4:29 `release` has no field `tag_nmae` | did you mean `tag_name`?",
        'error 5:19 `deploy.rollback` needs the argument `env` (one of "staging", "production")',
        "error 6:17 steps wait for each other: a -> b -> a | `a` waits for `b` here",
        "error 8:49 argument `key` of `jira.get_issue`: expected string, got int",
    ]
    assert found.problems[0].render() == (
        "flow.yaml:4:29: error: `release` has no field `tag_nmae` [field]\n"
        ' 4 |   field: {set: "${{ release.tag_nmae }}"}\n'
        "   |                             ^^^^^^^^ did you mean `tag_name`?"
    )


def test_mistakes_of_form_and_of_meaning_are_told_together() -> None:
    found = checked("""\
        motet: 1
        steps:
          one: {call: jira.get_isue, with: {key: X}, retries: 3}
          two: {set: "${{ one.upper() }}"}
          three: {set: "${{ tow }}"}
        """)
    assert told(found) == [
        "error 3:20 server `jira` has no tool `get_isue` | did you mean `get_issue`?",
        "error 3:46 step `one` has no key `retries` | did you mean `retry`?",
        "error 4:23 there is no function `.upper()` | write `x.upperAscii()`",
        "error 5:21 unknown name `tow` | did you mean `two`?",
    ]
    assert found.workflow is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "x: {call: gihub.search, with: {q: a}}",
            ["error <gihub> there is no server `gihub` | did you mean `github`?"],
        ),
        (
            "x: {call: nowhere.search}",
            ["error <nowhere> there is no server `nowhere` | servers: deploy, github, jira, slack"],
        ),
        (
            "x: {call: github.broken}",
            ["error <broken> tool `broken` of server `github` cannot be used: its input schema is no schema"],
        ),
        (
            "x: {call: github.search, with: {q: 1}}",
            ["error <1> argument `q` of `github.search`: expected string, got int 1"],
        ),
        (
            "x: {call: github.search, with: {q: a, pages: 1}}",
            ["error <pages> `github.search` has no argument `pages` | did you mean `per_page`?"],
        ),
        (
            "x: {call: deploy.rollback, with: {evn: staging}}",
            ["error <evn> `deploy.rollback` has no argument `evn` | did you mean `env`?"],
        ),
        (
            "x: {call: github.search, with: {q: a, per_page: 500}}",
            ["error <500> argument `per_page` of `github.search`: 500 is greater than the maximum of 100"],
        ),
        (
            "x: {call: github.get_latest_release, with: {repo: app}}",
            ['error <app> argument `repo` of `github.get_latest_release`: "app" does not match "^[^/]+/[^/]+$"'],
        ),
        (
            "x: {call: deploy.check, with: {env: stagin}}",
            [
                'error <stagin> argument `env` of `deploy.check`: expected one of "staging", "production", got string "stagin" | did you mean `staging`?'
            ],
        ),
        (
            "x: {call: github.create_issue, with: {title: a, labels: [1]}}",
            ["error <[1> argument `labels` of `github.create_issue`: at `[]`: expected string, got int 1"],
        ),
        (
            "x: {call: github.search, with: '${{ {\"q\": 1} }}'}",
            ["error <'${{ {\"q\": 1} }}'> the arguments of `github.search`: at `q`: expected string, got int 1"],
        ),
        (
            "x: {call: github.search, with: {q: '${{ release.?name }}'}}",
            [
                "error <release.?name> `github.search` needs the argument `q`, and this leaves it out when it is empty | end it with `.orValue(…)`"
            ],
        ),
        ("x: {call: slack.send_message, with: {channel: a, text: b, thread: '${{ release.?name }}'}}", []),
        (
            "x: {call: jira.get_issue, with: {key: '${{ release.score * 2 }}'}}",
            ["error <release.score * 2> argument `key` of `jira.get_issue`: expected string, got number"],
        ),
        (
            "x: {prompt: github.review, with: {tone: kind}}",
            ["error <github.review> `github.review` needs the argument `pr` (string)"],
        ),
        ("x: {prompt: github.revew}", ["error <revew> server `github` has no prompt `revew` | did you mean `review`?"]),
        (
            "x: {read: 'gihub://a/b'}",
            [
                "error <'gihub://a/b'> no server claims `gihub://a/b`; did you mean `github`? | declare one with `boundary` in the config, or name the server: SERVER=URI"
            ],
        ),
        (
            "x: {read: [github://a/b, {server: gh, uri: 'github://x'}]}",
            ["error <'g> there is no server `gh` | servers: deploy, github, jira, slack"],
        ),
    ],
)
def test_servers_tools_and_arguments(text: str, expected: list[str]) -> None:
    assert sorted(steps(text)) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${{ release.author.manager.login }}", ['warning <manager> `manager` may be missing | write `release.author.?manager.orValue(…)`, or test `has(release.author.manager)` first']),
        ("${{ has(release.author.manager) ? release.author.manager.login : 'nobody' }}", []),
        ("${{ release.author.?manager.login.orValue('nobody') }}", []),
        ("${{ release.author.?manger.login.orValue('nobody') }}", ['error <manger> `release.author` has no field `manger` | did you mean `manager`?']),
        ("${{ release.assets.name }}", ['error <name> list of object {name, size} has no field `name` | a list has items: `release.assets[0].name`, or `release.assets.map(x, x.name)`']),
        ("${{ release.assets.length }}", ['error <length> list of object {name, size} has no field `length` | write `size(release.assets)`']),
        ("${{ release.assets.map(a, a.nme) }}", ['error <nme> `a` has no field `nme` | did you mean `name`?']),
        ("${{ release.assets.filter(a, a.size > '5') }}", ['error <>> `>` cannot take int and string "5" | write `int(…)` around the text']),
        ("${{ release.id + '!' }}", ['error <+> `+` cannot take int and string "!" | write `string(release.id)`']),
        ("${{ release.tag_name.matches(1) }}", ['error <1> `.matches()`: expected string, got int 1']),
        ("${{ release.id.trim() }}", ['error <trim> `.trim()` is for string, not int | write `string(release.id).trim(…)`']),
        ("${{ release.assets.contains('a') }}", ['error <contains> `.contains()` is for string, not list of object {name, size} | write `"a" in release.assets`']),
        ("${{ 'a' in release.tag_name }}", ['error <in> `in` looks in a list or a map, not in string | write `release.tag_name.contains("a")`']),
        ("${{ release.id == '7' }}", ['error <==> `==` compares int with string "7", which are never equal | write `string(…)` around the number']),
        ("${{ release.?name }}", []),
        ("${{ release.?name + 'x' }}", ['error <name> an optional value is used as a plain one | end it with `.orValue(…)`']),
        ("v ${{ release.assets }}", ['error <release.assets> list of object {name, size} inside text | choose a field, or put items together with `.join(…)`']),
        ("v ${{ release.?body }}", ['error <release.?body> an optional value inside text | end it with `.orValue(…)`']),
        ("v ${{ has(release.body) ? release.body : '' }}", ["warning <has(release.body) ? release.body : ''> this may be null, which is an error inside text"]),
        ("v ${{ has(release.body) && release.body != null ? release.body : '' }}", []),
        ("v ${{ release.?name.orValue('') }}", ["warning <release.?name.orValue('')> this may be null, which is an error inside text"]),
        ("${{ inputs.rep }}", ['error <rep> there is no input `rep` | did you mean `repo`?']),
        ("${{ inputs.n + 1 }}", ['warning <n> `inputs.n` may be null | test `inputs.n != null` first']),
        ("${{ steps.relase.ok }}", ['error <relase> there is no step `relase` | did you mean `release`?']),
        ("${{ release.ok }}", ["error <ok> `release` has no field `ok` | the step's record has it: `steps.release.ok`"]),
        ("${{ steps.release.statuss }}", ['error <statuss> `steps.release` has no field `statuss` | did you mean `status`?']),
        ("${{ steps.release.status == 'success' }}", None),
        ("${{ None }}", ['error <None> unknown name `None` | CEL writes `null`']),
        ("${{ True }}", ['error <True> unknown name `True` | CEL writes `true`']),
        ("${{ open-pr }}", ['error <-> `open-pr` reads as a subtraction | names have no `-`: write `open_pr`']),
        ("${{ release.tag_name || 'none' }}", ['error <tag_name> `||` takes conditions (bool), not string | for a default write `x.?field.orValue(default)`']),
        ("${{ release.draft && 'yes' }}", ['error <\'yes\'> `&&` takes conditions (bool), not string "yes" | to choose a value write `condition ? value : other`']),
        ("${{ release.assets ? 1 : 2 }}", ['error <assets> expected a condition (bool), got list of object {name, size} | write `size(release.assets) > 0`']),
        ("${{ release.labels.x + 1 }}", ['warning <labels> `labels` may be missing | write `release.?labels.orValue(…)`, or test `has(release.labels)` first']),
        ("${{ run.id + run.workflow }}", []),
        ("${{ steps.map(s, s) }}", ["error <'${{ steps.map(s, s) }}'> `steps` as a whole would wait for every step | name one: `steps.NAME`"]),
        ("${{ cel.bind(x, release.id, x.y) }}", ['error <y> int has no field `y`']),
        ("${{ [1, 'a'][0] + 1 }}", []),
        ("${{ type(release.id) == string }}", []),
    ],
)  # fmt: skip
def test_expressions_are_typed_by_the_schemas(text: str, expected: list[str] | None) -> None:
    quote = "'" if "'" not in text else '"'
    found = steps(f"x: {{set: {quote}{text}{quote}}}")
    if expected is None:
        assert len(found) == 1
        assert "which are never equal" in found[0]
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: {set: 1, if: release.tag_name}", ['error <release.tag_name> `if` is a condition (bool), and this is string | write `release.tag_name != ""`']),
        ("x: {set: 1, if: 'false'}", ["warning <'false'> step `x` never runs: its `if` is always false"]),
        ("x: {set: 1, if: false}\ny: {set: '${{ x }}'}", ['warning <false> step `x` never runs: its `if` is always false', 'warning <x> step `y` never runs: `x` never has data']),
        ("x: {set: 1, needs: [relase]}", ['error <relase> `needs`: there is no step `relase` | did you mean `release`?']),
        ("x: {set: '${{ x }}'}", ['error <x> step `x` waits for itself | `x` waits for `x` here']),
        ("x: {set: 1, needs: y}\ny: {set: 1, needs: z}\nz: {set: 1, needs: x}", ['error <y> steps wait for each other: x -> y -> z -> x | `x` waits for `y` here']),
        ("x: {call: jira.get_issue, foreach: inputs.items, with: {key: '${{ item }}'}}\ny: {set: '${{ x[0].key + x[0].status }}'}", []),
        ("x: {call: jira.get_issue, foreach: inputs.items, on_error: continue, with: {key: '${{ item }}'}}\ny: {set: '${{ x[0].key }}'}", ['warning <key> `x[0]` may be null | test `x[0] != null` first']),
        ("x: {set: 1, foreach: release.tag_name}", ['error <release.tag_name> `foreach` goes through a list, and this is string']),
        ("x: {set: 1, foreach: release}", ['error <release> `foreach` goes through a list, and this is object {tag_name, name, body, draft, …} | for the keys of a map write `m.map(key, key)`']),
        ("x: {set: 1, foreach: release.assets, as: release}", ['error <release.assets> `as: release` hides the step of that name']),
        ("x: {approval: Go?, on_error: {value: 1}}", ['error <Go?> an approval cannot be replaced by a value or a call: a refusal is an answer | `on_error` of an approval is fail or continue']),
        ("x: {approval: Go?}\ny: {set: '${{ x.by }} ${{ x.approved }}', if: x.note != null}", ['warning <x.by> this may be null, which is an error inside text | choose what to write then: `x.by != null ? … : …`']),
        ("x: {wait: '${{ release.assets }}'}", ["error <'${{ release.assets }}'> `wait` takes a time, and this is list of object {name, size}"]),
        ("x: {wait: {until: tomorrow}}", ['error <tomorrow> `until` takes an instant with its offset from UTC | such as 2026-11-22T10:00:00Z']),
        ("x: {call: deploy.find, undo: {call: deploy.rollback, with: {env: prod}}}", ['error <prod> argument `env` of `deploy.rollback`: expected one of "staging", "production", got string "prod"']),
        ("x: {call: deploy.deploy, with: {version: a, env: staging}, undo: {call: deploy.rollback, when: maybe, with: {env: staging, to: '${{ x.previous }}'}}}", ["warning <{env: staging, to: '${{ x.previous }}'> `when: maybe` is for an unknown outcome, and then there is no data of `x` | use only inputs and other steps here"]),
        ("x:\n  call: deploy.deploy\n  with: {version: a, env: staging}\n  reconcile: {call: deploy.find, with: {version: a}, happened: x.total > 0 && result.total > 0, data: '${{ result.found[0].idd }}'}", ['error <idd> `result.found[0]` has no field `idd` | did you mean `id`?']),
        ("x:\n  call: deploy.deploy\n  with: {version: a, env: staging}\n  reconcile: {call: deploy.find, happened: result.total}", ['error <result.total> `happened` is a condition (bool), and this is int | write `result.total != 0`']),
        ("x: {call: jira.search, with: {jql: a}}\ny: {set: '${{ x[0].key }}', if: size(x) > 0}", []),
        ("x: {call: jira.get_issue, with: {key: a}, on_error: {value: {key: none}}}\ny: {set: '${{ x.key }}'}", []),
        ("x: {read: {a: 'github://a', b: 'jira://b'}}\ny: {set: '${{ x.a }}'}", ['warning <a> `a` may be missing | write `x.?a.orValue(…)`, or test `has(x.a)` first']),
        ("x: {call: github.search, with: {q: a}}\ny: {set: ['${{ x.total }}', '${{ x.items }}']}", ['warning <x.total> `github.search` declares no output schema: 2 references to its data are not checked']),
    ],
)  # fmt: skip
def test_steps_and_their_modifiers(text: str, expected: list[str]) -> None:
    assert steps(text) == expected


def test_waits_longer_than_the_workflow_are_refused() -> None:
    found = checked("""\
        motet: 1
        timeout: 1h
        steps:
          a: {approval: {message: Go?, timeout: 1d}}
          w: {wait: 2h}
          c: {call: jira.get_issue, with: {key: X}, on_unavailable: {defer: 3h}}
          fine: {wait: 30m}
        """)
    assert told(found) == [
        "error 4:17 the approval may last 86400 s, longer than the whole workflow (3600 s) | raise `timeout` of the workflow",
        "error 5:13 the wait may last 7200 s, longer than the whole workflow (3600 s) | raise `timeout` of the workflow",
        "error 6:3 the deferral may last 10800 s, longer than the whole workflow (3600 s) | raise `timeout` of the workflow",
    ]


# -- what nobody could settle ----------------------------------------------------------------------------------------

WRITE = "motet: 1\nsteps:\n  x: {call: deploy.deploy, with: {version: a, env: staging}%s}\n"
UNSAFE = "`deploy.deploy` writes: when its answer is lost, nobody can say whether it acted"


@pytest.mark.parametrize(
    ("more", "messages"),
    [
        ("", [UNSAFE]),
        (", undo: {call: deploy.rollback, with: {env: staging}}", []),
        (", reconcile: {call: deploy.find, happened: result.total > 0}", []),
        (", idempotency_key: k", []),
        (
            ", on_error: {call: deploy.rollback, with: {env: staging}}",
            [UNSAFE, "when the outcome is unknown, this fallback is not tried"],
        ),
    ],
)
def test_a_write_that_nobody_could_settle_is_a_warning(more: str, messages: list[str]) -> None:
    found = checked(WRITE % more)
    assert [one.message for one in found.problems] == messages
    assert not found.errors


def test_our_own_configuration_says_what_a_tool_does_and_hints_are_not_believed() -> None:
    told_by_us = {"deploy.deploy": Effect("repeatable"), "jira.get_issue": Effect("writes")}

    def by_us(server: str, tool: str) -> Effect:
        return told_by_us[f"{server}.{tool}"]

    text = WRITE % "" + "  y: {call: jira.get_issue, with: {key: a}}\n  z: {call: jira.get_issue, with: {key: b}}\n"
    found = checked(text, effect=by_us)
    assert told(found) == [
        (
            "warning 4:13 `jira.get_issue` says that it only reads, and is not believed"
            " | if that is so, say it in the configuration: `retry.read_only` of `jira`, or `trusted`"
        )
    ]
    assert [name for name, one in found.plan.steps.items() if one.unsafe] == ["y", "z"]


def test_an_argument_that_carries_the_idempotency_key_need_not_be_written() -> None:
    text = "motet: 1\nsteps:\n  x: {call: github.create_issue}\n"

    def keyed(_server: str, _tool: str) -> Effect:
        return Effect("keyed", "title")

    assert checked(text).errors
    assert not checked(text, effect=keyed).problems


# -- servers that are not there --------------------------------------------------------------------------------------


def test_a_server_that_was_never_listed_goes_unchecked_once() -> None:
    down = catalog(jira=ServerCatalog("jira", stale="connection refused"))
    found = checked(
        "motet: 1\nsteps:\n  a: {call: jira.whatever, with: {x: 1}}\n  b: {call: jira.other}\n  c: {set: '${{ a.any.thing }}'}\n",
        using=down,
    )
    assert told(found) == [
        "warning 3:13 server `jira` is not checked: connection refused | what it offers has never been listed"
    ]


def test_a_stale_catalog_serves_and_says_so() -> None:
    part = catalog().servers["jira"]
    stale = catalog(jira=ServerCatalog("jira", tools=part.tools, known=True, stale="it exited", as_of=1_700_000_000.0))
    found = checked("motet: 1\nsteps:\n  a: {call: jira.get_issue, with: {kee: 1}}\n", using=stale)
    assert told(found) == [
        "warning 3:13 server `jira` is checked against its last list of 2023-11-14T22:13:20Z: it exited",
        "error 3:36 `jira.get_issue` has no argument `kee` | did you mean `key`?",
    ]


# -- nested workflows, finally, output -------------------------------------------------------------------------------

INNER = """\
motet: 1
inputs: {repo: string, depth: {type: integer, default: 1}}
steps:
  release: {call: github.get_latest_release, with: {repo: "${{ inputs.repo }}"}}
output: {version: "${{ release.tag_name }}"%s}
"""


@pytest.mark.parametrize(
    ("given", "output", "expected"),
    [
        ("with: {repo: a/b}", "", []),
        ("with: {repo: a/b, dept: 2}", "", [("flow.yaml", "`inner` has no argument `dept`", "did you mean `depth`?")]),
        ("with: {repo: 1}", "", [("flow.yaml", "argument `repo` of `inner`: expected string, got int 1", "")]),
        ("needs: []", "", [("flow.yaml", "`inner` needs the argument `repo` (string)", "")]),
        (
            "with: {repo: a/b}",
            ", x: '${{ release.nme }}'",
            [("inner.yaml", "`release` has no field `nme`", "did you mean `name`?")],
        ),
    ],
)
def test_a_nested_workflow_is_checked_with_its_inputs_and_its_output(
    given: str, output: str, expected: list[tuple[str, str, str]]
) -> None:
    text = f"motet: 1\nsteps:\n  one: {{run: inner.yaml, {given}}}\n  two: {{set: '${{{{ one.version + 1 }}}}'}}\n"
    found = checked(text, read={"inner.yaml": INNER % output}.__getitem__)
    assert [(one.file, one.message, one.hint) for one in found.problems] == [
        *[one for one in expected if one[0] == "flow.yaml"],
        ("flow.yaml", "`+` cannot take string and int 1", "write `string(1)`"),
        *[one for one in expected if one[0] != "flow.yaml"],
    ]
    assert found.plan.steps["one"].servers == ("github",)


def test_finally_reads_the_steps_and_the_steps_do_not_read_finally() -> None:
    found = checked("""\
        motet: 1
        steps:
          release: {call: github.get_latest_release, with: {repo: a/b}}
          early: {set: "${{ clean }}"}
        finally:
          clean: {call: deploy.rollback, with: {env: staging, to: "${{ release.tag_name }}"}}
          after: {set: "${{ clean.idd }} ${{ steps.early.ok }} ${{ run.status }}"}
        output: "${{ clean.id + release.nope }}"
        """)
    assert told(found) == [
        "error 4:21 unknown name `clean`",
        "error 7:27 `clean` has no field `idd` | did you mean `id`?",
        "error 8:33 `release` has no field `nope` | it has tag_name, name, body, draft, id, score, author, assets",
    ]
    assert found.plan.final == ("clean", "after")


def test_a_loaded_workflow_is_checked_like_its_text() -> None:
    workflow = load_text(DEPLOY, path="flow.yaml")
    assert check(workflow, catalog()).problems == checked(DEPLOY).problems


# -- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.proves("FR-ORCH-003")
def test_the_plan_says_what_runs_in_parallel_and_what_goes_where() -> None:
    found = checked("""\
        motet: 1
        name: plan
        steps:
          release: {call: github.get_latest_release, with: {repo: a/b}}
          issues: {call: jira.search, with: {jql: "${{ release.tag_name }}"}}
          status: {read: [github://a, "jira://${{ release.tag_name }}"]}
          each: {call: jira.transition_issue, foreach: issues, with: {key: "${{ item.key }}", status: closed}}
          gate: {approval: "Tell?", if: size(issues) > 0}
          tell: {call: slack.send_message, needs: gate, with: {channel: c, text: "${{ steps.each.ok ? 'all' : 'some' }}"}}
        """)
    assert found.plan.render() == textwrap.dedent("""\
        plan: 6 steps, 3 servers (github, jira, slack)
            1  release  call github.get_latest_release
            2  issues   call jira.search
               status   read github://a, jira://…
            3  each     call jira.transition_issue; for each item
               gate     approval
            4  tell     call slack.send_message; unsafe to repeat

        Data from server to server:
          github.release.tag_name -> jira.issues.jql

        Not to be repeated: tell""")
    assert found.plan.mermaid() == textwrap.dedent("""\
        flowchart LR
          subgraph g0["github"]
            s0["release: github.get_latest_release"]
            s2["status: github://a, jira://…"]
          end
          subgraph g1["jira"]
            s1["issues: jira.search"]
            s3["each: jira.transition_issue"]
          end
          s4{{"gate?"}}
          subgraph g3["slack"]
            s5["tell: slack.send_message"]
          end
          s0 -->|"tag_name"| s1
          s0 -->|"tag_name"| s2
          s1 -->|"issues"| s3
          s1 -.->|"issues"| s4
          s3 -.->|"ok"| s5
          s4 -.-> s5""")
    assert found.plan.to_json()["flows"][-1] == {
        "from": "each",
        "field": "ok",
        "to": "tell",
        "argument": "text",
        "kind": "decision",
    }


def test_nothing_in_a_file_breaks_out_of_the_graph() -> None:
    found = checked('motet: 1\nsteps:\n  a: {read: [\'github://a"]; click s0 "javascript:x" %%\']}\n')
    line = next(line for line in found.plan.mermaid().split("\n") if "s0[" in line)
    assert line.count('"') == 2
    assert "]; click" not in line.replace("#93;", "")


# -- bounds ----------------------------------------------------------------------------------------------------------


def test_ten_thousand_steps_in_one_long_chain_are_checked() -> None:
    lines = [
        "motet: 1",
        "steps:",
        "  s0: {set: 1}",
        *(f"  s{i}: {{set: '${{{{ s{i - 1} + 1 }}}}'}}" for i in range(1, 10_000)),
    ]
    found = checked("\n".join(lines))
    assert found.problems == ()
    assert len(found.plan.waves) == 10_000


def test_a_ring_of_ten_thousand_steps_is_told_once() -> None:
    lines = ["motet: 1", "steps:", *(f"  s{i}: {{set: '${{{{ s{(i + 1) % 10_000} }}}}'}}" for i in range(10_000))]
    found = checked("\n".join(lines))
    assert [one.message for one in found.problems] == [
        "steps wait for each other: s0 -> s1 -> s2 -> s3 -> s4 -> s5 -> s6 -> s7 -> … -> s0"
    ]


def test_ten_thousand_mistakes_are_told_in_bounded_time() -> None:
    lines = ["motet: 1", "steps:", *(f"  s{i}: {{set: '${{{{ t{i} }}}}', needs: [u{i}]}}" for i in range(5_000))]
    assert len(checked("\n".join(lines)).problems) == 10_000
