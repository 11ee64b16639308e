# SPDX-License-Identifier: GPL-2.0-only
"""Histograms of parallel blocks, judged: kernels are simulated by a model's own outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.compare import judge
from harness.vocabulary import RunStatus, ScenarioRun, Verdict
from reference_model import predict
from reference_model.interleave_knobs import RACE_KNOBS
from reference_model.language import load_text
from reference_model.outcome import Observation, Outcome, Prediction
from reference_model.profiles import PROFILES, Environment
from reference_model.race_machine import predict_race
from reference_model.race_outcome import outcome_text
from reference_model.scenario import RaceScenario

TEXT = """\
schema: 1
id: r
suite: race
vm: {vcpus: 2}
steps:
  - {op: slot_add, slot: 1, gpa: 0x80000000, size: 64K, backing: {prefill: true}, flags: [log_dirty]}
  - {op: write, vcpu: 0, gpa: 0x80003000, value: 1}
  - {op: dirty_get, slot: 1}
  - parallel:
      - [{op: write, vcpu: 0, gpa: 0x80003000, value: 2}]
      - [{op: dirty_get, slot: 1}, {op: host_read, gpa: 0x80003000}]
    repeat: 200
"""
SCENARIO = next(one for one in load_text(TEXT, "r.yaml") if isinstance(one, RaceScenario))
RIGHT = predict(SCENARIO, PROFILES["v6.12"], Environment())
BLOCK = 3


def outcomes(prediction: Prediction) -> list[Outcome]:
    found = [one.outcome for one in prediction.steps[BLOCK].allowed]
    return [one for one in found if isinstance(one, Outcome)]


def run(histogram: Sequence[tuple[int, Outcome]], **channels: object) -> ScenarioRun:
    """A kernel that did what the model says, and in the block what is given."""
    seen = [step.allowed[0] for step in RIGHT.steps[:BLOCK]]
    block = Observation(histogram=tuple(histogram), **channels)  # type: ignore[arg-type]
    return ScenarioRun(id="r", status=RunStatus.DONE, steps=(*seen, block))


def test_allowed_outcomes_match_however_often_and_coverage_is_told() -> None:
    one, *rest = outcomes(RIGHT)
    assert rest
    found = judge(SCENARIO, RIGHT, run([(200, one)]), "v6.12")
    assert found.verdict is Verdict.MATCH
    assert found.outcomes == (1, 1 + len(rest))
    assert "histogram" in found.compared
    found = judge(SCENARIO, RIGHT, run([(1, each) for each in outcomes(RIGHT)]), "v6.12")
    assert found.outcomes == (1 + len(rest), 1 + len(rest))


def test_one_forbidden_repeat_is_a_divergence_with_its_full_record() -> None:
    right = outcomes(RIGHT)[0]
    assert not isinstance(right.after, msgspec.UnsetType)
    after = msgspec.structs.replace(right.after, dirty={"1": (7,)})
    wrong = msgspec.structs.replace(right, after=after)
    found = judge(SCENARIO, RIGHT, run([(199, right), (1, wrong)]), "v6.12")
    assert found.verdict is Verdict.DIVERGE
    (difference,) = found.differences
    assert (difference.step, difference.channel) == (BLOCK, "histogram")
    assert difference.observed == (1, wrong)
    assert difference.expected in outcomes(RIGHT)
    assert "not allowed, in 1 of 200 repeats" in found.reason


def test_the_last_repeat_without_after_is_held_against_its_branches_alone() -> None:
    bare = msgspec.structs.replace(outcomes(RIGHT)[0], after=msgspec.UNSET)
    assert judge(SCENARIO, RIGHT, run([(1, bare)]), "v6.12").verdict is Verdict.MATCH
    branches = (bare.branches[0], (Observation(ret=0, dirty=(9,)), bare.branches[1][1]))
    odd = msgspec.structs.replace(bare, branches=branches)
    assert judge(SCENARIO, RIGHT, run([(1, odd)]), "v6.12").verdict is Verdict.DIVERGE


def test_no_histogram_is_no_match() -> None:
    seen = (*[step.allowed[0] for step in RIGHT.steps[:BLOCK]], Observation())
    found = judge(SCENARIO, RIGHT, ScenarioRun(id="r", status=RunStatus.DONE, steps=seen), "v6.12")
    assert "histogram" in found.not_compared
    assert found.outcomes[0] == 0


def test_kernels_with_one_wrong_step_diverge() -> None:
    """Each forbidden outcome that such a kernel can show is found, once seen is enough."""
    for wrong in ({"relax_marks": False}, {"dirty": "before_lock"}, {"wrprotects": False}):
        knobs = msgspec.structs.replace(RACE_KNOBS["v6.12"], **wrong)
        broken = predict_race(SCENARIO, PROFILES["v6.12"], Environment(), knobs)
        told = {outcome_text(one) for one in outcomes(RIGHT)}
        lost = [one for one in outcomes(broken) if outcome_text(one) not in told]
        assert lost, wrong
        for one in lost:
            good = outcomes(RIGHT)[0]
            found = judge(SCENARIO, RIGHT, run([(199, good), (1, one)]), "v6.12")
            assert found.verdict is Verdict.DIVERGE


def test_a_count_that_no_order_gives_diverges() -> None:
    allowed = RIGHT.steps[BLOCK].counts
    assert set(allowed) >= {"mapped", "marked"}
    good = [(200, outcomes(RIGHT)[0])]
    most = max(allowed["marked"])
    counts = {"faults": ((200, 1),), "marked": ((199, most), (1, most + 1))}
    found = judge(SCENARIO, RIGHT, run(good, counts=counts), "v6.12")
    assert found.verdict is Verdict.DIVERGE
    assert "counts" in found.compared
    (difference,) = found.differences
    assert difference.channel == "counts"
    assert difference.expected == {"marked": allowed["marked"]}
    assert difference.observed == {"marked": counts["marked"]}


def test_counts_that_are_allowed_match_and_faults_are_shown_alone() -> None:
    counts = {"faults": ((200, 99),), "marked": ((200, min(RIGHT.steps[BLOCK].counts["marked"])),)}
    found = judge(SCENARIO, RIGHT, run([(200, outcomes(RIGHT)[0])], counts=counts), "v6.12")
    assert found.verdict is Verdict.MATCH
    assert "counts" in found.compared


def test_counts_of_a_block_that_is_not_counted_are_not_compared() -> None:
    steps = tuple(msgspec.structs.replace(step, counts={}) for step in RIGHT.steps)
    bare = msgspec.structs.replace(RIGHT, steps=steps)
    counts = {"marked": ((200, 99),)}
    found = judge(SCENARIO, bare, run([(200, outcomes(RIGHT)[0])], counts=counts), "v6.12")
    assert found.verdict is Verdict.MATCH
    assert "counts" in found.not_compared
