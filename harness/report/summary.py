# SPDX-License-Identifier: GPL-2.0-only
"""A run in numbers: verdicts, channels compared and not, skips by reason, the exit status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from harness.report.diff import Line
from harness.runs import Result, RunTarget, result_of
from harness.vocabulary import Finding, Verdict

_UNREAD = "not read on this target"


class Summary:
    """Counts that grow as results come in; keeps only what a summary names."""

    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.suites: Counter[str] = Counter()
        #: Channel -> targets on which it was compared.
        self.present: dict[str, dict[str, None]] = {}
        #: Channel -> target -> why it was not compared there (in some scenarios at least).
        self.absent: dict[str, dict[str, str]] = {}
        self.skips: Counter[str] = Counter()
        self.known: Counter[str] = Counter()
        self.bad: list[Result] = []
        #: Target -> (reached, all) of the page-table model's transitions.
        self.transitions: dict[str, tuple[int, int]] = {}
        #: Target -> (seen, allowed) of the outcomes of parallel blocks.
        self.outcomes: dict[str, tuple[int, int]] = {}
        self.notes: list[str] = []
        self.steps = 0
        self.micros = 0
        self._targets: dict[str, None] = {}

    def add(self, finding: Finding) -> None:
        """Take one judged scenario into the counts."""
        self.take(result_of(finding), finding.target.missing)
        if finding.outcomes[1]:
            seen, allowed = self.outcomes.get(finding.target.name, (0, 0))
            self.outcomes[finding.target.name] = (
                seen + finding.outcomes[0],
                allowed + finding.outcomes[1],
            )

    def take(self, result: Result, missing: Mapping[str, str]) -> None:
        """Take one result into the counts; ``missing`` are its target's reasons by channel."""
        self.verdicts[result.verdict] += 1
        self.suites[result.suite] += 1
        self._targets[result.target] = None
        for channel in result.compared:
            self.present.setdefault(channel, {})[result.target] = None
        for channel in result.not_compared:
            reason = missing.get(channel, _UNREAD)
            self.absent.setdefault(channel, {}).setdefault(result.target, reason)
        self.micros += result.micros
        self.steps += result.steps
        if result.verdict is Verdict.SKIP:
            self.skips[result.reason] += 1
        elif result.verdict is Verdict.KNOWN:
            self.known[result.known] += 1
        elif result.verdict is not Verdict.MATCH:
            self.bad.append(result)

    @property
    def total(self) -> int:
        """Scenarios judged."""
        return sum(self.verdicts.values())

    @property
    def compared(self) -> tuple[str, ...]:
        """Channels that were compared anywhere."""
        return tuple(self.present)

    @property
    def not_compared(self) -> dict[str, str]:
        """Channel -> where it was not compared, and why, in words."""
        return {channel: self._absence(channel) for channel in self.absent}

    def _absence(self, channel: str) -> str:
        reasons: dict[str, list[str]] = {}
        present = self.present.get(channel, {})
        for target, reason in self.absent[channel].items():
            words = f"on some scenarios of {target}" if target in present else f"on {target}"
            reasons.setdefault(reason, []).append(words)
        everywhere = not present and len(self.absent[channel]) == len(self._targets)
        if everywhere and len(reasons) == 1:
            return next(iter(reasons))
        if len(self._targets) == 1:
            return "; ".join(f"in some scenarios: {reason}" for reason in reasons)
        return "; ".join(f"{', '.join(where)}: {reason}" for reason, where in reasons.items())

    def exit_status(self) -> int:
        """0: all matched; 1: a DIVERGE, CRASH, HANG or FLAKY; 3: INFRA, or nothing was compared.

        FLAKY is a divergence that did not come every time: not all matched.
        """
        if any(verdict.is_finding or verdict is Verdict.FLAKY for verdict in self.verdicts):
            return 1
        if self.verdicts[Verdict.INFRA] or not self.compared:
            return 3
        return 0


def summary_of(
    results: Iterable[Result], targets: Iterable[RunTarget], notes: Iterable[str] = ()
) -> Summary:
    """The summary of a stored run."""
    summary = Summary()
    missing: dict[str, Mapping[str, str]] = {}
    for target in targets:
        missing[target.info.name] = target.info.missing
        if target.transitions is not None:
            summary.transitions[target.info.name] = target.transitions
    for result in results:
        summary.take(result, missing.get(result.target, {}))
    summary.notes += notes
    return summary


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
    rest = ", ".join(f"{channel} ({why})" for channel, why in summary.not_compared.items())
    lines.append(("", f"compared: {compared}" + (f"    not compared: {rest}" if rest else "")))
    lines += [("", line) for line in transition_lines(summary)]
    lines += [
        ("", f"outcomes of parallel blocks on {target}: {seen} of {allowed} allowed ones seen")
        for target, (seen, allowed) in summary.outcomes.items()
    ]
    lines += [("dim", f"skip {count}: {reason}") for reason, count in summary.skips.most_common()]
    lines += [("dim", f"known {count}: {title}") for title, count in summary.known.most_common()]
    lines += [("mark", f"note: {note}") for note in summary.notes]
    return lines + _bad_lines(summary)


def transition_lines(summary: Summary) -> list[str]:
    """``transitions of the model: 214 of 219 reached``; a line for targets that agree on it."""
    where: dict[tuple[int, int], list[str]] = {}
    for target, share in summary.transitions.items():
        where.setdefault(share, []).append(target)
    return [
        f"transitions of the model: {reached} of {known} reached"
        + (f" on {', '.join(targets)}" if len(where) > 1 else "")
        for (reached, known), targets in where.items()
    ]


def _bad_lines(summary: Summary) -> list[Line]:
    """A line a scenario; scenarios that the same failure of the machine hit share one."""
    lines: list[Line] = []
    shared: dict[tuple[str, str], list[str]] = {}
    for result in summary.bad:
        release = result.release or result.target
        if result.verdict is Verdict.INFRA:
            shared.setdefault((release, result.reason), []).append(result.scenario)
            continue
        step = f"step {result.step}"
        where = "" if result.step is None or step in result.reason else f"  {step}"
        lines.append(
            (
                "bad",
                f"✗ {result.verdict.value} {result.scenario}  {release}{where}  "
                f"{result.reason}  [{result.short_id}]",
            )
        )
    for (release, reason), scenarios in shared.items():
        which = scenarios[0]
        if len(scenarios) > 1:
            which = f"{len(scenarios)} scenarios ({scenarios[0]} … {scenarios[-1]})"
        lines.append(("bad", f"✗ INFRA {which}  {release}  {reason}"))
    return lines
