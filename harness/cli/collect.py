# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios run on targets for a command that shows the findings itself; they are stored too."""

from __future__ import annotations

import datetime
import threading

import click
from msgspec import Struct

from harness import __version__
from harness.campaign import Settings, TargetPlan, Workload, run_on_target
from harness.cli.options import environment, known_list, profile
from harness.report import Summary
from harness.runs import RunInfo
from harness.store import Store, default_root
from harness.vocabulary import Finding, TargetInfo
from reference_model.profiles import SemanticsProfile
from reference_model.scenario import Scenario


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to run, and how it is judged."""

    scenarios: tuple[Scenario, ...]
    plans: tuple[TargetPlan, ...]
    profile_name: str | None
    env_items: tuple[str, ...]
    timeout: float
    command: tuple[str, ...]


class Collector:
    """Keeps each plan's findings apart; the campaign's Listener."""

    def __init__(self) -> None:
        self.summary = Summary()
        self.findings: list[list[Finding]] = []

    def on_target(self, info: TargetInfo, profile: SemanticsProfile, note: str) -> None:
        """A line a kernel on stderr."""
        click.echo(f"kernel  {info.describe()}   profile {profile.name}", err=True)
        if note:
            click.echo(f"        note: {note}", err=True)
        for channel, reason in info.missing.items():
            click.echo(f"        without {channel}: {reason}", err=True)

    def on_finding(self, finding: Finding) -> None:
        """One more for the plan that runs."""
        self.summary.add(finding)
        self.findings[-1].append(finding)

    def on_note(self, text: str) -> None:
        """A line on stderr."""
        click.echo(f"note: {text}", err=True)


def begin_run(store: Store, command: tuple[str, ...]) -> RunInfo:
    """A new run in the store, begun now."""
    now = datetime.datetime.now(datetime.UTC)
    return store.begin(
        now.date().isoformat(),
        lambda name: RunInfo(
            id=name,
            started=now.isoformat(timespec="seconds"),
            command=command,
            seed=None,
            version=__version__,
        ),
    )


def collect(wanted: Wanted) -> Collector:
    """Run every scenario on every plan's target, one after the other; keep and return findings.

    UsageError for what is wrong with the command; whatever fails of a target is in its findings.
    """
    environment(wanted.env_items)
    settings_profile = profile(wanted.profile_name) if wanted.profile_name is not None else None
    collector = Collector()
    with Store(default_root()) as store:
        run = begin_run(store, wanted.command)
        settings = Settings(
            run_id=run.id,
            profile=settings_profile,
            env=tuple(
                (key, value) for key, _, value in (i.partition("=") for i in wanted.env_items)
            ),
            scenario_timeout=wanted.timeout,
            known=known_list(None),
        )
        workload = Workload(wanted.scenarios)
        try:
            for plan in wanted.plans:
                collector.findings.append([])
                run_on_target(plan, workload, settings, collector, threading.Event())
        finally:
            workload.close()
            store.add(run.id, [one for findings in collector.findings for one in findings])
    return collector
