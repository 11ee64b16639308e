# SPDX-License-Identifier: GPL-2.0-only
"""A parallel block's histogram against its allowed outcomes.

A forbidden outcome, seen once, is a difference; an allowed one never seen is coverage.
"""

from __future__ import annotations

from msgspec import UNSET, Struct

from harness.vocabulary import StepDifference
from reference_model.outcome import Observation, StepPrediction
from reference_model.race_outcome import match

CHANNEL = "histogram"


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
    if seen.counts is not UNSET:
        one_sided.add("counts")
    found = match(prediction, seen)
    return BlockJudgement(
        tuple(
            StepDifference(step=index, channel=CHANNEL, expected=nearest, observed=(times, outcome))
            for times, outcome, nearest in found.forbidden
        ),
        len(found.seen),
    )
