# SPDX-License-Identifier: GPL-2.0-only
"""``harness diff``: model against kernel, step by step."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.campaign import Workload
from harness.cli.console import print_lines
from harness.cli.execution import Request, execute
from harness.cli.options import (
    check_predictable,
    env_option,
    json_option,
    load_files,
    print_json,
    profile_option,
)
from harness.cli.plans import machine_options, plans_from
from harness.report import diff_lines, finding_json
from harness.store import Store, default_root
from harness.vocabulary import Finding, UsageError, Verdict


@click.command("diff")
@click.argument("what", nargs=-1, metavar="[RUN | ID | FILE…]")
@machine_options
@profile_option
@env_option
@click.option("--timeout", type=click.FloatRange(0.1), default=10.0, show_default=True)
@click.option("--all", "every", is_flag=True, help="Matches too, and every step.")
@json_option
def command(
    what: tuple[str, ...],
    kernels: tuple[str, ...],
    targets: tuple[str, ...],
    machine: dict[str, object],
    profile_name: str | None,
    env_items: tuple[str, ...],
    timeout: float,
    every: bool,
    as_json: bool,
) -> None:
    """Show how kernel and model differ: in the last run, a RUN, one ID, or scenario FILEs run now.

    \b
    Examples:
      harness diff
      harness diff 2026-11-22-3
      harness diff scenarios/guest/dirty-log.yaml --kernel debian:sid --profile v6.12
    """
    if what and all(Path(name).exists() or name == "-" for name in what):
        scenarios = load_files(what)
        check_predictable(scenarios)
        request = Request(
            workload=Workload(scenarios),
            suites=tuple(scenario.suite for scenario in scenarios),
            plans=tuple(plans_from(kernels, targets, machine)),
            profile_name=profile_name,
            env_items=env_items,
            timeout=timeout,
            jobs=1,
            seed=None,
            command=("harness", *sys.argv[1:]),
        )
        status = execute(
            request, quiet=False, verbose=1, as_json=as_json, diff_only=True, matches=every
        )
        sys.exit(status)
    if len(what) > 1:
        raise UsageError(f"'{' '.join(what)}': give one RUN, one ID, or files that exist")
    findings = stored(what[0] if what else None, every=every)
    if as_json:
        print_json([finding_json(finding) for finding in findings])
    for finding in [] if as_json else findings:
        print_lines([*diff_lines(finding, every_step=every), ("", "")])
    if not findings:
        click.echo("no differences", err=True)
    sys.exit(1 if any(finding.verdict.is_finding for finding in findings) else 0)


def stored(name: str | None, *, every: bool) -> list[Finding]:
    """Findings of a stored run (None: the last) or the one with that id."""
    with Store(default_root()) as store:
        runs = [run.id for run in store.runs()]
        if name is None:
            if not runs:
                raise UsageError("no run is stored here; 'harness run' makes one")
            name = runs[-1]
        if name in runs:
            found = store.findings(name, only_findings=False)
            quiet = (Verdict.MATCH, Verdict.SKIP)
            return [finding for finding in found if every or finding.verdict not in quiet]
        one = store.find(name)
        if one is None:
            raise UsageError(
                f"'{name}' is no file, stored run or finding id here; see 'harness diff'"
            )
        return [one]
