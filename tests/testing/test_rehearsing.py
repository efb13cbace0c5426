import sys
from pathlib import Path

import pytest

from motet import Orchestrator
from motet.errors import WorkflowError
from motet.testing.rehearsal import rehearse

CHOIR = Path(__file__).parents[1] / "cli" / "choir.py"
FLOW = """\
motet: 1
name: relay
inputs:
  text: {type: string}
steps:
  said: {call: alto.say, with: {text: "${{ inputs.text }}"}}
  kept:
    call: tenor.keep
    with: {text: "${{ said.said }}"}
    undo: {call: tenor.forget, with: {text: "${{ kept.kept }}"}}
  part: {read: "basso://part", needs: [kept]}
  last: {call: alto.say, with: {text: end}, needs: [kept]}
"""


def config() -> dict[str, object]:
    return {
        "servers": {
            name: {"command": sys.executable, "args": [str(CHOIR), name], "reap": "group"}
            for name in ("alto", "tenor", "basso")
        }
    }


async def test_every_server_of_the_workflow_fails_in_every_way_and_nothing_is_sent(tmp_path: Path):
    (tmp_path / "relay.yaml").write_text(FLOW)
    async with Orchestrator.from_config(config()) as motet:
        await motet.host.settled()
        table = await rehearse(motet, tmp_path / "relay.yaml")
    rows = {(row.server, row.fault): (row.status, row.done, row.undone, row.unknown) for row in table.rows}
    assert {server for server, _ in rows} == {"", "alto", "tenor", "basso"}
    assert rows["", ""] == ("complete", ("said", "kept", "part", "last"), (), ())
    assert rows["tenor", "down"] == ("failed", ("said",), (), ())
    assert rows["tenor", "lost answer"] == ("failed", ("said",), (), ("kept",))
    assert rows["basso", "hang"] == ("partial", ("said", "kept", "last"), (), ())


async def test_a_workflow_with_mistakes_is_not_rehearsed(tmp_path: Path):
    (tmp_path / "relay.yaml").write_text(FLOW.replace("alto.say, with: {text: end}", "alto.sya"))
    async with Orchestrator.from_config(config()) as motet:
        await motet.host.settled()
        with pytest.raises(WorkflowError, match="sya"):
            await rehearse(motet, tmp_path / "relay.yaml")
