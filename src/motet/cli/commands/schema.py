"""`motet schema`."""

from __future__ import annotations

import click

from motet.cli import options, output


@click.command(short_help="The JSON Schema of workflow files, for editors.")
@click.option("--report", is_flag=True, help="The schema of the reports that `motet run --json` prints.")
@options.json
def command(*, report: bool, as_json: bool) -> None:
    """Print the JSON Schema of workflow files, so that an editor completes and checks them (it is JSON either way).

    \b
    motet schema > workflow.schema.json
    # yaml-language-server: $schema=workflow.schema.json      (first line of a workflow)
    """
    del as_json
    if report:
        from motet.engine.report import REPORT_SCHEMA

        output.emit_json(REPORT_SCHEMA)
        return
    from motet.workflow.schema import workflow_schema

    output.emit_json(workflow_schema())
