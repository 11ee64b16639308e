# SPDX-License-Identifier: GPL-2.0-only
"""Race scenarios: repeatable, valid, known to the model, and not all alike."""

from __future__ import annotations

from harness.generate import generate
from harness.generate.race_table import CROWDS, crowds, row_scenario, rows
from reference_model import predict
from reference_model.language import dump_yaml, load_text
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import Parallel, RaceScenario

SOME = [one for one in generate("race", 25, 5) if isinstance(one, RaceScenario)]


def blocks(scenarios: list[RaceScenario]) -> list[Parallel]:
    return [step for one in scenarios for step in one.steps if isinstance(step, Parallel)]


def test_the_same_seed_gives_the_same_scenarios() -> None:
    assert list(generate("race", 5, 5)) == SOME[:5]


def test_what_is_generated_loads_and_is_predicted_by_every_profile() -> None:
    for scenario in SOME:
        assert load_text(dump_yaml(scenario), "x.yaml") == [scenario]
        for profile in PROFILES.values():
            assert not predict(scenario, profile, Environment()).skip


def test_blocks_are_repeated_and_differ() -> None:
    made = blocks(SOME)
    assert len(made) == len(SOME)
    assert {block.repeat for block in made} == {200}
    assert len({len(block.parallel) for block in made}) > 2
    assert {op.name for block in made for branch in block.parallel for op in branch} >= {
        "read", "write", "exec", "dirty_get", "madvise"
    }  # fmt: skip
    assert any(block.hold for block in made)


def test_the_table_has_every_pair_in_every_state() -> None:
    table = list(rows(2))
    assert len({row.ident for row in table}) == len(table)
    assert len({(row.first, row.second) for row in table}) == 6
    assert {(row.logged, row.block, row.state) for row in table} == {
        (logged, block, state)
        for logged in (False, True)
        for block in (False, True)
        for state in ("absent", "writable", "read-only")
        if not (logged and block and state == "writable")
    }


def test_rows_and_crowds_are_predicted() -> None:
    scenarios = [row_scenario(row, 4) for count in (2, 4) for row in rows(count)]
    for scenario in (*scenarios, *crowds(4)):
        prediction = predict(scenario, PROFILES["v6.12"], Environment())
        assert prediction.steps[-1].allowed
    assert max(scenario.vm.vcpus for scenario in crowds(1)) == max(CROWDS) == 16
