# SPDX-License-Identifier: GPL-2.0-only
"""A race that was run again: how often what is not allowed came back."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Struct

from harness.vocabulary import Finding, RunStatus
from reference_model.outcome import Outcome
from reference_model.race_outcome import match


class Forbidden(Struct, frozen=True):
    """Outcomes of a run that its prediction does not allow: [times, outcome], of all repeats."""

    outcomes: tuple[tuple[int, Outcome], ...]
    repeats: int

    @property
    def times(self) -> int:
        """Repeats that ended in one of them."""
        return sum(times for times, _ in self.outcomes)


def forbidden_of(finding: Finding) -> Forbidden | None:
    """What the blocks of a finding showed that is not allowed; None where no block was counted."""
    if finding.run is None or finding.prediction is None:
        return None
    outcomes: list[tuple[int, Outcome]] = []
    repeats = 0
    for allowed, seen in zip(finding.prediction.steps, finding.run.steps, strict=False):
        if seen.histogram is UNSET:
            continue
        repeats += sum(times for times, _ in seen.histogram)
        outcomes += [(times, outcome) for times, outcome, _ in match(allowed, seen).forbidden]
    return Forbidden(tuple(outcomes), repeats) if repeats else None


def comeback(first: Finding, again: Finding) -> str:
    """One line on a replay; "" where the first run of the race showed nothing forbidden."""
    before, now = forbidden_of(first), forbidden_of(again)
    if before is None or not before.outcomes:
        return ""
    at_first = f"(at first {before.times} of {before.repeats})"
    if now is None or (again.run is not None and again.run.status is not RunStatus.DONE):
        return f"whether it comes back is not known: the replay is {again.verdict.value} {at_first}"
    if not now.outcomes:
        return (
            f"did not come back: none of {now.repeats} repeats had an outcome that is not allowed "
            f"{at_first}; more repeats: --repeat"
        )
    known = {msgspec.json.encode(outcome) for _, outcome in before.outcomes}
    same = sum(times for times, outcome in now.outcomes if msgspec.json.encode(outcome) in known)
    alike = "" if same == now.times else f", {same} of them in one that was seen at first"
    return (
        f"came back: {now.times} of {now.repeats} repeats had an outcome that is not allowed"
        f"{alike} {at_first}"
    )
