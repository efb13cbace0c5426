"""Loading and checking workflow files, and evaluating expressions.

CPU time of this process, so that a busy machine tells little: from the file's text to all problems and the plan, for
steps that call tools with schemas, read data across servers, have a condition, a foreach or an undo.
"""

from __future__ import annotations

import gc
import statistics
import time

from bench.rows import Row, show
from motet.catalog.catalog import Catalog, ServerCatalog
from motet.catalog.tool import Tool
from motet.workflow.check import check_text
from motet.workflow.expressions.expression import Expression

TEXT = {"type": "string"}
TAKES = {
    "type": "object",
    "properties": {"version": TEXT, "env": {"type": "string", "enum": ["staging", "production"]}, "note": TEXT},
    "required": ["version", "env"],
    "additionalProperties": False,
}
GIVES = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "tag": TEXT,
        "assets": {"type": "array", "items": {"type": "object", "properties": {"name": TEXT}, "required": ["name"]}},
        "draft": {"type": "boolean"},
    },
    "required": ["id", "tag", "assets", "draft"],
}
DATA = {
    "release": {"tag": "v1", "draft": False, "id": 7, "assets": [{"name": "a", "size": 5}, {"name": "b", "size": 9}]},
    "steps": {"ticket": {"ok": False}},
    "many": list(range(8000)),
}
EXPRESSIONS = (
    "release.tag",
    'release.tag + " deployed"',
    "steps.ticket.ok ? '' : '; ticket update pending'",
    'release.assets.map(a, a.name).join(", ")',
    "release.?author.?login.orValue('nobody')",
    "has(release.body) && release.body != null ? release.body : 'no notes'",
    "release.assets.exists(a, a.size > 8) && release.tag.startsWith('v')",
    "'%s: %d'.format([release.tag, release.id])",
    "release.tag.matches('^v[0-9]+$')",
)


def catalog() -> Catalog:
    """Four servers with one tool each."""
    return Catalog(
        {
            name: ServerCatalog(name, tools={"x": Tool(name, "x", input_schema=TAKES, output_schema=GIVES)}, known=True)
            for name in ("a", "b", "c", "d")
        }
    )


def flow(count: int) -> str:
    """A file of so many steps in chains of ten."""
    lines = ["motet: 1", "inputs: {env: {type: string, enum: [staging, production]}}", "steps:"]
    for at in range(count):
        tag = f"${{{{ s{at - 1}.tag }}}}" if at % 10 else "v1"
        lines += [f"  s{at}:", f"    call: {'abcd'[at % 4]}.x"]
        lines.append(f'    with: {{version: "{tag}", env: "${{{{ inputs.env }}}}", note: "after {tag}"}}')
        if at % 10:
            lines.append(f"    if: ${{{{ steps.s{at - 1}.ok && !s{at - 1}.draft }}}}")
        lines.append('    undo: {call: a.x, with: {version: v0, env: "${{ inputs.env }}"}}')
    return "\n".join(lines) + "\n"


def checked(text: str, servers: Catalog) -> float:
    """Seconds of CPU for one file, which has to be a good one."""
    gc.collect()
    begin = time.process_time()
    found = check_text(text, servers, path="flow.yaml")
    took = time.process_time() - begin
    if found.errors:
        raise RuntimeError("the file of the bench does not check")
    return took


def evaluated(text: str) -> float:
    """Microseconds of CPU for one evaluation: the median of nine rounds."""
    expression = Expression.parse(text)
    count = 2000
    rounds: list[float] = []
    for _ in range(9):
        begin = time.process_time()
        for _ in range(count):
            expression.evaluate(DATA)
        rounds.append((time.process_time() - begin) / count * 1e6)
    return statistics.median(rounds)


def rows() -> list[Row]:
    """Measure."""
    made: list[Row] = []
    servers = catalog()
    for count, budget, times in ((200, 0.150, 7), (10_000, 5.0, 3)):
        text = flow(count)
        seconds = statistics.median(checked(text, servers) for _ in range(times))
        about = f"load and check {count:,} steps ({len(text) / 1000:.0f} kB)"
        made.append(Row(about, f"{seconds * 1000:,.0f} ms", f"{budget * 1000:,.0f} ms", seconds <= budget))
    costs = {text: evaluated(text) for text in EXPRESSIONS}
    made += [
        Row(f"`{text.replace('|', chr(92) + '|')}`", f"{cost:.1f} µs", "15 µs", cost <= 15)
        for text, cost in costs.items()
    ]
    loop = evaluated("many.map(x, x + 1).size()")
    made.append(Row("`map` over 8,000 items", f"{loop / 1000:.1f} ms"))
    return made


if __name__ == "__main__":
    show("Checking workflows", rows())
