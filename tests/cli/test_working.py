"""The commands at work, on small servers that are processes of their own."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
FLOW = """\
motet: 1
name: relay
inputs:
  text: {type: string}
  times: {type: integer, default: 1}
steps:
  said:
    call: alto.say
    with: {text: "${{ inputs.text }}", times: "${{ inputs.times }}"}
  kept:
    call: tenor.keep
    with: {text: "${{ said.said }}"}
    undo: {call: tenor.forget, with: {text: "${{ kept.kept }}"}}
    MORE
output: "${{ kept.kept }}"
"""
TRUSTED = "trusted = true"


@pytest.fixture
def flow(folder: Path) -> Callable[..., str]:
    def write(more: str = "") -> str:
        (folder / "relay.yaml").write_text(FLOW.replace("    MORE\n", more))
        return "relay.yaml"

    return write


@pytest.mark.proves("FR-ORCH-001")
def test_servers_shows_state_domain_and_protocol_of_each(motet: Run, choir: Run):
    choir("alto", "tenor")
    said = motet("servers", "--json")
    shown = {one["name"]: (one["state"], one["domain"], one["tools"], one["protocol"]) for one in said.json["servers"]}
    assert (said.code, said.json["findings"]) == (0, [])
    assert shown == {"alto": ("ready", "alto", 6, "2025-11-25"), "tenor": ("ready", "tenor", 6, "2025-11-25")}


def test_servers_in_a_pipe_are_plain_columns(motet: Run, choir: Run):
    choir("alto")
    head, row = motet("servers").out.splitlines()
    assert head.split() == ["SERVER", "STATE", "DOMAIN", "TOOLS", "PROTOCOL", "REAP", "NOTE"]
    assert row.split()[:5] == ["alto", "ready", "alto", "6", "2025-11-25"]


@pytest.mark.proves("FR-ORCH-004")
def test_a_server_that_cannot_start_leaves_the_list_partial(motet: Run, choir: Run, folder: Path):
    path = choir("alto")
    path.write_text(path.read_text() + '[servers.gone]\ncommand = "no-such-program"\n')
    said = motet("servers", "--json")
    states = {one["name"]: one["state"] == "ready" for one in said.json["servers"]}
    assert (said.code, states) == (3, {"alto": True, "gone": False})


def test_a_boundary_over_two_domains_is_pointed_out(motet: Run, choir: Run):
    choir("alto", more={"alto": 'boundary = {schemes = ["alto", "basso"]}'})
    said = motet("servers")
    assert (said.code, said.err) == (0, "boundary: alto: claims 2 domains: alto, basso; one each\n")


def test_tools_lists_arguments_and_the_ones_that_are_needed(motet: Run, choir: Run):
    choir("alto", "tenor")
    said = motet("tools", "alto")
    assert said.code == 0
    assert said.out.splitlines()[1].split() == ["alto.say", "text*,", "times", "say", "of", "alto."]
    assert "tenor" not in said.out


def test_one_tool_is_shown_with_its_arguments(motet: Run, choir: Run):
    choir("alto")
    assert motet("tools", "alto.say").out.splitlines() == [
        "alto.say",
        "say of alto.",
        "ARGUMENT  TYPE     NEEDED  WHAT IT IS",
        "text      string   yes",
        "times     integer",
    ]


def test_call_prints_the_data(motet: Run, choir: Run):
    choir("alto")
    said = motet("call", "alto.say", "text=la", "times:=2")
    assert (said.code, json.loads(said.out), said.err) == (0, {"said": "la la"}, "")


def test_call_as_json_says_how_it_went(motet: Run, choir: Run):
    choir("alto")
    told = motet("call", "alto.say", "text=la", "--json").json
    assert (told["ok"], told["server"], told["tool"], told["data"], told["attempts"]) == (
        True, "alto", "say", {"said": "la"}, 1,
    )  # fmt: skip


def test_a_tool_that_fails_is_its_own_failure(motet: Run, choir: Run):
    choir("alto")
    said = motet("call", "alto.fail", "why=no voice", "--json")
    assert (said.code, said.json["error"]["kind"], said.json["error"]["sent"]) == (1, "tool_error", "yes")
    assert "no voice" in said.err


def test_a_write_that_gets_no_answer_is_an_unknown_outcome(motet: Run, choir: Run):
    choir("alto", more={"alto": 'timeout = {call = "300ms"}'})
    said = motet("call", "alto.hang", "text=x")
    assert said.code == 4
    assert "note: the request was sent and may have acted; look before you repeat it" in said.err


def test_a_read_that_gets_no_answer_is_a_timeout(motet: Run, choir: Run):
    quick = 'timeout = {call = "200ms"}\nretry = {attempts = 2, base = "1ms", cap = "1ms", read_only = ["hang"]}'
    choir("alto", more={"alto": quick})
    said = motet("call", "alto.hang", "text=x", "--json")
    assert (said.code, said.json["attempts"]) == (124, 2)


def test_what_policy_denies_is_refused(motet: Run, choir: Run):
    choir("alto", more={"alto": 'tools = {deny = ["k*"]}'})
    said = motet("call", "alto.keep", "text=x")
    assert (said.code, said.err) == (6, "error: alto: `keep` is denied by `tools.deny`\n")


def test_what_wants_approval_waits_for_a_person_or_yes(motet: Run, choir: Run):
    choir("alto", more={"alto": 'tools = {approve = ["keep"]}'})
    asked = motet("call", "alto.keep", "text=x")
    assert (asked.code, 'Call alto.keep with {"text":"x"}?' in asked.err) == (4, True)
    assert motet("call", "alto.keep", "text=x", "--yes").code == 0


def test_what_a_server_wrote_reaches_no_terminal_raw(motet: Run, choir: Run):
    choir("alto")
    plain, exact = motet("call", "alto.paint", "text=x"), motet("call", "alto.paint", "text=x", "--json")
    assert plain.out == "red txet\n"
    assert not any(mark in exact.out for mark in ("\x1b", "\x07", "\u202e"))
    assert exact.json["data"] == "\x1b[31mred\x1b]0;title\x07 \u202etxet"


@pytest.mark.proves("FR-ORCH-002")
def test_read_takes_from_every_server_at_once(motet: Run, choir: Run):
    choir("alto", "tenor")
    said = motet("read", "alto://part", "tenor://part")
    assert (said.code, said.out) == (0, "== alto://part\npart of alto\n== tenor://part\npart of tenor\n")


@pytest.mark.proves("FR-ORCH-002")
def test_read_with_something_missing_is_partial_and_names_it(motet: Run, choir: Run):
    choir("alto")
    said = motet("read", "alto://part", "alto://none", "--json")
    assert (said.code, list(said.json["found"]), list(said.json["missing"])) == (3, ["alto://part"], ["alto://none"])


def test_read_gives_one_text_for_a_language_model(motet: Run, choir: Run):
    choir("alto", "tenor")
    said = motet("read", "alto://part", "tenor://part", "--context", "1000")
    assert "Resource alto://part from server alto:" in said.out


def test_check_prints_the_plan_and_the_flow_between_servers(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor", more={"alto": TRUSTED, "tenor": TRUSTED})
    said = motet("check", flow())
    assert said.code == 0
    assert "alto.said.said -> tenor.kept.text" in said.out
    assert said.err.splitlines()[-1] == "relay.yaml: 0 errors, 0 warnings"


def test_check_draws_the_flow(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor", more={"alto": TRUSTED, "tenor": TRUSTED})
    assert motet("check", flow(), "--graph").out.startswith("flowchart LR\n")


def test_check_offline_uses_what_is_remembered(motet: Run, choir: Run, flow: Run, folder: Path):
    choir("alto", "tenor", more={"alto": TRUSTED, "tenor": TRUSTED})
    unknown = motet("check", flow(), "--offline")
    motet("servers")
    known = motet("check", flow("    wiht: {}\n"), "--offline", "--json")
    assert (unknown.code, "never listed" in unknown.err) == (0, True)
    assert (known.code, [one["code"] for one in known.json["problems"] if one["severity"] == "error"]) == (2, ["key"])


def test_run_moves_data_from_server_to_server(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor")
    said = motet("run", flow(), "-i", "text=la", "-i", "times=2", "--json")
    assert (said.code, said.json["status"], said.json["output"]) == (0, "complete", "la la")
    assert said.json["flows"] == [{"from": "alto", "to": "tenor"}]
    assert [line.split()[:2] for line in said.err.splitlines()[1:]] == [["done", "said"], ["done", "kept"]]


def test_run_starts_only_the_servers_it_needs(motet: Run, choir: Run, flow: Run):
    path = choir("alto", "tenor")
    path.write_text(path.read_text() + '[servers.gone]\ncommand = "no-such-program"\nrequired = true\n')
    assert motet("run", flow(), "-i", "text=la").code == 0


def test_run_that_fails_says_what_was_undone(motet: Run, choir: Run, flow: Run, folder: Path):
    choir("alto", "tenor")
    name = flow("  last:\n    call: alto.fail\n    with: {why: hoarse}\n    needs: [kept]\n")
    said = motet("run", name, "-i", "text=la", "--json")
    assert (said.code, said.json["status"], said.json["undone"]) == (1, "failed", ["kept"])
    assert "  done     undo kept  tenor.keep" in said.err


def test_a_dry_run_sends_nothing_and_shows_what_it_would(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor")
    said = motet("run", flow(), "-i", "text=la", "--dry-run", "--json")
    assert (said.code, said.json["dry"]) == (0, True)
    assert said.json["steps"][0]["inputs"] == {"text": "la", "times": 1}
    assert all(step["status"] == "skipped" for step in said.json["steps"])


def test_changed_definitions_are_refused_until_they_are_trusted(
    motet: Run, choir: Run, monkeypatch: pytest.MonkeyPatch
):
    choir("alto", more={"alto": 'env = {CHOIR_CHANGED = "${CHANGED:-}"}'})
    assert motet("call", "alto.say", "text=la").code == 0
    monkeypatch.setenv("CHANGED", "1")
    refused = motet("call", "alto.say", "text=la")
    assert (refused.code, "motet trust alto" in refused.err) == (6, True)
    shown = motet("trust", "alto")
    assert (shown.code, '-  "description": "say of alto."' in shown.out) == (6, True)
    assert (motet("trust", "alto", "--yes").code, motet("call", "alto.say", "text=la").code) == (0, 0)
    assert motet("trust", "alto").out == "alto: nothing has changed\n"


def test_doctor_finds_what_is_missing(motet: Run, choir: Run):
    path = choir("alto")
    path.write_text(path.read_text() + '[servers.gone]\ncommand = "no-such-program"\n')
    said = motet("doctor", "--json")
    found = {one["what"]: one["status"] for one in said.json if one["what"].startswith(("server", "state", "config"))}
    assert (said.code, found) == (
        2,
        {"configuration": "ok", "state": "ok", "server alto": "ok", "server gone": "error"},
    )


def test_doctor_without_a_configuration_says_how_to_get_one(motet: Run):
    said = motet("doctor")
    assert (said.code, "motet init" in said.out) == (2, True)


def test_rehearse_shows_what_each_fault_would_leave(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor")
    said = motet("rehearse", flow(), "--json")
    rows = {(row["server"], row["fault"]): row["status"] for row in said.json["rows"]}
    assert (said.code, rows["", ""], rows["tenor", "down"], len(rows)) == (0, "complete", "failed", 9)


def test_schema_prints_the_schema_that_editors_use(motet: Run):
    assert motet("schema").json["title"] == "motet workflow"
    assert motet("schema", "--report").json["title"] == "motet run report"


@pytest.mark.proves("FR-ORCH-004")
def test_a_silent_server_holds_nothing_up_that_does_not_need_it(motet: Run, choir: Run, flow: Run):
    """Its connect deadline is longer than this test may take."""
    path = choir("alto", "tenor")
    silent = f'[servers.basso]\ncommand = {json.dumps(sys.executable)}\nargs = ["-c", "import time; time.sleep(300)"]\n'
    path.write_text(path.read_text() + silent + 'boundary = {schemes = ["basso"]}\ntimeout = {connect = "200s"}\n')
    assert motet("read", "alto://part", "tenor://part").code == 0
    assert motet("run", flow(), "-i", "text=la").code == 0


def test_a_key_that_a_tool_cannot_take_is_refused_before_anything_is_sent(motet: Run, choir: Run):
    choir("alto", more={"alto": 'retry = {keyed = {keep = "text"}}'})
    said = motet("call", "alto.say", "text=la", "--key", "k")
    assert (said.code, said.out, said.err.splitlines()[0]) == (
        2,
        "",
        "error: alto: `say` takes no idempotency key",
    )
    assert motet("call", "alto.keep", "--key", "k", "--timeout", "5s").out == '{\n  "kept": "k"\n}\n'
