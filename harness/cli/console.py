# SPDX-License-Identifier: GPL-2.0-only
"""What a run looks like while it goes on: stderr for talk, stdout for results."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness.report import Summary
from harness.report.diff import STYLES, Line
from harness.report.summary import counts_text
from harness.vocabulary import Finding, TargetInfo
from reference_model.profiles import SemanticsProfile

_HEARTBEAT = 10.0


def print_lines(lines: Iterable[Line], *, err: bool = False) -> None:
    """Styled lines; colour only where the stream is a terminal."""
    stream = sys.stderr if err else sys.stdout
    console = Console(file=stream, soft_wrap=True, highlight=False, markup=False, emoji=False)
    for style, text in lines:
        console.print(text, style=STYLES.get(style, ""))


class RunView:
    """Progress, notes and counts of a campaign; the campaign's Listener. A context manager."""

    def __init__(self, suites: str, total: int, *, quiet: bool) -> None:
        self.summary = Summary()
        self.targets: list[TargetInfo] = []
        self.findings: list[Finding] = []
        self._quiet = quiet
        self._total = total
        self._lock = threading.Lock()
        self._beat = self._started = time.monotonic()
        console = Console(file=sys.stderr, highlight=False)
        self._progress: Progress | None = None
        if console.is_terminal and not quiet:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[counts]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._progress.add_task(suites, total=total, counts="")

    def __enter__(self) -> RunView:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    @property
    def seconds(self) -> float:
        """Since the view was made."""
        return time.monotonic() - self._started

    def on_target(self, info: TargetInfo, profile: SemanticsProfile, note: str) -> None:
        """A line a kernel: release, where it runs, profile, boot time."""
        with self._lock:
            self.targets.append(info)
        boot = f"   booted {info.boot_seconds:.1f} s" if info.boot_seconds else ""
        self._say(f"kernel  {info.describe()}   profile {profile.name}{boot}")
        if note:
            self._say(f"        note: {note}")
        for channel, reason in info.missing.items():
            self._say(f"        without {channel}: {reason}")

    def on_finding(self, finding: Finding, not_compared: Sequence[str]) -> None:
        """Count it, and show that time passes."""
        with self._lock:
            self.summary.add(finding, not_compared)
            self.findings.append(finding)
            done = self.summary.total
            if self._progress is not None:
                counts = counts_text(self.summary.verdicts)
                self._progress.update(self._task, completed=done, counts=counts)
            elif time.monotonic() - self._beat > _HEARTBEAT:
                self._beat = time.monotonic()
                self._say(f"{done}/{self._total}  {counts_text(self.summary.verdicts)}")

    def on_note(self, text: str) -> None:
        """Something worth a line."""
        self._say(f"note: {text}")

    def _say(self, text: str) -> None:
        if self._quiet:
            return
        if self._progress is not None:
            self._progress.console.print(text, soft_wrap=True, markup=False)
        else:
            click.echo(text, err=True)
