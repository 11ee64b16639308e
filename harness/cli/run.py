# SPDX-License-Identifier: GPL-2.0-only
"""``harness run``: the whole line, from scenarios to verdicts and a report."""

from __future__ import annotations

import sys
from typing import Any

import click

from harness.campaign import Generated, Workload
from harness.cli.execution import Request, execute
from harness.cli.options import (
    check_focus,
    check_predictable,
    command_line,
    env_option,
    focus_option,
    json_option,
    load_files,
    profile_option,
    timeout_option,
)
from harness.cli.plans import machine_options, plans_from, with_cpus_for
from harness.generate import SUITES
from harness.runs import RunInfo
from harness.store import RunState, Store, default_root
from harness.vocabulary import UsageError, Verdict
from reference_model.scenario import Scenario

#: Options that change what is shown, not what runs.
_SHOWING = ("--resume", "-q", "--quiet", "-v", "-vv", "--verbose", "--json")


@click.command("run")
@click.argument("files", nargs=-1, metavar="[FILE…]")
@click.option("--suite", metavar="S", help=f"Generate scenarios of a suite: {', '.join(SUITES)}.")
@click.option("--count", type=click.IntRange(1), default=100, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@focus_option
@machine_options
@profile_option("default: the kernel's")
@env_option
@timeout_option
@click.option(
    "-j", "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Targets at once."
)
@click.option("--known", metavar="FILE", help="Known findings; default: scenarios/known.yaml.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the last run that did not end; with this command, if one is given.",
)
@click.option("-q", "--quiet", is_flag=True, help="Only results.")
@click.option("-v", "--verbose", count=True, help="Every finding in full; -vv: every verdict.")
@json_option
def command(resume: bool, quiet: bool, verbose: int, as_json: bool, **arguments: Any) -> None:
    """Generate or load scenarios, run them on kernels, compare with the model.

    FILE is a scenario file or a folder of them. Each --kernel SPEC boots in QEMU; each --target
    is a host (ssh:HOST), this machine (local), or a warm guest (targets up). Results are kept as
    they come: a run that was ended goes on with --resume. While it runs, a key or SIGUSR1 shows
    how far it is.

    \b
    Examples:
      harness run --suite guest --count 200 --kernel debian:bookworm --kernel debian:sid
      harness run --suite guest --focus huge --count 500 --kernel debian:sid
      harness run scenarios/ --target ssh:altra
      harness run --resume
    """
    given = command_line()
    resumed = None
    if resume:
        resumed, given = _resumable(given)
        arguments = _parsed(given)
        if not quiet:
            click.echo(f"run {resumed.id} goes on: {' '.join(given)}", err=True)
    request = _request(given, resumed, **arguments)
    sys.exit(execute(request, quiet=quiet, verbose=verbose, as_json=as_json))


def _request(
    given: tuple[str, ...],
    resumed: RunInfo | None,
    *,
    files: tuple[str, ...],
    suite: str | None,
    count: int,
    seed: int,
    focus: str,
    kernels: tuple[str, ...],
    targets: tuple[str, ...],
    machine: dict[str, object],
    profile_name: str | None,
    env_items: tuple[str, ...],
    timeout: float,
    jobs: int,
    known: str | None,
) -> Request:
    scenarios: list[Scenario] = load_files(files) if files else []
    if suite is not None and suite not in SUITES:
        raise UsageError(f"--suite {suite}: this version has: {', '.join(SUITES)}")
    if not scenarios and suite is None:
        raise UsageError(
            "nothing to run: give scenario files, or --suite (e.g. --suite guest --count 50)"
        )
    check_focus(focus, suite)
    generated = None
    if suite is not None:
        generated = Generated(suite=suite, count=count, seed=seed, focus=focus)
    check_predictable(scenarios)
    suites = (*(scenario.suite for scenario in scenarios), *((suite,) if suite else ()))
    return Request(
        workload=Workload(scenarios, generated=generated),
        suites=suites,
        plans=tuple(plans_from(kernels, targets, with_cpus_for(suites, machine))),
        profile_name=profile_name,
        env_items=env_items,
        timeout=timeout,
        jobs=jobs,
        seed=seed if suite is not None else None,
        command=given,
        known=known,
        resumed=resumed,
        covers=suite == "pgtable",
    )


def _resumable(given: tuple[str, ...]) -> tuple[RunInfo, tuple[str, ...]]:
    """The newest run that did not end (of this command, if one is given), and its command."""
    wanted = _what_runs(given)
    with Store(default_root()) as store:
        for run in reversed(store.runs()):
            if "run" not in run.command[:3]:
                continue
            stored = _what_runs(run.command)
            if wanted and stored != wanted:
                continue
            if _is_over(store, run):
                if wanted:
                    break
                continue
            if "-" in stored:
                raise UsageError(
                    f"run {run.id} took its scenarios from standard input, which is gone; "
                    "run it again from a file"
                )
            return run, run.command
    what = "of this command " if wanted else ""
    raise UsageError(f"no run {what}is stored here that did not end; 'harness history' lists them")


def _is_over(store: Store, run: RunInfo) -> bool:
    """It ended, and nothing in it is left to be run again."""
    if store.state(run.id)[0] is not RunState.DONE:
        return False
    return not any(result.verdict is Verdict.INFRA for result in store.results(run.id))


def _what_runs(words: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments of ``run`` in a command, without those that only change what is shown."""
    if "run" not in words:
        return ()
    return tuple(word for word in words[words.index("run") + 1 :] if word not in _SHOWING)


def _parsed(words: tuple[str, ...]) -> dict[str, Any]:
    """What click makes of a stored command."""
    made: dict[str, Any] = {}

    @machine_options
    def take(**arguments: Any) -> None:
        made.update(arguments)

    with command.make_context("run", list(_what_runs(words)), resilient_parsing=False) as context:
        take(**context.params)
    for shown in ("resume", "quiet", "verbose", "as_json"):
        made.pop(shown)
    return made
