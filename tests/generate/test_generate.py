# SPDX-License-Identifier: GPL-2.0-only
"""Generation: the same seed, the same scenarios, in any count; and what a seed covers."""

from __future__ import annotations

import typing

import pytest

from harness.generate import generate
from harness.generate.predictable import predictable
from harness.vocabulary import UsageError
from reference_model import scenario as sc
from reference_model.language import dump_yaml
from reference_model.validate import check

SUITES = ["guest"]


@pytest.mark.parametrize("suite", SUITES)
def test_same_seed_same_scenarios(suite: str) -> None:
    assert list(generate(suite, 20, 4)) == list(generate(suite, 20, 4))
    assert list(generate(suite, 20, 4)) == list(generate(suite, 40, 4))[:20]
    assert list(generate(suite, 20, 4)) != list(generate(suite, 20, 5))


def test_the_bytes_of_a_seed_do_not_change_unnoticed() -> None:
    first = dump_yaml(next(generate("guest", 1, 1)))
    assert first.startswith("schema: 1\nid: guest-s1-00000\nsuite: guest\n")
    assert "op: slot_add" in first


@pytest.mark.parametrize("suite", SUITES)
def test_all_are_valid_and_ids_unique(suite: str) -> None:
    scenarios = list(generate(suite, 300, 2))
    assert all(check(scenario) is None for scenario in scenarios)
    assert len({scenario.id for scenario in scenarios}) == 300


def test_every_operation_of_the_guest_suite_comes_up() -> None:
    seen = {step.name for scenario in generate("guest", 600, 1) for step in scenario.steps}
    every = {str(op.__struct_config__.tag) for op in typing.get_args(sc.GuestOp)}
    assert seen == every


def test_what_the_language_refuses_is_left_out() -> None:
    """A slot can be moved to where the guest's own tables do not reach."""
    steps = (
        sc.SlotAdd(slot=3, gpa=0x8000_0000, size=0x1_0000, backing=sc.Backing(prefill=True)),
        sc.Stage1Tables(gpa=0x8000_0000),
        sc.Read(gpa=0xFF_FFFF_8000, tables=0x8000_0000),
        sc.Read(gpa=0x8000_8000, tables=0x8000_0000),
    )
    kept = predictable(sc.GuestScenario(schema=1, id="t", steps=steps)).steps
    assert kept == steps[:2] + steps[3:]


def test_a_walk_beyond_the_ipa_size_is_left_out() -> None:
    """Each would hang a 7.2 until the time limit."""
    scenario = sc.GuestScenario(
        schema=1,
        id="t",
        steps=(
            sc.SlotAdd(slot=3, gpa=0x8000_0000, size=0x1_0000, backing=sc.Backing(prefill=True)),
            sc.HostWrite(gpa=0x8000_0000, size=4, value=0x7FF5_43E7),
            sc.At(gpa=0x8000_E008, tables=0x8000_0000),
            sc.Read(gpa=0x8000_E008, tables=0x8000_0000),
            sc.Read(gpa=1 << 40),
            sc.Read(gpa=0x8000_E008, tables=0x9000_0000),
            sc.Exec(gpa=0x8000_E008, tables=0x8000_0000),
            sc.Stage1Tables(gpa=0x8000_0000),
            sc.Read(gpa=0x8000_E008, tables=0x8000_0000),
        ),
    )
    kept = predictable(scenario).steps
    assert kept == tuple(scenario.steps[number] for number in (0, 1, 4, 5, 7, 8))


def test_unknown_suite_is_named() -> None:
    with pytest.raises(UsageError, match="no generator for suite 'nope'"):
        list(generate("nope", 1, 1))
