# SPDX-License-Identifier: GPL-2.0-only
"""Steps with more than one right outcome."""

from __future__ import annotations

import itertools

import pytest

from reference_model import predict
from reference_model import scenario as sc
from reference_model.choice import Chooser
from reference_model.guest_machine import UnpredictableError
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import GuestScenario

BASE = 0x8000_0000
ADD = sc.SlotAdd(
    slot=1, gpa=BASE, size=0x1_0000, backing=sc.Backing(prefill=True), flags=("log_dirty",)
)


def test_every_way_is_gone_once() -> None:
    seen = []
    scripts: list[tuple[int, ...]] = [()]
    chooser = Chooser()
    while scripts:
        chooser.start(scripts.pop())
        first = chooser.pick(2)
        seen.append((first, chooser.pick(3) if first else 0))
        scripts += chooser.others()
    assert sorted(seen) == [(0, 0), *itertools.product([1], range(3))]


def allowed(*steps: sc.GuestOp, profile: str = "v6.12") -> list[set[int]]:
    scenario = GuestScenario(schema=1, id="t", steps=steps)
    prediction = predict(scenario, PROFILES[profile], Environment())
    return [{int(seen.faults) for seen in step.allowed} for step in prediction.steps]  # type: ignore[arg-type]


def test_a_compare_and_swap_aborts_as_a_read_or_as_a_write() -> None:
    cas = sc.Cas(gpa=BASE, expected=0xD65F_03C0_5280_0000, value=1)
    assert allowed(ADD, cas, sc.Read(gpa=BASE), sc.DirtyGet(slot=1)) == [{0}, {1, 2}, {0}, {0}]


def test_one_that_fails_may_leave_the_page_protected() -> None:
    cas = sc.Cas(gpa=BASE, expected=3, value=1)
    steps = allowed(ADD, cas, sc.Write(gpa=BASE, value=1))
    assert steps == [{0}, {1, 2}, {0, 1}]


def test_states_that_became_equal_are_one() -> None:
    cas = sc.Cas(gpa=BASE, expected=0, value=1)
    writes = [step for _ in range(20) for step in (cas, sc.Write(gpa=BASE, value=1))]
    assert allowed(ADD, *writes)[-1] == {0}


def test_too_many_states_are_refused() -> None:
    many = [sc.Cas(gpa=BASE + page * 0x1000, expected=3, value=1) for page in range(8)]
    with pytest.raises(UnpredictableError, match="more than 64 ways"):
        allowed(ADD, *many)
