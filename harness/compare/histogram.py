# SPDX-License-Identifier: GPL-2.0-only
"""A parallel block's histogram against its allowed outcomes.

A forbidden outcome, seen once, is a difference; an allowed one never seen is coverage. So is a
count of calls or of dirty markings that no order of the steps gives.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET, Struct

from harness.vocabulary import StepDifference
from reference_model.outcome import Observation, StepPrediction
from reference_model.race_outcome import match

CHANNEL = "histogram"
COUNTS = "counts"


class BlockJudgement(Struct, frozen=True):
    """One difference a forbidden outcome; how many of the allowed ones were seen."""

    differences: tuple[StepDifference, ...]
    seen: int


def is_block(prediction: StepPrediction) -> bool:
    """True for the prediction of a parallel block."""
    return bool(prediction.allowed) and prediction.allowed[0].outcome is not UNSET


def judge_block(
    index: int,
    prediction: StepPrediction,
    seen: Observation,
    compared: set[str],
    one_sided: set[str],
) -> BlockJudgement:
    """Differences of a block's step; each holds the full record of one forbidden repeat.

    ``expected`` is the allowed outcome that is nearest; ``observed`` is [times, outcome].
    """
    if seen.histogram is UNSET:
        one_sided.add(CHANNEL)
        return BlockJudgement((), 0)
    compared.add(CHANNEL)
    found = match(prediction, seen)
    outcomes = tuple(
        StepDifference(step=index, channel=CHANNEL, expected=nearest, observed=(times, outcome))
        for times, outcome, nearest in found.forbidden
    )
    if seen.counts is UNSET or not prediction.counts:
        if seen.counts is not UNSET or prediction.counts:
            one_sided.add(COUNTS)
        return BlockJudgement(outcomes, len(found.seen))
    compared.add(COUNTS)
    return BlockJudgement((*outcomes, *_counted(index, prediction, seen.counts)), len(found.seen))


def _counted(
    index: int, prediction: StepPrediction, seen: dict[str, tuple[tuple[int, int], ...]]
) -> Iterator[StepDifference]:
    """One difference a count that had a value it may not have: all its [times, value]."""
    for name, allowed in prediction.counts.items():
        if name in seen and any(value not in allowed for _, value in seen[name]):
            yield StepDifference(
                step=index, channel=COUNTS, expected={name: allowed}, observed={name: seen[name]}
            )
