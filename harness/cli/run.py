# SPDX-License-Identifier: GPL-2.0-only
"""``harness run``: the whole line, from scenarios to verdicts and a report."""

from __future__ import annotations

import sys

import click

from harness.campaign import Generated, Workload
from harness.cli.execution import Request, execute
from harness.cli.options import (
    check_predictable,
    env_option,
    json_option,
    load_files,
    profile_option,
)
from harness.cli.plans import machine_options, plans_from
from harness.generate import SUITES
from harness.vocabulary import UsageError
from reference_model.scenario import Scenario


@click.command("run")
@click.argument("files", nargs=-1, metavar="[FILE…]")
@click.option("--suite", metavar="S", help="Generate scenarios of this suite: guest, pgtable.")
@click.option("--count", type=click.IntRange(1), default=100, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@machine_options
@profile_option
@env_option
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="Seconds a scenario may take.",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Targets at once."
)
@click.option("-q", "--quiet", is_flag=True, help="Only results.")
@click.option("-v", "--verbose", count=True, help="Every finding in full.")
@json_option
def command(
    files: tuple[str, ...],
    suite: str | None,
    count: int,
    seed: int,
    kernels: tuple[str, ...],
    targets: tuple[str, ...],
    machine: dict[str, object],
    profile_name: str | None,
    env_items: tuple[str, ...],
    timeout: float,
    jobs: int,
    quiet: bool,
    verbose: int,
    as_json: bool,
) -> None:
    """Generate or load scenarios, run them on kernels, compare with the model.

    FILE is a scenario file or a folder of them. Each --kernel SPEC boots in QEMU; each --target
    is a host (ssh:HOST), this machine (local), or a warm guest (targets up).

    \b
    Examples:
      harness run --suite guest --count 200 --kernel debian:bookworm --kernel debian:sid
      harness run scenarios/ --target ssh:altra
    """
    scenarios: list[Scenario] = load_files(files) if files else []
    if suite is not None and suite not in SUITES:
        raise UsageError(f"--suite {suite}: this version has: {', '.join(SUITES)}")
    if not scenarios and suite is None:
        raise UsageError(
            "nothing to run: give scenario files, or --suite (e.g. --suite guest --count 50)"
        )
    generated = Generated(suite=suite, count=count, seed=seed) if suite is not None else None
    check_predictable(scenarios)
    plans = plans_from(kernels, targets, machine)
    request = Request(
        workload=Workload(scenarios, generated=generated),
        suites=(*(scenario.suite for scenario in scenarios), *((suite,) if suite else ())),
        plans=tuple(plans),
        profile_name=profile_name,
        env_items=env_items,
        timeout=timeout,
        jobs=jobs,
        seed=seed if suite is not None else None,
        command=("harness", *sys.argv[1:]),
    )
    outcome = execute(request, quiet=quiet, verbose=verbose, as_json=as_json)
    sys.exit(outcome)
