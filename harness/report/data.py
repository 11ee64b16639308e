# SPDX-License-Identifier: GPL-2.0-only
"""What every report format gets: one run as it was stored, large things only when asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from harness.report.summary import Summary, summary_of
from harness.runs import Result, RunInfo, RunTarget
from harness.vocabulary import Explanation, Finding, Verdict

#: Verdicts with nothing to show beyond their row.
PLAIN_VERDICTS = (Verdict.MATCH, Verdict.SKIP)


class RunReport(Struct, frozen=True, kw_only=True):
    """One run.

    ``state`` is how far it came (running, interrupted, done). ``findings`` gives the evidence of
    all that is neither MATCH nor SKIP, in the order of ``results``, each time anew. ``source`` is
    the C of a finding's scenario, and ``explain`` what the model can say about it; both may be "
    or None.
    """

    run: RunInfo
    state: str
    ended: str | None
    targets: tuple[RunTarget, ...]
    results: Sequence[Result]
    notes: tuple[str, ...] = ()
    findings: Callable[[], Iterable[Finding]] = tuple
    source: Callable[[Finding], str] = lambda finding: ""
    explain: Callable[[Finding], Explanation | None] = lambda finding: None

    @property
    def summary(self) -> Summary:
        """The counts; reckoned anew at each call."""
        return summary_of(self.results, self.targets, self.notes)

    @property
    def incomplete(self) -> str:
        """What there is to say about results that did not come; "" where all did."""
        missing = self.run.expected - len(self.results)
        if self.run.expected and missing > 0:
            return (
                f"{missing} of {self.run.expected} scenarios were not judged ({self.state}): "
                "harness run --resume"
            )
        return "" if self.state == "done" else f"the run is {self.state}"

    def by_target(self) -> Iterator[tuple[RunTarget, dict[str, list[Result]]]]:
        """Each target with its results by suite."""
        grouped: dict[str, dict[str, list[Result]]] = {}
        for result in self.results:
            grouped.setdefault(result.target, {}).setdefault(result.suite, []).append(result)
        for target in self.targets:
            yield target, grouped.get(target.info.name, {})


def environment_text(target: RunTarget) -> str:
    """``granule=4K ipa_limit=48 mode=vhe``; facts given by hand included."""
    return " ".join(f"{key}={value}" for key, value in (target.env or target.info.env).items())


def where_text(target: RunTarget) -> str:
    """``qemu tcg neoverse-n1``."""
    info = target.info
    return " ".join(part for part in (info.kind, info.accel, info.cpu) if part)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    r"""Text with control characters written as ``\x1b``; tabs and line ends stay.

    What is left is legal in XML 1.0, and does nothing to a terminal.
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def one_line(text: str) -> str:
    """:func:`printable`, on one line."""
    return printable(" ".join(text.split()))
