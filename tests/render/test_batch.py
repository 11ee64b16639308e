# SPDX-License-Identifier: GPL-2.0-only
"""The rendered C as a person reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.render import render_batch, render_one
from harness.vocabulary import UsageError
from reference_model import scenario as sc
from reference_model.language import load_text
from reference_model.outcome import Observation, Prediction, StepPrediction
from reference_model.scenario import GuestScenario

_HERE = Path(__file__).parent / "golden"


def _scenarios(name: str) -> list[sc.Scenario]:
    path = _HERE / f"{name}.yaml"
    return load_text(path.read_text(), path.name)


def _predicted(*steps: Observation | tuple[Observation, ...]) -> Prediction:
    allowed = [step if isinstance(step, tuple) else (step,) for step in steps]
    return Prediction(id="x", profile="v6.12", steps=tuple(StepPrediction(one) for one in allowed))


def _guest(*steps: sc.GuestOp, ident: str = "x", title: str = "") -> GuestScenario:
    return GuestScenario(schema=1, id=ident, title=title, steps=steps)


@pytest.mark.parametrize("name", ["every-op", "two", "whole-language"])
def test_golden(name: str) -> None:
    assert render_batch(_scenarios(name)) == (_HERE / f"{name}.c").read_text()


def test_golden_with_expectations() -> None:
    """As ``harness render --profile`` prints it; the prediction is written out by hand."""
    (scenario,) = _scenarios("expected")
    mmio = {"reason": "mmio", "gpa": 0x9000_0000, "len": 8, "write": False}
    prediction = _predicted(
        Observation(ret=0),
        Observation(ret=0, exit=None, faults=1, maps=(("map", 0x8000_3000, 4096, 7, 0),)),
        Observation(ret=0, dirty=(0, 1, 2, 3, 7)),
        (Observation(ret=0, data=0x11), Observation(ret=-14, data=None)),
        Observation(ret=0, exit=mmio, data=0x5A5A, faults=1),
        Observation(ret=0, injected={"ec": "iabt", "fsc": 16, "far": 1}, data=None),
        Observation(ret=0, faults=2, maps=(("relax", 0x8000_3000, 7, -11),)),
    )
    assert render_one(scenario, prediction) == (_HERE / "expected.c").read_text()


def test_render_one_is_the_batch_of_one() -> None:
    """What a person reads is what runs."""
    scenario = _scenarios("two")[0]
    assert render_one(scenario) == render_batch([scenario])


def test_long_dirty_set_is_cut_in_the_comment() -> None:
    prediction = _predicted(Observation(ret=0, dirty=tuple(range(0, 600, 2))))
    source = render_one(_guest(sc.DirtyGet(slot=1)), prediction)
    assert "dirty { 0, 2, 4, 6, 8, 10, ... }" in source


def test_skip_is_said_on_top() -> None:
    prediction = Prediction(id="x", profile="v5.10", skip="vm.ipa_bits 52 is over the limit")
    source = render_one(_guest(sc.DirtyGet(slot=1)), prediction)
    assert "profile v5.10 skips it: vm.ipa_bits 52 is over the limit" in source


def test_num_pages_that_no_ioctl_holds() -> None:
    """TO_SLOT_END is the largest u64; a scenario that says that number means that number."""
    source = render_one(_guest(sc.DirtyClear(slot=1, num_pages=(1 << 64) - 1)))
    assert "dirty_clear(vm, 1, 0, UINT32_MAX, ALL_PAGES);" in source


def test_ids_that_fold_to_one_name_stay_apart() -> None:
    step = sc.DirtyGet(slot=1)
    source = render_batch([_guest(step, ident="a.b"), _guest(step, ident="a-b")])
    assert '{ "a.b", test_a_b },' in source
    assert '{ "a-b", test_a_b_2 },' in source


def test_number_over_64_bits_names_scenario_and_step() -> None:
    scenario = _guest(sc.DirtyGet(slot=1), sc.DirtyClear(slot=1, first_page=1 << 64))
    with pytest.raises(UsageError, match=r"'x': step 1 \(dirty_clear\): first_page .* 64 bits"):
        render_one(scenario)


def test_no_two_of_one_id() -> None:
    scenario = _guest(sc.DirtyGet(slot=1))
    with pytest.raises(UsageError, match="'x' stands twice"):
        render_batch([scenario, scenario])


def test_no_empty_batch() -> None:
    with pytest.raises(UsageError, match="at least one"):
        render_batch([])


def test_one_suite_a_batch() -> None:
    pgtable = sc.PgtableScenario(schema=1, id="p", steps=(sc.GetLeaf(ipa=0),))
    with pytest.raises(UsageError, match="one suite, not guest and pgtable"):
        render_batch([_guest(sc.DirtyGet(slot=1)), pgtable])


def test_flavours() -> None:
    scenario = _guest(sc.DirtyGet(slot=1))
    with pytest.raises(UsageError, match="harness repro"):
        render_one(scenario, flavour="upstream")
    with pytest.raises(UsageError, match="no flavour 'pretty'"):
        render_one(scenario, flavour="pretty")
