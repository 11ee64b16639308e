# SPDX-License-Identifier: GPL-2.0-only
"""Races that a 6.1 kernel ran, 200 times each: right by the right model, wrong by any wrong step."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from harness.compare import Judgement, judge
from harness.vocabulary import RunStatus, ScenarioRun, Verdict
from reference_model.interleave_knobs import RACE_KNOBS, RaceKnobs
from reference_model.language import load_text
from reference_model.outcome import Observation
from reference_model.profiles import PROFILES, Environment
from reference_model.race_machine import predict_race
from reference_model.scenario import RaceScenario

PROFILE = "v6.1"
RECORDED = json.loads(
    (Path(__file__).parent / "data" / "races-6.1.json").read_text(encoding="utf-8")
)


def judged(one: dict[str, object], knobs: RaceKnobs) -> Judgement:
    """What a kernel did, by the 6.1 model with these knobs."""
    (scenario,) = load_text(str(one["scenario"]), "recorded")
    assert isinstance(scenario, RaceScenario)
    steps = msgspec.convert(one["steps"], tuple[Observation, ...])
    run = ScenarioRun(id=scenario.id, status=RunStatus.DONE, steps=steps)
    prediction = predict_race(scenario, PROFILES[PROFILE], Environment(), knobs)
    return judge(scenario, prediction, run, PROFILE)


def diverging(**wrong: object) -> set[str]:
    knobs = msgspec.structs.replace(RACE_KNOBS[PROFILE], **wrong)
    found = set()
    for one in RECORDED:
        judgement = judged(one, knobs)
        assert judgement.verdict in (Verdict.MATCH, Verdict.DIVERGE)
        if judgement.verdict is Verdict.DIVERGE:
            found.add(str(one["scenario"]).split("id: ", 1)[1].split("\n", 1)[0])
    return found


def test_the_right_model_allows_all_of_it() -> None:
    assert diverging() == set()


@pytest.mark.parametrize(
    ("wrong", "scenarios"),
    [
        # The losing side of a fault marks nothing: reports that the kernel gave are forbidden.
        (
            {"relax_marks": False},
            {"race-s1-00002", "race-s1-00021", "race-s1-00049"},
        ),
        # A write-protected page is stored to without a fault.
        ({"wrprotects": False}, {"race-s1-00002", "race-s1-00021"}),
        # Marked before it is mapped: a report behind a store cannot lack it. 6.1's can.
        ({"dirty": "before_lock"}, {"race-s1-00049"}),
        ({"dirty": "before"}, {"race-s1-00049"}),
    ],
    ids=["losing side unmarked", "write-protect unseen", "marked before mapped", "as 5.10"],
)
def test_a_model_with_a_wrong_step_does_not(wrong: dict[str, object], scenarios: set[str]) -> None:
    assert diverging(**wrong) == scenarios
