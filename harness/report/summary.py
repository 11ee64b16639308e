# SPDX-License-Identifier: GPL-2.0-only
"""A run in numbers: verdicts, channels compared and not, skips by reason, the exit status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.report.diff import Line
from harness.vocabulary import Finding, Verdict


class Summary:
    """Counts that grow as findings come in; keeps only what a summary names."""

    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.suites: Counter[str] = Counter()
        self.compared: dict[str, None] = {}
        self.not_compared: dict[str, str] = {}
        self.skips: Counter[str] = Counter()
        self.bad: list[tuple[str, str, str, str, str]] = []
        self.steps = 0
        self.micros = 0

    def add(self, finding: Finding, not_compared: Iterable[str] = ()) -> None:
        """Take one judged scenario into the counts."""
        self.verdicts[finding.verdict] += 1
        self.suites[finding.scenario.suite] += 1
        self.compared.update(dict.fromkeys(finding.compared))
        for channel in not_compared:
            reason = finding.target.missing.get(channel, "not read on this target")
            self.not_compared.setdefault(channel, reason)
        if finding.run is not None:
            self.micros += finding.run.micros
            if finding.compared:
                self.steps += len(finding.run.steps)
        if finding.verdict is Verdict.SKIP:
            self.skips[finding.reason] += 1
        elif finding.verdict is not Verdict.MATCH:
            self.bad.append(
                (
                    finding.verdict.value,
                    finding.scenario.id,
                    finding.target.release or finding.target.name,
                    finding.reason,
                    finding.short_id,
                )
            )

    @property
    def total(self) -> int:
        """Scenarios judged."""
        return sum(self.verdicts.values())

    def exit_status(self) -> int:
        """0: all matched; 1: a DIVERGE, CRASH or HANG; 3: INFRA, or nothing was compared."""
        if any(verdict.is_finding for verdict in self.verdicts):
            return 1
        if self.verdicts[Verdict.INFRA] or not self.compared:
            return 3
        return 0


def counts_text(verdicts: Counter[Verdict]) -> str:
    """``1000 match  0 diverge  2 skip``: match and diverge always, the others where there are."""
    always = (Verdict.MATCH, Verdict.DIVERGE)
    return "  ".join(
        f"{verdicts[verdict]} {verdict.value.lower()}"
        for verdict in Verdict
        if verdicts[verdict] or verdict in always
    )


def summary_lines(summary: Summary) -> list[Line]:
    """The last lines of a run: counts, channels, skips, and every scenario that is not a match."""
    lines: list[Line] = []
    suites = ", ".join(sorted(summary.suites)) or "nothing"
    status = "good" if summary.exit_status() == 0 else "bad"
    lines.append((status, f"{suites}  {summary.total} scenarios  {counts_text(summary.verdicts)}"))
    compared = " ".join(summary.compared) or "nothing"
    absent = ", ".join(
        f"{channel} ({reason})"
        for channel, reason in summary.not_compared.items()
        if channel not in summary.compared
    )
    partly = ", ".join(
        f"{channel} on some ({reason})"
        for channel, reason in summary.not_compared.items()
        if channel in summary.compared
    )
    rest = ", ".join(part for part in (absent, partly) if part)
    lines.append(("", f"compared: {compared}" + (f"    not compared: {rest}" if rest else "")))
    for reason, count in summary.skips.most_common():
        lines.append(("dim", f"skip {count}: {reason}"))
    return lines + _bad_lines(summary)


def _bad_lines(summary: Summary) -> list[Line]:
    """A line a scenario; scenarios that the same failure of the machine hit share one."""
    lines: list[Line] = []
    shared: dict[tuple[str, str], list[str]] = {}
    for verdict, scenario, release, reason, short in summary.bad:
        if verdict == Verdict.INFRA.value:
            shared.setdefault((release, reason), []).append(scenario)
        else:
            lines.append(("bad", f"✗ {verdict} {scenario}  {release}  {reason}  [{short}]"))
    for (release, reason), scenarios in shared.items():
        which = scenarios[0]
        if len(scenarios) > 1:
            which = f"{len(scenarios)} scenarios ({scenarios[0]} … {scenarios[-1]})"
        lines.append(("bad", f"✗ INFRA {which}  {release}  {reason}"))
    return lines
