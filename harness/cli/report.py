# SPDX-License-Identifier: GPL-2.0-only
"""``harness report``: a stored run in a format that readers and CI systems know."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.console import print_lines
from harness.cli.stored import run_report, write_report
from harness.report.formats import FORMATS
from harness.report.terminal import terminal_lines
from harness.store import Store, default_root
from harness.vocabulary import UsageError


@click.command("report")
@click.argument("run", required=False, metavar="[RUN]")
@click.option(
    "--format", "name", type=click.Choice(list(FORMATS)), default="terminal", show_default=True
)
@click.option("-o", "--output", metavar="FILE", help="Write there; default: standard output.")
def command(run: str | None, name: str, output: str | None) -> None:
    """Report a stored RUN (default: the last). Every format says what was not compared.

    Ends with 0 once the report is written, whatever the verdicts.

    \b
    Examples:
      harness report
      harness report 2026-11-22-3 --format junit -o results.xml
      harness report --format html -o report.html
    """
    with Store(default_root()) as store:
        report = run_report(store, store.run_named(run))
        if output is not None:
            try:
                write_report(report, name, Path(output))
            except OSError as error:
                raise UsageError(f"-o {output}: {error.strerror}; check the path") from None
        elif name == "terminal":
            print_lines(terminal_lines(report))
        else:
            click.echo(FORMATS[name](report), nl=False)
