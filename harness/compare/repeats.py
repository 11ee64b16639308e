# SPDX-License-Identifier: GPL-2.0-only
"""The repeat filter: what is said of a divergence once the same input has been run again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from harness.compare.judge import Judgement
from harness.vocabulary import Verdict
from reference_model.scenario import Scenario

_DIED = (Verdict.CRASH, Verdict.HANG)
_SAID_NOTHING = (Verdict.INFRA, Verdict.SKIP)


class Settled(Struct, frozen=True):
    """The judgement, and which run it is of: 0 the first, then the repeats."""

    judgement: Judgement
    run: int


def is_repeated(scenario: Scenario, first: Judgement) -> bool:
    """True for a divergence that every run of the same input must show.

    One of a race need not come again: there one run in many is enough.
    """
    return first.verdict is Verdict.DIVERGE and scenario.suite != "race"


def same_divergence(first: Judgement, again: Judgement) -> bool:
    """Both differ at the same steps, on the same channels, with the same values."""
    return again.verdict is Verdict.DIVERGE and first.differences == again.differences


def settle(first: Judgement, again: Sequence[Judgement]) -> Settled:
    """The judgement on a DIVERGE and its repeats.

    DIVERGE if every run diverges; FLAKY if one does not; what a kernel died of in a repeat is
    said of that repeat. A repeat that came to nothing does not count, and is told.
    """
    for number, one in enumerate(again, 1):
        if one.verdict in _DIED:
            reason = f"{one.reason} (when run again; at first: {first.reason})"
            return Settled(msgspec.structs.replace(one, reason=reason), number)
    counted = [one for one in again if one.verdict not in _SAID_NOTHING]
    if not counted:
        why = again[0].reason if again else "the run was ended before"
        reason = f"{first.reason} (not repeated: {why})"
        return Settled(msgspec.structs.replace(first, reason=reason), 0)
    runs = len(counted) + 1
    diverged = 1 + sum(one.verdict is Verdict.DIVERGE for one in counted)
    if diverged < runs:
        reason = f"diverged in {diverged} of {runs} runs of the same input: {first.reason}"
        flaky = msgspec.structs.replace(first, verdict=Verdict.FLAKY, reason=reason)
        return Settled(flaky, 0)
    if not all(same_divergence(first, one) for one in counted):
        reason = f"{first.reason} (all of {runs} runs diverged, not all alike)"
        return Settled(msgspec.structs.replace(first, reason=reason), 0)
    return Settled(first, 0)
