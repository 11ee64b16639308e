# SPDX-License-Identifier: GPL-2.0-only
"""What a run looks like while it goes on: a live line, or a heartbeat where there is no terminal.

All of it is on stderr.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from harness.cli.attention import attention
from harness.report import Summary
from harness.report.data import printable
from harness.report.summary import counts_text
from harness.runs import RunTarget
from harness.vocabulary import Finding, TargetInfo, Verdict
from reference_model.profiles import SemanticsProfile

#: Seconds of silence before a heartbeat, and over which the rate is taken.
HEARTBEAT = 10.0
_WINDOW = 20.0
_TICK = 0.25


class Pace:
    """Scenarios and steps a second over the last seconds, and the time that is left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: deque[tuple[float, int, int]] = deque([(clock(), 0, 0)])

    def mark(self, done: int, steps: int) -> None:
        """So much is done now."""
        now = self._clock()
        self._marks.append((now, done, steps))
        while len(self._marks) > 2 and now - self._marks[0][0] > _WINDOW:
            self._marks.popleft()

    def rates(self) -> tuple[float, float]:
        """(scenarios, steps) a second, up to now."""
        began, done, steps = self._marks[0]
        _, last_done, last_steps = self._marks[-1]
        seconds = self._clock() - began
        if seconds <= 0:
            return 0.0, 0.0
        return (last_done - done) / seconds, (last_steps - steps) / seconds

    def left(self, total: int) -> float | None:
        """Seconds until ``total`` are done; None while nothing can be said."""
        rate, _ = self.rates()
        waiting = total - self._marks[-1][1]
        if waiting <= 0:
            return 0.0
        return waiting / rate if rate > 0 else None


def duration_text(seconds: float | None) -> str:
    """``45 s``, ``3 min``, ``1 h 20 min``; ``?`` where it is not known."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class RunView:
    """Progress, notes and counts of a campaign; the campaign's Listener. A context manager.

    ``keep`` gets every finding, target and note, for the store; it may be set later. ``before`` is
    the summary of what an earlier part of the run judged.
    """

    def __init__(
        self,
        suites: str,
        total: int,
        *,
        quiet: bool,
        verbose: int = 0,
        before: Summary | None = None,
        env: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.summary = before or Summary()
        self.targets: dict[str, RunTarget] = {}
        self._suites, self._total = suites, total
        self._quiet, self._verbose = quiet, verbose
        self.keep: Callable[[Finding | RunTarget | str], None] = lambda item: None
        self._env = dict(env)
        self._lock = threading.RLock()
        self._earlier = self.summary.total
        self._earlier_steps = self.summary.steps
        self._pace = Pace()
        self._spoke = self._started = time.monotonic()
        self._last = ""
        self._asked = threading.Event()
        self._over = threading.Event()
        self._stack = ExitStack()
        console = Console(file=sys.stderr, highlight=False)
        self._progress: Progress | None = None
        if console.is_terminal and not quiet:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[counts]}"),
                TextColumn("{task.fields[pace]}", style="dim"),
                console=console,
                transient=True,
            )
            self._task = self._progress.add_task(suites, total=total, counts="", pace="")

    def __enter__(self) -> RunView:
        if self._progress is not None:
            self._progress.start()
            self._stack.callback(self._progress.stop)
        beat = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._stack.callback(beat.join, 2.0)
        self._stack.callback(self._over.set)
        beat.start()
        self._stack.enter_context(attention(self._asked.set))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def seconds(self) -> float:
        """Since the view was made."""
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Steps a second, over all of it."""
        return (self.summary.steps - self._earlier_steps) / self.seconds if self.seconds else 0.0

    def on_target(self, info: TargetInfo, profile: SemanticsProfile, note: str) -> None:
        """A line a kernel: release, where it runs, profile, boot time."""
        target = RunTarget(info=info, profile=profile.name, note=note, env=info.env | self._env)
        with self._lock:
            self.targets[info.name] = target
        self.keep(target)
        boot = f"   booted {info.boot_seconds:.1f} s" if info.boot_seconds else ""
        self._say(f"kernel  {info.describe()}   profile {profile.name}{boot}")
        if note:
            self._say(f"        note: {note}")
        for channel, reason in info.missing.items():
            self._say(f"        without {channel}: {reason}")

    def on_finding(self, finding: Finding) -> None:
        """Count it, keep it, and show that time passes."""
        self.keep(finding)
        with self._lock:
            known = self.targets.get(finding.target.name)
            if known is not None and known.info.missing != finding.target.missing:
                # What a target cannot show is known once the first program ran on it.
                known = msgspec.structs.replace(known, info=finding.target)
                self.targets[finding.target.name] = known
                self.keep(known)
            self.summary.add(finding)
            self._pace.mark(
                self.summary.total - self._earlier, self.summary.steps - self._earlier_steps
            )
            self._last = f"{finding.scenario.id} on {finding.target.name}"
        if self._verbose > 1 or (self._verbose and finding.verdict is not Verdict.MATCH):
            text = f"{finding.verdict.value:<8} {finding.scenario.id}  {finding.target.name}"
            self._say(f"{text}  {finding.reason}".rstrip())

    def on_note(self, text: str) -> None:
        """Something worth a line, and worth keeping."""
        self.keep(text)
        self._say(f"note: {text}")

    def status(self) -> str:
        """How far it is, on one line."""
        with self._lock:
            done = self.summary.total
            rate, steps = self._pace.rates()
            left = self._left()
            counts = counts_text(self.summary.verdicts)
            last = f"; last {self._last}" if self._last else "; nothing judged yet"
        return (
            f"{self._suites}  {done}/{self._total}  {counts}  {rate:.1f}/s, {steps:,.0f} steps/s, "
            f"{left}{last}"
        )

    @property
    def _patience(self) -> float:
        """Seconds of silence before a heartbeat: more until a target is up, as booting tells."""
        return HEARTBEAT if self.targets or self.summary.total else 3 * HEARTBEAT

    def _left(self) -> str:
        """The time left, in words."""
        if self.summary.total >= self._total:
            return "all judged, being written"
        return f"{duration_text(self._pace.left(self._total - self._earlier))} left"

    def _beat(self) -> None:
        """Refresh the live line, answer who asks, and break the silence."""
        while not self._over.wait(_TICK):
            if self._asked.is_set():
                self._asked.clear()
                self._say(self.status(), always=True)
            if self._progress is not None:
                self._refresh(self._progress)
            elif time.monotonic() - self._spoke > self._patience:
                self._say(self.status())

    def _refresh(self, progress: Progress) -> None:
        with self._lock:
            rate, steps = self._pace.rates()
            left = self._left()
            progress.update(
                self._task,
                completed=self.summary.total,
                counts=counts_text(self.summary.verdicts),
                pace=f"{rate:.1f}/s  {steps:,.0f} steps/s  {left}",
            )

    def _say(self, text: str, *, always: bool = False) -> None:
        if self._quiet and not always:
            return
        self._spoke = time.monotonic()
        shown = printable(text.replace("\n", " "))
        if self._progress is not None:
            self._progress.console.print(shown, soft_wrap=True, markup=False)
        else:
            click.echo(shown, err=True)
