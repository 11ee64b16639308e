# SPDX-License-Identifier: GPL-2.0-only
"""Runs a request: campaign, store, report, summary. ``run``, ``diff`` and ``replay`` end here."""

from __future__ import annotations

import datetime
import shlex
import threading
from collections.abc import Iterable

from msgspec import Struct

from harness import __version__
from harness.campaign import Settings, TargetPlan, Workload, run_on_target
from harness.cli.console import RunView, print_lines
from harness.cli.options import environment, print_json, profile
from harness.report import diff_lines, finding_json, summary_lines, write_html
from harness.report.diff import Line
from harness.store import Store, default_root
from harness.vocabulary import Finding, RunInfo, Verdict

_SHOWN_DIFFS = 5


class Request(Struct, frozen=True, kw_only=True):
    """What is to run, and where."""

    workload: Workload
    suites: tuple[str, ...]
    plans: tuple[TargetPlan, ...]
    profile_name: str | None
    env_items: tuple[str, ...]
    timeout: float
    jobs: int
    seed: int | None
    command: tuple[str, ...]


def execute(
    request: Request,
    *,
    quiet: bool,
    verbose: int,
    as_json: bool,
    diff_only: bool = False,
    matches: bool = False,
) -> int:
    """Run it, keep it, report it; the exit status of the contract, 130 when interrupted."""
    environment(request.env_items)  # a bad --env ends the command before anything boots
    chosen = profile(request.profile_name) if request.profile_name is not None else None
    suites = ", ".join(sorted(set(request.suites)))
    total = request.workload.total * len(request.plans)
    now = datetime.datetime.now(datetime.UTC)
    with Store(default_root()) as store:
        run = RunInfo(
            id=store.new_run_id(now.date().isoformat()),
            started=now.isoformat(timespec="seconds"),
            command=request.command,
            seed=request.seed,
            version=__version__,
        )
        store.add_run(run)
        settings = Settings(
            run_id=run.id,
            profile=chosen,
            env=tuple(
                (key, value) for key, _, value in (i.partition("=") for i in request.env_items)
            ),
            scenario_timeout=request.timeout,
        )
        interrupted = False
        with RunView(suites, total, quiet=quiet) as view:
            try:
                _campaign(request, settings, view)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                store.add(run.id, view.findings)
        report = default_root() / "runs" / run.id / "report.html"
        write_html(report, run, view.summary, view.targets, view.findings)
    if as_json:
        print_json([finding_json(finding) for finding in view.findings])
    elif diff_only:
        print_lines(_every_diff(view.findings if matches else _unlike(view.findings)))
    else:
        print_lines(_diffs(view.findings, everything=verbose > 0))
    if interrupted:
        done = view.summary.total
        print_lines([("bad", f"interrupted: {done} of {total} scenarios judged")], err=True)
    closing = summary_lines(view.summary)
    rate = view.summary.steps / view.seconds if view.seconds else 0.0
    closing.append(
        ("dim", f"run {run.id}   {view.seconds:.1f} s, {rate:,.0f} steps/s   report: {report}")
    )
    closing += _next_commands(view.findings)
    if not quiet or view.summary.exit_status():
        print_lines(closing, err=as_json)
    return 130 if interrupted else view.summary.exit_status()


def _campaign(request: Request, settings: Settings, view: RunView) -> None:
    workload = request.workload
    stop = threading.Event()
    try:
        if request.jobs == 1 or len(request.plans) == 1:
            for plan in request.plans:
                run_on_target(plan, workload, settings, view, stop)
            return
        _parallel(request, settings, view, stop)
    finally:
        workload.close()


def _parallel(request: Request, settings: Settings, view: RunView, stop: threading.Event) -> None:
    waiting = list(request.plans)
    lock = threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        while not stop.is_set():
            with lock:
                if not waiting:
                    return
                plan = waiting.pop(0)
            try:
                run_on_target(plan, request.workload, settings, view, stop)
            except BaseException as error:
                failures.append(error)
                stop.set()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(request.jobs)]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.1)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    if failures:
        raise failures[0]


def _bad(findings: Iterable[Finding]) -> list[Finding]:
    return [f for f in findings if f.verdict not in (Verdict.MATCH, Verdict.SKIP, Verdict.INFRA)]


def _unlike(findings: Iterable[Finding]) -> list[Finding]:
    return [f for f in findings if f.verdict not in (Verdict.MATCH, Verdict.SKIP)]


def _diffs(findings: Iterable[Finding], *, everything: bool) -> list[Line]:
    bad = _bad(findings)
    shown = bad if everything else bad[:_SHOWN_DIFFS]
    lines: list[Line] = []
    for finding in shown:
        lines += [*diff_lines(finding, every_step=everything), ("", "")]
    if len(bad) > len(shown):
        lines.append(("dim", f"… {len(bad) - len(shown)} more findings: harness diff"))
    return lines


def _every_diff(findings: Iterable[Finding]) -> list[Line]:
    lines: list[Line] = []
    for finding in findings:
        lines += [*diff_lines(finding, every_step=True), ("", "")]
    return lines


def _next_commands(findings: Iterable[Finding]) -> list[Line]:
    bad = _bad(findings)
    if not bad:
        return []
    ident = shlex.quote(bad[0].short_id)
    return [("", f"replay: harness replay {ident}   all differences: harness diff")]
