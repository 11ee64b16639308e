# SPDX-License-Identifier: GPL-2.0-only
"""``harness replay``: one stored finding again, on the kernel it was found on."""

from __future__ import annotations

import sys

import click
import msgspec

from harness.campaign import Workload
from harness.cli.execution import Request, execute
from harness.cli.options import command_line, json_option
from harness.cli.plans import machine_options, plans_again, plans_from
from harness.compare import comeback
from harness.store import Store, default_root
from harness.vocabulary import UsageError
from reference_model.scenario import Parallel, RaceScenario, Scenario


@click.command("replay")
@click.argument("ident", metavar="ID")
@click.option(
    "--repeat",
    metavar="N",
    type=click.IntRange(1, 100_000),
    default=1,
    help="Repeats of a parallel block; never fewer than at first.",
)
@machine_options
@json_option
def command(
    ident: str,
    repeat: int,
    kernels: tuple[str, ...],
    targets: tuple[str, ...],
    machine: dict[str, object],
    as_json: bool,
) -> None:
    """Run the scenario of a stored result again, by default on the kernel it was found on.

    Of a race it says how often what is not allowed came back.

    ID is the short id that reports and diffs show, its beginning, or RUN/SCENARIO.

    \b
    Examples:
      harness replay 5f3a12
      harness replay 2026-11-22-3/range-over-existing --kernel debian:sid
      harness replay 8c01f4 --repeat 2000
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
        workload=Workload([_repeated(finding.scenario, repeat)]),
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
        execute(
            request,
            quiet=False,
            verbose=1,
            as_json=as_json,
            diff_only=True,
            matches=True,
            remark=lambda again: comeback(finding, again),
        )
    )


def _repeated(scenario: Scenario, repeat: int) -> Scenario:
    """The scenario with so many repeats of each parallel block, or as many as it has."""
    if not isinstance(scenario, RaceScenario):
        return scenario
    steps = tuple(
        msgspec.structs.replace(step, repeat=max(step.repeat, repeat))
        if isinstance(step, Parallel)
        else step
        for step in scenario.steps
    )
    return msgspec.structs.replace(scenario, steps=steps)
