# SPDX-License-Identifier: GPL-2.0-only
"""``harness bench``: the figures of the performance goals, as ratios taken in one run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import click
import msgspec

from harness.campaign import Settings, TargetPlan, Workload, run_open
from harness.cli.bench_lives import Ceiling
from harness.cli.bench_race import FRESH, REPEATS, many_repeats, many_vms
from harness.cli.bench_report import COUNT as REPORTED
from harness.cli.bench_report import report_times
from harness.cli.console import print_lines
from harness.cli.figures import Figure
from harness.cli.options import json_option, print_json
from harness.cli.plans import machine_options, plans_from
from harness.generate import generate
from harness.targets import Target
from harness.vocabulary import Finding, TargetInfo
from reference_model import predict
from reference_model.profiles import (
    PROFILES,
    Environment,
    SemanticsProfile,
    profile_for_release,
)

#: Programs at once, each on a CPU of its own, where this machine has as many.
_AT_ONCE = 2
#: Scenarios of a warm campaign, for each that is asked for.
_WARM = 5


class _Clock:
    """A campaign listener that notes when the first verdict came and sums the selftests' time."""

    def __init__(self) -> None:
        self.first = 0.0
        self.micros = 0
        self.module = 0
        self.api = 0
        self.lock = threading.Lock()
        self.verdicts = 0
        self.steps = 0
        self.unlike: list[str] = []

    def on_target(self, info: TargetInfo, profile: SemanticsProfile, note: str) -> None:
        """Nothing to note."""

    def on_finding(self, finding: Finding) -> None:
        """Count and time a verdict."""
        with self.lock:
            self.first = self.first or time.monotonic()
            self.verdicts += 1
            if finding.run is not None:
                self.micros += finding.run.micros
                self.module += finding.run.module_micros
                self.api += finding.run.api_micros
                self.steps += len(finding.run.steps)
            if finding.verdict.value != "MATCH":
                text = f"{finding.verdict.value} {finding.scenario.id}: {finding.reason}"
                self.unlike.append(text)

    def on_note(self, text: str) -> None:
        """Shown: a replaced guest would spoil the figures."""
        click.echo(f"note: {text}", err=True)


@click.command("bench")
@click.option("--count", type=click.IntRange(10), default=200, show_default=True)
@machine_options
@json_option
def command(
    count: int,
    kernels: tuple[str, ...],
    targets: tuple[str, ...],
    machine: dict[str, object],
    as_json: bool,
) -> None:
    """Measure prediction, boot to first verdict, and the share of time inside the selftest.

    Both sides of a ratio are taken in the same run; an idle machine gives the best figures.

    \b
    Example: harness bench --kernel debian:trixie
    """
    figures = [_prediction("guest"), _prediction("pgtable"), _reporting()]
    for plan in plans_from(kernels, targets, machine):
        figures += _target(plan, count)
    cpus = len(os.sched_getaffinity(0))
    if machine["lanes"] == machine["guests"] == 1 and cpus >= _AT_ONCE:
        for plan in plans_from(kernels, targets, machine | {"lanes": _AT_ONCE}):
            figures += _side_by_side(plan, count)
    if as_json:
        print_json([msgspec.to_builtins(figure) for figure in figures])
        return
    width = max(len(figure.name) for figure in figures)
    for figure in figures:
        print_lines(figure.lines(width))


def _prediction(suite: str) -> Figure:
    """Predicted steps a second on one core."""
    scenarios = list(generate(suite, 200, seed=1))
    profile, env = PROFILES["v6.12"], Environment()
    began = time.perf_counter()
    for scenario in scenarios:
        predict(scenario, profile, env)
    seconds = time.perf_counter() - began
    steps = sum(len(scenario.steps) for scenario in scenarios)
    return Figure(f"{suite}: predicted steps/s, one core", steps / seconds, "20,000 (pgtable)")


def _reporting() -> Figure:
    """Seconds that the slowest report of a large run takes."""
    times = report_times()
    slowest = max(times, key=lambda name: times[name])
    detail = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items())
    name = f"report of {REPORTED:,} results, s, slowest format ({slowest})"
    return Figure(name, times[slowest], "under 10", detail)


def _target(plan: TargetPlan, count: int) -> list[Figure]:
    scenarios = list(generate("guest", count, seed=1))
    _build(Workload(scenarios))
    figures: list[Figure] = []
    powered = time.monotonic()
    target = plan.open()
    others: list[Target] = []
    try:
        cold, _ = _run(plan, [target], Workload(scenarios))
        boot = target.info.boot_seconds
        if boot:
            until = cold.first - powered
            figures.append(
                Figure(
                    f"{plan.label}: power-on to first verdict / boot to userspace",
                    until / boot,
                    "at most 3",
                    f"{until:.2f} s / {boot:.2f} s",
                )
            )
        others += [plan.open() for _ in range(1, plan.guests)]
        guests = [target, *others]
        # As many as make what a campaign does once count for little.
        scenarios = list(generate("guest", _WARM * count, seed=1))
        _build(Workload(scenarios), len(guests))
        ceiling = Ceiling(guests, scenarios)
        clock, wall = _run(plan, guests, Workload(scenarios))
        figures.append(_share(plan, "guest", clock, wall))
        figures += ceiling.figures(plan, clock.verdicts / wall)
        figures += _pgtable(plan, guests, count)
        figures.append(_races(plan, target))
    finally:
        for one in (target, *others):
            one.close()
    return figures


def _side_by_side(plan: TargetPlan, count: int) -> list[Figure]:
    """The rate over the bare loop's with a program for each of two CPUs."""
    target = plan.open()
    try:
        _run(plan, [target], Workload(list(generate("guest", count, seed=1))))
        scenarios = list(generate("guest", _WARM * count, seed=1))
        _build(Workload(scenarios))
        ceiling = Ceiling([target], scenarios)
        clock, wall = _run(plan, [target], Workload(scenarios))
        return ceiling.figures(plan, clock.verdicts / wall)
    finally:
        target.close()


def _pgtable(plan: TargetPlan, guests: Sequence[Target], count: int) -> list[Figure]:
    """Compared steps a second on the warm guest; scenarios are made and the module built before."""
    info = guests[0].info
    profile = profile_for_release(info.release).profile
    env = Environment.parse(info.env.items())
    scenarios = list(generate("pgtable", _WARM * count, 1, profile, env))
    _build(Workload(scenarios), len(guests))
    _run(plan, guests, Workload(scenarios[: 50 * len(guests)]))
    clock, wall = _run(plan, guests, Workload(scenarios))
    if not clock.micros:
        click.echo(f"note: {plan.label}: pgtable did not run: {clock.unlike[:1]}", err=True)
        return []
    rate = Figure(
        f"{plan.label}: pgtable, compared steps/s, warm",
        clock.steps / wall,
        "5,000",
        f"{clock.steps} steps in {wall:.2f} s on {len(guests)} guest(s); own time of the selftests "
        f"{clock.micros / 1e6:.2f} s, of it the module's {clock.module / 1e6:.2f} s, of it the "
        f"kernel's {clock.api / 1e6:.2f} s",
    )
    return [rate, _share(plan, "pgtable", clock, wall)]


def _races(plan: TargetPlan, target: Target) -> Figure:
    """A repeat of a block over a fresh VM with the same block, inside the selftest."""
    repeats = Workload([many_repeats()])
    vms = Workload(many_vms())
    for workload in (repeats, vms):
        _build(workload)
    one, _ = _run(plan, [target], Workload([many_repeats()]))
    each, _ = _run(plan, [target], Workload(many_vms()))
    repeat, fresh = one.micros / REPEATS, each.micros / FRESH
    return Figure(
        f"{plan.label}: a repeat of a parallel block / a fresh VM",
        repeat / fresh if fresh else 0.0,
        "at most 0.25",
        f"{repeat / 1000:.2f} ms / {fresh / 1000:.2f} ms",
    )


def _share(plan: TargetPlan, suite: str, clock: _Clock, wall: float) -> Figure:
    inside = clock.micros / 1e6 / (plan.guests * plan.lanes)
    return Figure(
        f"{plan.label}: {suite}, time inside the selftest / wall time, warm",
        inside / wall,
        "at least 0.5 (guest)",
        f"{inside:.2f} s / {wall:.2f} s, {clock.verdicts / wall:.0f} scenarios/s, "
        f"{clock.steps / wall:,.0f} steps/s",
    )


def _build(workload: Workload, guests: int = 1) -> None:
    """Everything is in the cache afterwards: "with everything cached" is part of the goals."""
    batches = workload.batches(None, None, guests)
    for index, _ in enumerate(batches.all()):
        batches.prepare(index).result()
    workload.close()


def _kept(guest: Target) -> Callable[[], AbstractContextManager[Target]]:
    """An open guest, for who would close it."""
    return lambda: nullcontext(guest)


def _run(plan: TargetPlan, guests: Sequence[Target], workload: Workload) -> tuple[_Clock, float]:
    """One campaign on open guests of a kernel: its clock, and the wall time in seconds."""
    clock = _Clock()
    settings = Settings(run_id="bench")
    began = time.monotonic()
    try:
        run_open(
            guests[0],
            guests[0].info,
            workload,
            settings,
            clock,
            threading.Event(),
            module=plan.module,
            more=[_kept(guest) for guest in guests[1:]],
            lanes=plan.lanes,
        )
    finally:
        workload.close()
    wall = time.monotonic() - began
    for line in clock.unlike:
        click.echo(f"note: {line}", err=True)
    return clock, wall
