# SPDX-License-Identifier: GPL-2.0-only
"""A divergence that does not come again is FLAKY; one that kills the kernel is no divergence."""

from __future__ import annotations

import msgspec
import pytest

from harness.compare import Judgement
from harness.compare.repeats import is_repeated, same_divergence, settle
from harness.vocabulary import StepDifference, Verdict
from reference_model.language import load_text
from tests.reference_model.test_language import GUEST


def diverge(observed: int = 1) -> Judgement:
    return Judgement(
        verdict=Verdict.DIVERGE,
        reason="step 2 ret: model 0, kernel 1",
        differences=(StepDifference(step=2, channel="ret", expected=0, observed=observed),),
        compared=("ret",),
    )


MATCH = Judgement(verdict=Verdict.MATCH, compared=("ret",))
INFRA = Judgement(verdict=Verdict.INFRA, reason="the link broke")
CRASH = Judgement(verdict=Verdict.CRASH, reason="kernel BUG")


def test_the_same_again_is_what_it_was() -> None:
    settled = settle(diverge(), [diverge()])
    assert settled.judgement == diverge()
    assert settled.run == 0


@pytest.mark.parametrize(
    ("again", "words"),
    [
        ([MATCH], "diverged in 1 of 2 runs of the same input: step 2 ret"),
        ([MATCH, diverge(), MATCH], "diverged in 2 of 4 runs of the same input"),
        ([INFRA, MATCH], "diverged in 1 of 2 runs"),
    ],
)
def test_what_does_not_come_again_is_flaky(again: list[Judgement], words: str) -> None:
    settled = settle(diverge(), again)
    assert settled.judgement.verdict is Verdict.FLAKY
    assert words in settled.judgement.reason
    assert settled.judgement.differences == diverge().differences


def test_divergence_each_time_is_no_flake() -> None:
    judgement = settle(diverge(), [diverge(7), diverge(8)]).judgement
    assert judgement.verdict is Verdict.DIVERGE
    assert "all of 3 runs diverged, not all alike" in judgement.reason


@pytest.mark.parametrize(
    ("again", "words"),
    [([INFRA], "not repeated: the link broke"), ([], "not repeated: the run was ended before")],
)
def test_no_repeat_is_told(again: list[Judgement], words: str) -> None:
    judgement = settle(diverge(), again).judgement
    assert judgement.verdict is Verdict.DIVERGE
    assert words in judgement.reason


def test_a_kernel_that_dies_in_the_repeat_is_a_crash_of_that_run() -> None:
    settled = settle(diverge(), [diverge(), CRASH])
    assert settled.judgement.verdict is Verdict.CRASH
    assert settled.run == 2
    assert "kernel BUG (when run again; at first: step 2" in settled.judgement.reason


def test_only_what_must_come_again_is_repeated() -> None:
    (scenario,) = load_text(GUEST, "g")
    assert is_repeated(scenario, diverge())
    for other in (MATCH, INFRA, CRASH):
        assert not is_repeated(scenario, other)


def test_same_divergence() -> None:
    assert same_divergence(diverge(), diverge())
    assert not same_divergence(diverge(), diverge(7))
    assert not same_divergence(diverge(), MATCH)
    assert not same_divergence(diverge(), msgspec.structs.replace(diverge(), differences=()))
