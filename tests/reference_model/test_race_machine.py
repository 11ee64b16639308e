# SPDX-License-Identifier: GPL-2.0-only
"""Race scenarios from text to sets of outcomes."""

from __future__ import annotations

import json

import msgspec
import pytest

from reference_model import predict
from reference_model.documents import ScenarioError
from reference_model.interleave_knobs import RACE_KNOBS
from reference_model.language import dump_yaml, load_text
from reference_model.outcome import After, Outcome, Prediction, to_json
from reference_model.profiles import PROFILES, Environment
from reference_model.race_machine import predict_race
from reference_model.scenario import RaceScenario
from reference_model.unpredictable import UnpredictableError

HEAD = """\
schema: 1
id: r
suite: race
vm: {vcpus: 2}
steps:
  - {op: slot_add, slot: 1, gpa: 0x80000000, size: 64K, backing: {prefill: true}, flags: [log_dirty]}
"""
STORES = """\
  - parallel:
      - [{op: write, vcpu: 0, gpa: 0x80003000, value: 1}]
      - [{op: write, vcpu: 1, gpa: 0x80003000, value: 2}]
    repeat: 200
"""


def scenario(steps: str, head: str = HEAD) -> RaceScenario:
    (loaded,) = load_text(head + steps, "r.yaml")
    assert isinstance(loaded, RaceScenario)
    return loaded


def predicted(steps: str, profile: str = "v6.12", head: str = HEAD) -> Prediction:
    return predict(scenario(steps, head), PROFILES[profile], Environment())


def outcomes(prediction: Prediction, step: int = 1) -> list[Outcome]:
    found = [one.outcome for one in prediction.steps[step].allowed]
    assert all(isinstance(one, Outcome) for one in found)
    return [one for one in found if isinstance(one, Outcome)]


def after(outcome: Outcome) -> After:
    assert isinstance(outcome.after, After)
    return outcome.after


@pytest.mark.parametrize("profile", list(PROFILES))
def test_two_stores_leave_one_of_two_words_and_one_mark(profile: str) -> None:
    found = outcomes(predicted(STORES, profile))
    assert {after(one).memory for one in found} == {((0x8000_3000, 1),), ((0x8000_3000, 2),)}
    assert [after(one).dirty for one in found] == [{"1": (3,)}] * 2


def test_the_last_repeat_is_what_the_steps_behind_see() -> None:
    prediction = predicted(
        STORES + "  - {op: dirty_get, slot: 1}\n  - {op: read, gpa: 0x80003000}\n"
    )
    assert [one.dirty for one in prediction.steps[2].allowed] == [(3,)]
    assert {one.data for one in prediction.steps[3].allowed} == {1, 2}
    assert all(one.faults is msgspec.UNSET for one in prediction.steps[3].allowed)


def test_two_blocks_in_a_row_start_from_every_state_of_the_first() -> None:
    second = STORES.replace("value: 1", "value: 3").replace(
        "{op: write, vcpu: 1", "{op: read, vcpu: 1"
    )
    second = second.replace(", value: 2", "")
    prediction = predicted(STORES + second)
    assert {one.branches[1][0].data for one in outcomes(prediction, 2)} == {1, 2, 3}


def test_without_a_log_nothing_is_dirty() -> None:
    found = outcomes(predicted(STORES, head=HEAD.replace(", flags: [log_dirty]", "")))
    assert [after(one).dirty for one in found] == [{}, {}]


def test_an_access_beside_the_slots_is_mmio_whatever_happens() -> None:
    found = outcomes(predicted(STORES.replace("0x80003000, value: 2", "0x90000000, value: 2")))
    (one,) = found
    assert one.branches[1][0].exit == {
        "reason": "mmio", "gpa": 0x9000_0000, "len": 8, "write": True, "data": 2
    }  # fmt: skip
    assert after(one).memory == ((0x8000_3000, 1),)


def test_a_held_page_changes_no_outcome() -> None:
    held = STORES + "    hold: [0x80003000]\n"
    assert predicted(held).steps[1] == predicted(STORES).steps[1]


@pytest.mark.parametrize("prot", ["r", "none"])
def test_a_protected_page_ends_accesses_with_efault(prot: str) -> None:
    """A store before it is there, one after it is refused; the steps behind see it protected."""
    steps = f"""\
  - parallel:
      - [{{op: write, vcpu: 0, gpa: 0x80003800, value: 1}}]
      - [{{op: mprotect, gpa: 0x80003000, size: 4K, prot: {prot}}}]
  - {{op: write, vcpu: 0, gpa: 0x80003800, value: 2}}
"""
    prediction = predicted(steps, head=HEAD.replace(", backing: {prefill: true}", ""))
    told = {(one.branches[0][0].ret, after(one).memory[0][1]) for one in outcomes(prediction)}
    assert told == {(0, 1), (-14, 0)}
    assert {one.ret for one in prediction.steps[2].allowed} == {-14}


def test_what_the_model_does_not_follow_is_said() -> None:
    with pytest.raises(UnpredictableError, match="does not follow punch_hole in a block"):
        predicted(STORES.replace("{op: write, vcpu: 1, gpa: 0x80003000, value: 2}",
                                 "{op: punch_hole, gpa: 0x80003000, size: 4K}"))  # fmt: skip
    with pytest.raises(UnpredictableError, match="both writes and calls"):
        predicted(STORES.replace("{op: write, vcpu: 1, gpa: 0x80003000, value: 2}",
                                 "{op: exec, vcpu: 1, gpa: 0x80003000}"))  # fmt: skip


def test_json_has_one_object_an_outcome() -> None:
    plain = json.loads(json.dumps(to_json(predicted(STORES))))
    assert plain["steps"][1]["allowed"][0] == {
        "outcome": {
            "branches": [[{"ret": 0, "exit": None, "injected": None}]] * 2,
            "after": {"dirty": {"1": [3]}, "memory": [[0x8000_3000, 1]]},
        }
    }


def test_yaml_goes_both_ways() -> None:
    made = scenario(STORES + "    hold: [0x80003000]\n")
    assert load_text(dump_yaml(made), "again.yaml") == [made]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (STORES.replace("vcpu: 1", "vcpu: 0"), "vcpu 0 is in branches 0 and 1"),
        (STORES.replace("vcpu: 1", "vcpu: 2"), "vcpu 2 does not exist"),
        (STORES.replace("repeat: 200", "repeat: 0"), "repeat"),
        (STORES.replace("repeat: 200", "repeats: 2"), "unknown key 'repeats'"),
        ("  - parallel: [{op: read, gpa: 0}]\n", "list of lists"),
        ("  - parallel: [[]]\n", "branch 0 is empty"),
        ("  - parallel: [[{op: slot_delete, slot: 1}]]\n", "slot_delete cannot be part of a block"),
        ("  - parallel: [[{parallel: [[{op: read, gpa: 0}]]}]]\n", "holds no other"),
        (
            "  - {parallel: [[{op: madvise, gpa: 0x80003000, size: 4K}]], hold: [0x80003000]}\n",
            "meets a page of 'hold'",
        ),
        ("  - parallel: [[{op: raed, gpa: 0}]]\n", "did you mean 'read'"),
    ],
)
def test_errors_name_the_step_and_the_mend(steps: str, words: str) -> None:
    with pytest.raises(ScenarioError) as error:
        scenario(steps)
    assert words in str(error.value)
    assert "step 1" in str(error.value)


def test_parallel_belongs_to_this_suite() -> None:
    with pytest.raises(ScenarioError, match="belongs to suite 'race'"):
        scenario(STORES, HEAD.replace("suite: race", "suite: guest"))


def test_a_model_with_a_wrong_step_predicts_otherwise() -> None:
    """What it forbids is what right kernels do: each of the three shows in this scenario."""
    steps = """\
  - {op: write, vcpu: 0, gpa: 0x80003000, value: 1}
  - {op: dirty_get, slot: 1}
  - parallel:
      - [{op: write, vcpu: 0, gpa: 0x80003000, value: 2}]
      - [{op: dirty_get, slot: 1}, {op: host_read, gpa: 0x80003000}]
    repeat: 200
"""
    made = scenario(steps)
    right = set(map(repr, predicted(steps).steps[3].allowed))
    for wrong in ({"relax_marks": False}, {"dirty": "before_lock"}, {"wrprotects": False}):
        knobs = msgspec.structs.replace(RACE_KNOBS["v6.12"], **wrong)
        broken = predict_race(made, PROFILES["v6.12"], Environment(), knobs)
        assert set(map(repr, broken.steps[3].allowed)) != right
