# SPDX-License-Identifier: GPL-2.0-only
"""Results across runs: when a scenario last matched, what flips, what has become slower.

Two results are of the same input where target kernel (release), profile and the scenario's content
are the same; only those are held against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

from msgspec import Struct

from harness.runs import Result
from harness.vocabulary import Verdict

#: What a verdict is in a series, oldest first.
_LETTERS = {
    Verdict.MATCH: "M",
    Verdict.DIVERGE: "D",
    Verdict.KNOWN: "K",
    Verdict.FLAKY: "F",
    Verdict.SKIP: "s",
    Verdict.CRASH: "C",
    Verdict.HANG: "H",
    Verdict.INFRA: "i",
}
_SERIES = 20
#: Slower: this many times longer than its median before, against what all others did meanwhile.
_SLOWER = 2.0
#: Runs before, and microseconds, below which a time tells nothing.
_LEAST_RUNS = 2
_LEAST_MICROS = 2_000


class Series(Struct, frozen=True, kw_only=True):
    """One scenario on one kernel, over all runs.

    ``verdicts`` are letters, oldest first (M match, D diverge, K known, F flaky, s skip, C crash,
    H hang, i infra); ``last_match`` is a run id, "" where it never matched.
    """

    scenario: str
    suite: str
    release: str
    profile: str
    runs: int
    verdicts: str
    last: str
    last_verdict: Verdict
    last_match: str
    flaky: bool
    slower: float


def history(results: Iterable[Result]) -> list[Series]:
    """Every scenario and kernel, in the order they first came."""
    grouped: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        key = (result.scenario, result.release or result.target, result.profile)
        grouped.setdefault(key, []).append(result)
    drift = _drift(grouped)
    return [_series(key[1], group, drift) for key, group in grouped.items()]


def _series(release: str, group: list[Result], drift: Mapping[str, float]) -> Series:
    last = group[-1]
    matched = [result.run for result in group if result.verdict is Verdict.MATCH]
    ratio = _ratio(group)
    slower = 0.0 if ratio is None else ratio / drift.get(last.run, 1.0)
    return Series(
        scenario=last.scenario,
        suite=last.suite,
        release=release,
        profile=last.profile,
        runs=len(group),
        verdicts="".join(_LETTERS[result.verdict] for result in group[-_SERIES:]),
        last=last.run,
        last_verdict=last.verdict,
        last_match=matched[-1] if matched else "",
        flaky=_is_flaky(group),
        slower=slower if slower > _SLOWER else 0.0,
    )


def _is_flaky(group: list[Result]) -> bool:
    """A FLAKY, or verdicts of one input that differ from run to run."""
    if any(result.verdict is Verdict.FLAKY for result in group):
        return True
    told: dict[str, set[Verdict]] = {}
    for result in group:
        if result.verdict not in (Verdict.INFRA, Verdict.SKIP, Verdict.KNOWN) and result.digest:
            told.setdefault(result.digest, set()).add(result.verdict)
    return any(len(verdicts) > 1 for verdicts in told.values())


def _ratio(group: list[Result]) -> float | None:
    """The last time over the median of those before it; None where that tells nothing."""
    last = group[-1]
    if last.verdict is not Verdict.MATCH or last.micros < _LEAST_MICROS:
        return None
    before = [
        result.micros
        for result in group[:-1]
        if result.digest == last.digest and result.verdict is Verdict.MATCH and result.micros
    ]
    if len(before) < _LEAST_RUNS:
        return None
    return last.micros / median(before)


def _drift(grouped: Mapping[tuple[str, str, str], list[Result]]) -> dict[str, float]:
    """How much slower each run was on the whole: a busy machine slows every scenario."""
    ratios: dict[str, list[float]] = {}
    for group in grouped.values():
        ratio = _ratio(group)
        if ratio is not None:
            ratios.setdefault(group[-1].run, []).append(ratio)
    return {run: median(values) for run, values in ratios.items() if len(values) > 2}
