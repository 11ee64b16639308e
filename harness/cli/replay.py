# SPDX-License-Identifier: GPL-2.0-only
"""``harness replay``: one stored finding again, on the kernel it was found on."""

from __future__ import annotations

import sys

import click

from harness.campaign import Workload
from harness.cli.execution import Request, execute
from harness.cli.options import command_line, json_option
from harness.cli.plans import machine_options, plans_again, plans_from
from harness.store import Store, default_root
from harness.vocabulary import UsageError


@click.command("replay")
@click.argument("ident", metavar="ID")
@machine_options
@json_option
def command(
    ident: str,
    kernels: tuple[str, ...],
    targets: tuple[str, ...],
    machine: dict[str, object],
    as_json: bool,
) -> None:
    """Run the scenario of a stored result again, by default on the kernel it was found on.

    ID is the short id that reports and diffs show, its beginning, or RUN/SCENARIO.

    \b
    Examples:
      harness replay 5f3a12
      harness replay 2026-11-22-3/range-over-existing --kernel debian:sid
    """
    with Store(default_root()) as store:
        found = store.locate(ident)
    if found is None:
        raise UsageError(f"no finding '{ident}' is stored here; 'harness diff' lists them")
    finding = found.finding
    if kernels or targets:
        plans = plans_from(kernels, targets, machine)
    else:
        plans = plans_again(finding.target.opened_with)
    request = Request(
        workload=Workload([finding.scenario]),
        suites=(finding.scenario.suite,),
        plans=tuple(plans),
        profile_name=finding.profile or None,
        env_items=tuple(f"{key}={value}" for key, value in finding.env.items()),
        timeout=max(found.run.timeout, 30.0),
        jobs=1,
        seed=None,
        command=command_line(),
    )
    sys.exit(
        execute(request, quiet=False, verbose=1, as_json=as_json, diff_only=True, matches=True)
    )
