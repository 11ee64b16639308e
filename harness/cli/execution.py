# SPDX-License-Identifier: GPL-2.0-only
"""Runs a request: campaign, store, report, summary. ``run``, ``diff`` and ``replay`` end here."""

from __future__ import annotations

import datetime
import shlex
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import msgspec
from filelock import FileLock, Timeout
from msgspec import Struct

from harness import __version__
from harness.campaign import Settings, TargetPlan, Workload, run_on_target
from harness.cli.console import print_lines
from harness.cli.coverage import Coverage
from harness.cli.options import environment, known_list, print_json, profile
from harness.cli.progress import RunView
from harness.cli.stored import report_folder, run_report, write_report
from harness.report import Summary, diff_lines, finding_json, summary_lines, summary_of
from harness.report.diff import Line
from harness.runs import Result, RunInfo
from harness.store import Recorder, RunState, Store, default_root
from harness.targets import end_all_guests
from harness.vocabulary import Finding, UsageError, Verdict

_SHOWN_DIFFS = 5
#: Seconds that threads have to end in after an interrupt.
_LAST = 60.0


class Request(Struct, frozen=True, kw_only=True):
    """What is to run, and where.

    ``known`` is a file of known divergences, None for the tree's own. ``resumed`` is a stored run
    that this goes on with. ``covers``: the share of the model's transitions is worth telling.
    """

    workload: Workload
    suites: tuple[str, ...]
    plans: tuple[TargetPlan, ...]
    profile_name: str | None
    env_items: tuple[str, ...]
    timeout: float
    jobs: int
    seed: int | None
    command: tuple[str, ...]
    known: str | None = None
    resumed: RunInfo | None = None
    covers: bool = False


def execute(
    request: Request,
    *,
    quiet: bool,
    verbose: int,
    as_json: bool,
    diff_only: bool = False,
    matches: bool = False,
    remark: Callable[[Finding], str] | None = None,
) -> int:
    """Run it, keep it, report it; the exit status of the contract, 130 when interrupted.

    ``remark``: a line on each finding, told at the end; "": none.
    """
    environment(request.env_items)  # a bad --env ends the command before anything boots
    chosen = profile(request.profile_name) if request.profile_name is not None else None
    known = known_list(request.known)
    total = request.workload.total * len(request.plans)
    with Store(default_root()) as store:
        run = request.resumed or store.begin(_now().date().isoformat(), _header(request, total))
        with _locked(run):
            settings = Settings(
                run_id=run.id,
                profile=chosen,
                env=env_pairs(request.env_items),
                scenario_timeout=request.timeout,
                known=known,
                judged=frozenset(store.judged(run.id)) if request.resumed else frozenset(),
            )
            view, interrupted = _recorded(request, settings, store, run, total, quiet, verbose)
            report = run_report(store, run)
            page = report_folder(run) / "report.html"
            write_report(report, "html", page)
        summary = report.summary
        remarks = [remark(one) for one in store.findings(run.id)] if remark else []
        # Not kept in the store: how many of the allowed outcomes this part of the run saw.
        summary.outcomes.update(view.summary.outcomes)
        if as_json:
            print_json(finding_json(finding) for finding in store.findings(run.id))
        elif diff_only:
            hidden = () if matches else (Verdict.MATCH, Verdict.SKIP)
            print_lines(_every_diff(store.findings(run.id, verdicts=_but(*hidden))))
        else:
            print_lines(_diffs(store, run, summary, everything=verbose > 0))
    if interrupted:
        print_lines([("bad", f"interrupted: {report.incomplete}")], err=True)
    closing = [("", line) for line in remarks if line] + summary_lines(summary)
    ending = f"run {run.id}   {view.seconds:.1f} s, {view.rate:,.0f} steps/s   report: {page}"
    closing += [("dim", ending), *_next_commands(summary.bad)]
    if not quiet or summary.exit_status():
        print_lines(closing, err=as_json)
    return 130 if interrupted else summary.exit_status()


def env_pairs(items: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """``--env`` items as pairs; they have been checked."""
    return tuple((key, value) for key, _, value in (item.partition("=") for item in items))


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _header(request: Request, total: int) -> Callable[[str], RunInfo]:
    def make(ident: str) -> RunInfo:
        return RunInfo(
            id=ident,
            started=_now().isoformat(timespec="seconds"),
            command=request.command,
            seed=request.seed,
            version=__version__,
            profile=request.profile_name,
            env=request.env_items,
            timeout=request.timeout,
            expected=total,
        )

    return make


@contextmanager
def _locked(run: RunInfo) -> Iterator[None]:
    """One process at a time works on a run; UsageError where another does."""
    folder = report_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "running.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"run {run.id} is still going on; wait for it, or end it") from None
    try:
        yield
    finally:
        lock.release()


def _recorded(
    request: Request,
    settings: Settings,
    store: Store,
    run: RunInfo,
    total: int,
    quiet: bool,
    verbose: int,
) -> tuple[RunView, bool]:
    """The campaign, with every result written as it comes; whether it was interrupted."""
    store.set_state(run.id, RunState.RUNNING)
    before = _judged_before(store, run) if request.resumed else None
    interrupted = False
    with RunView(
        ", ".join(sorted(set(request.suites))),
        total,
        quiet=quiet,
        verbose=verbose,
        before=before,
        env=settings.env,
    ) as view:
        coverage = Coverage(view.targets)
        look = coverage.look if request.covers else None
        try:
            with Recorder(store.root, run.id, look=look) as recorder:
                view.keep = recorder.put
                try:
                    _campaign(request, settings, view)
                except KeyboardInterrupt:
                    interrupted = True
        except BaseException as error:
            store.set_state(run.id, RunState.INTERRUPTED)
            if isinstance(error, UsageError):
                store.forget_empty(run.id)
            raise
    if request.covers and request.resumed:
        coverage = Coverage(view.targets)
        for finding in store.findings(run.id, verdicts=_but(Verdict.SKIP, Verdict.INFRA)):
            coverage.look(finding)
    if not interrupted:
        complaints = settings.known.complaints(_now().date())
        told = store.notes(run.id)
        store.add(run.id, notes=[one for one in complaints if one not in told])
    store.add(run.id, targets=coverage.targets())
    state = RunState.INTERRUPTED if interrupted else RunState.DONE
    store.set_state(run.id, state, _now().isoformat(timespec="seconds"))
    return view, interrupted


def _judged_before(store: Store, run: RunInfo) -> Summary:
    """What an earlier part of the run judged; INFRA is run again, and so not counted."""
    done = (one for one in store.results(run.id) if one.verdict is not Verdict.INFRA)
    return summary_of(done, store.targets(run.id))


def _but(*hidden: Verdict) -> list[Verdict]:
    return [verdict for verdict in Verdict if verdict not in hidden]


def _campaign(request: Request, settings: Settings, view: RunView) -> None:
    workload = request.workload
    plans = _numbered(request.plans)
    stop = threading.Event()
    try:
        if request.jobs == 1 or len(plans) == 1:
            for plan in plans:
                run_on_target(plan, workload, settings, view, stop)
            return
        _parallel(plans, request, settings, view, stop)
    finally:
        workload.close()


def _numbered(plans: Iterable[TargetPlan]) -> list[TargetPlan]:
    """Plans of one name told apart: results are kept by it."""
    seen: Counter[str] = Counter()
    out = []
    for plan in plans:
        seen[plan.label] += 1
        out.append(msgspec.structs.replace(plan, number=seen[plan.label]))
    return out


def _parallel(
    plans: Iterable[TargetPlan],
    request: Request,
    settings: Settings,
    view: RunView,
    stop: threading.Event,
) -> None:
    waiting = list(plans)
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
    except KeyboardInterrupt:
        stop.set()
        end_all_guests()  # whoever waits for one to boot or to answer waits no longer
        raise
    finally:
        stop.set()
        for thread in threads:
            thread.join(_LAST)
    if failures:
        raise failures[0]


def _diffs(store: Store, run: RunInfo, summary: Summary, *, everything: bool) -> list[Line]:
    """The first findings in full, or all of them."""
    hidden = (Verdict.MATCH, Verdict.SKIP, Verdict.INFRA, Verdict.KNOWN)
    findings = store.findings(run.id, verdicts=_but(*hidden))
    lines: list[Line] = []
    for finding in findings if everything else islice(findings, _SHOWN_DIFFS):
        lines += [*diff_lines(finding, every_step=everything), ("", "")]
    left = len(_replayable(summary.bad)) - _SHOWN_DIFFS
    if left > 0 and not everything:
        lines.append(("dim", f"… {left} more findings: harness diff"))
    return lines


def _every_diff(findings: Iterable[Finding]) -> Iterator[Line]:
    for finding in findings:
        yield from diff_lines(finding, every_step=True)
        yield "", ""


def _replayable(bad: Iterable[Result]) -> list[Result]:
    return [result for result in bad if result.verdict is not Verdict.INFRA]


def _next_commands(results: Iterable[Result]) -> list[Line]:
    bad = _replayable(results)
    if not bad:
        return []
    ident = shlex.quote(bad[0].short_id)
    return [
        (
            "",
            f"replay: harness replay {ident}   smaller: harness shrink {ident}   "
            f"C file: harness repro {ident} -o t.c",
        ),
        ("", "all differences: harness diff"),
    ]
