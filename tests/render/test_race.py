# SPDX-License-Identifier: GPL-2.0-only
"""The C of race scenarios: a loop a block, a function a branch."""

from __future__ import annotations

from harness.generate.race import generate_race
from harness.render import render_batch, render_one
from reference_model import predict
from reference_model.language import load_text
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import Scenario

HEAD = """\
schema: 1
id: r
suite: race
vm: {vcpus: 2}
steps:
  - {op: slot_add, slot: 1, gpa: 0x80000000, size: 64K, backing: {prefill: true}, flags: [log_dirty]}
"""
BLOCK = """\
  - {op: read, gpa: 0x80004000}
  - parallel:
      - [{op: write, vcpu: 0, gpa: 0x80003000, value: 1}]
      - [{op: dirty_get, slot: 1}]
    repeat: 7
    hold: [0x80003000]
"""
GET = "  - {op: dirty_get, slot: 1}\n"


def made(text: str) -> Scenario:
    (scenario,) = load_text(text, "r.yaml")
    return scenario


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_slots_stand_before_the_loop_and_the_block_at_its_end() -> None:
    source = squeezed(render_one(made(HEAD + BLOCK + GET)))
    loop = "while (race_again(vm, 7, .from = 1, .pages = PAGES(0x80003000, 0x80004000))) {"
    assert loop in source
    assert source.index("slot_add(") < source.index(loop) < source.index("guest_read(")
    assert "BRANCHES(branch_2_0_of_test_r, branch_2_1_of_test_r)" in source
    assert "WORDS(0x80003000), HOLD(0x80003000), GOES_ON)" in source
    assert source.rindex("dirty_get(vm, 1)") > source.index("GOES_ON")


def test_a_last_block_may_be_read_after_its_last_repeat() -> None:
    assert "GOES_ON" not in render_one(made(HEAD + BLOCK))


def test_what_a_repeat_cannot_undo_is_made_anew() -> None:
    for text in (
        HEAD.replace("prefill: true", "prefill: true, thp: always") + BLOCK,
        HEAD.replace("{vcpus: 2}", "{vcpus: 2, manual_protect: init_set}") + BLOCK,
        HEAD + "  - {op: slot_delete, slot: 7}\n" + BLOCK,
    ):
        source = squeezed(render_one(made(text)))
        assert "while (race_again(vm, 7)) {" in source
        assert source.index("race_again") < source.index("slot_add(")


def test_a_second_block_makes_the_steps_before_it_again() -> None:
    source = render_one(made(HEAD + BLOCK + BLOCK))
    assert source.count("while (race_again(") == 2
    assert source.count("BRANCHES(branch_2_0_of_test_r") == 2
    assert "1, again" in source


def test_the_outcomes_are_counted_beside_the_block() -> None:
    scenario = made(HEAD + BLOCK)
    prediction = predict(scenario, PROFILES["v6.12"], Environment())
    count = len(prediction.steps[2].allowed)
    assert f"/* 2: {count} outcome" in render_one(scenario, prediction)


def test_generated_scenarios_have_a_c_form_with_short_lines() -> None:
    scenarios = [generate_race(3, index, repeat=2) for index in range(6)]
    source = render_batch(scenarios)
    assert max(len(line.expandtabs(8)) for line in source.splitlines()) <= 100
    assert all(f'"{scenario.id}"' in source for scenario in scenarios)
