# SPDX-License-Identifier: GPL-2.0-only
"""What is a match, and everything that is not."""

from __future__ import annotations

from typing import Any

import pytest

from harness.compare import judge
from harness.compare.judge import _short, pin_agrees
from harness.vocabulary import RunStatus, ScenarioRun, Verdict
from reference_model import scenario as sc
from reference_model.outcome import Observation, Prediction, StepPrediction
from reference_model.scenario import Expect, GuestScenario

STEPS = (sc.Read(gpa=0x8000_0000), sc.DirtyGet(slot=1))
MODEL = (
    Observation(ret=0, exit=None, data=1, faults=1),
    Observation(ret=0, dirty=(3, 4)),
)


def scenario(*pins: Expect) -> GuestScenario:
    return GuestScenario(schema=1, id="t", steps=STEPS, expect=pins)


def predicted(*steps: tuple[Observation, ...]) -> Prediction:
    return Prediction(
        id="t", profile="v6.12", steps=tuple(StepPrediction(allowed) for allowed in steps)
    )


def ran(*steps: Observation, status: RunStatus = RunStatus.DONE) -> ScenarioRun:
    return ScenarioRun(id="t", status=status, steps=steps)


MODELLED = predicted((MODEL[0],), (MODEL[1],))


def test_equal_is_a_match_and_names_its_channels() -> None:
    judgement = judge(scenario(), MODELLED, ran(*MODEL), "v6.12")
    assert judgement.verdict is Verdict.MATCH
    assert set(judgement.compared) == {"ret", "exit", "data", "faults", "dirty"}


@pytest.mark.parametrize(
    ("step", "change"),
    [
        (0, {"ret": -14}),
        (0, {"exit": {"reason": "mmio"}}),
        (0, {"data": 2}),
        (0, {"data": None}),
        (0, {"faults": 2}),
        (1, {"dirty": (3,)}),
        (1, {"dirty": (3, 4, 5)}),
    ],
)
def test_any_channel_of_any_step_can_diverge(step: int, change: dict[str, Any]) -> None:
    seen = list(MODEL)
    fields = {name: getattr(seen[step], name) for name in seen[step].__struct_fields__}
    seen[step] = Observation(**(fields | change))
    judgement = judge(scenario(), MODELLED, ran(*seen), "v6.12")
    assert judgement.verdict is Verdict.DIVERGE
    assert [(d.step, d.channel) for d in judgement.differences] == [(step, *change)]


def test_an_unread_channel_is_not_compared() -> None:
    seen = (Observation(ret=0, exit=None, data=1), MODEL[1])
    judgement = judge(scenario(), MODELLED, ran(*seen), "v6.12")
    assert judgement.verdict is Verdict.MATCH
    assert "faults" not in judgement.compared
    assert judgement.not_compared == ("faults",)


def test_nothing_read_is_never_a_match() -> None:
    judgement = judge(scenario(), MODELLED, ran(Observation(), Observation()), "v6.12")
    assert judgement.verdict is Verdict.INFRA


def test_one_allowed_outcome_must_agree_as_a_whole() -> None:
    either = predicted(
        (Observation(ret=0, data=1), Observation(ret=-14, data=2)), (Observation(dirty=()),)
    )
    good = ran(Observation(ret=-14, data=2), Observation(dirty=()))
    mixed = ran(Observation(ret=0, data=2), Observation(dirty=()))
    assert judge(scenario(), either, good, "v6.12").verdict is Verdict.MATCH
    assert judge(scenario(), either, mixed, "v6.12").verdict is Verdict.DIVERGE


def test_missing_steps_are_infra() -> None:
    assert judge(scenario(), MODELLED, ran(MODEL[0]), "v6.12").verdict is Verdict.INFRA


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (RunStatus.CRASH, Verdict.CRASH),
        (RunStatus.HANG, Verdict.HANG),
        (RunStatus.INFRA, Verdict.INFRA),
        (RunStatus.SKIP, Verdict.SKIP),
    ],
)
def test_what_did_not_end_well_is_said(status: RunStatus, verdict: Verdict) -> None:
    assert judge(scenario(), MODELLED, ran(status=status), "v6.12").verdict is verdict


def test_a_pin_is_held_against_kernel_and_model() -> None:
    pin = Expect(steps=({"data": 7},), why="falsified")
    judgement = judge(scenario(pin), MODELLED, ran(*MODEL), "v6.12")
    assert judgement.verdict is Verdict.DIVERGE
    assert {d.against for d in judgement.differences} == {"pinned", "model-pinned"}


def test_a_pin_of_another_profile_does_not_count() -> None:
    pin = Expect(steps=({"data": 7},), why="for 5.10", profile="v5.10")
    assert judge(scenario(pin), MODELLED, ran(*MODEL), "v6.12").verdict is Verdict.MATCH


def test_a_pin_of_several_profiles_counts_in_each() -> None:
    pin = Expect(steps=({"data": 7},), why="for two", profile=("v6.1", "v6.12"))
    for profile, verdict in (
        ("v5.10", Verdict.MATCH),
        ("v6.1", Verdict.DIVERGE),
        ("v6.12", Verdict.DIVERGE),
    ):
        assert judge(scenario(pin), MODELLED, ran(*MODEL), profile).verdict is verdict


def test_pins_name_the_keys_that_count() -> None:
    exit_ = {"reason": "mmio", "gpa": 0x1000, "len": 8}
    assert pin_agrees({"reason": "mmio"}, exit_)
    assert pin_agrees("mmio", exit_)
    assert not pin_agrees({"gpa": 0x2000}, exit_)
    assert not pin_agrees(None, exit_)
    assert pin_agrees([3], [3])
    assert not pin_agrees([3], [3, 4])


def test_counts_are_told_in_words() -> None:
    assert _short("cmo", {"dcache": 4, "icache": 0}) == "dcache 4 icache 0"
    assert _short("ret", -11) == "-EAGAIN"


def test_a_crash_that_the_kernel_survived_shows_what_differed_beside_it() -> None:
    crash = judge(scenario(), MODELLED, ran(*MODEL, status=RunStatus.CRASH), "v6.12")
    assert (crash.verdict, crash.differences) == (Verdict.CRASH, ())
    assert "dirty" in crash.compared
    other = (MODEL[0], Observation(ret=0, dirty=(3,)))
    crash = judge(scenario(), MODELLED, ran(*other, status=RunStatus.CRASH), "v6.12")
    assert crash.verdict is Verdict.CRASH
    assert [one.channel for one in crash.differences] == ["dirty"]
    assert crash.reason == "crash"


def test_a_crash_in_the_middle_is_compared_with_nothing() -> None:
    crash = judge(scenario(), MODELLED, ran(MODEL[0], status=RunStatus.CRASH), "v6.12")
    assert (crash.verdict, crash.differences, crash.compared) == (Verdict.CRASH, (), ())
