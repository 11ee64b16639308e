# SPDX-License-Identifier: GPL-2.0-only
"""Channel stats: what a step adds to KVM's own counters."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from harness.compare import judge
from harness.vocabulary import RunStatus, ScenarioRun, Verdict
from reference_model import predict
from reference_model import scenario as sc
from reference_model.outcome import Observation
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import GuestScenario

BASE, PAGE = 0x8000_0000, 0x1000
ADD = sc.SlotAdd(slot=1, gpa=BASE, size=0x4_0000, backing=sc.Backing(prefill=True))
LOG = sc.SlotFlags(slot=1, flags=("log_dirty",))
WRITE = sc.Write(gpa=BASE, value=1)


def guest(*steps: sc.GuestOp, **vm: Any) -> GuestScenario:
    return GuestScenario(schema=1, id="t", steps=steps, vm=sc.VmConfig(**vm))


def last(scenario: GuestScenario, profile: str) -> dict[str, int]:
    stats = predict(scenario, PROFILES[profile], Environment()).steps[-1].allowed[0].stats
    assert stats is not UNSET
    return stats


@pytest.mark.parametrize(
    ("op", "exits"),
    [
        (sc.Read(gpa=BASE), 0),
        (sc.Read(gpa=0x5000_0000), 1),
        (sc.Write(gpa=0x5000_0000, value=1), 1),
        (sc.Write(gpa=0x5000_0000, value=1, form="pair"), 0),
        (sc.Exec(gpa=0x5000_0000), 0),
        (sc.DcZva(gpa=0x5000_0000), 0),
        (sc.At(gpa=0x5000_0000), 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("nisv", [False, True])
def test_exits_for_mmio_are_those_to_userspace(op: sc.GuestOp, exits: int, nisv: bool) -> None:
    seen = last(guest(ADD, op, nisv_to_user=nisv), "v6.12")
    assert seen == {"mmio_exit_user": exits, "mmio_exit_kernel": 0}


GET, MOVE = sc.DirtyGet(slot=1), sc.SlotMove(slot=1, gpa=0x9000_0000)


@pytest.mark.parametrize(
    ("steps", "vm", "old", "new"),
    [
        ((LOG,), {}, 1, 0),
        ((LOG,), {"manual_protect": "init_set"}, 0, 0),
        ((LOG, LOG), {}, 0, 0),
        ((LOG, sc.SlotFlags(slot=1)), {}, 0, 0),
        ((LOG, GET), {}, 0, 0),
        ((LOG, WRITE, GET), {}, 1, 0),
        ((LOG, WRITE, GET), {"manual_protect": True}, 0, 0),
        ((LOG, WRITE, sc.DirtyClear(slot=1)), {"manual_protect": True}, 1, 0),
        ((LOG, sc.DirtyClear(slot=1)), {"manual_protect": True}, 0, 0),
        ((LOG, WRITE, sc.DirtyClear(slot=1, pages=(5,))), {"manual_protect": True}, 0, 0),
        ((LOG, MOVE), {}, 1, 0),
        ((MOVE,), {}, 0, 0),
        ((WRITE, sc.Age(gpa=BASE, size=2 * PAGE)), {}, 1, 1),
        ((WRITE, sc.Age(gpa=BASE, size=PAGE), sc.Age(gpa=BASE, size=PAGE)), {}, 0, 0),
    ],
)
def test_flushes_by_kernel(
    steps: tuple[sc.GuestOp, ...], vm: dict[str, Any], old: int, new: int
) -> None:
    scenario = guest(ADD, *steps, **vm)
    for profile, count in (("v6.1", old), ("v6.12", new), ("v7.2", new)):
        assert last(scenario, profile) == {"remote_tlb_flush_requests": count}


@pytest.mark.parametrize(
    ("steps", "vm", "ranges"),
    [
        ((LOG,), {}, ((BASE, 0x4_0000),)),
        ((LOG,), {"manual_protect": "init_set"}, ()),
        ((LOG, GET), {}, ()),
        ((LOG, WRITE, GET), {}, ((BASE, 0x4_0000),)),
        ((LOG, WRITE, sc.DirtyClear(slot=1)), {"manual_protect": True}, ((BASE, 0x4_0000),)),
        ((LOG, WRITE, sc.DirtyClear(slot=1, pages=(5,))), {"manual_protect": True}, ()),
        ((LOG, MOVE), {}, ((0x9000_0000, 0x4_0000),)),
        ((WRITE, sc.Age(gpa=BASE, size=PAGE)), {}, ()),
    ],
)
def test_of_which_ranges_since_6_6(
    steps: tuple[sc.GuestOp, ...], vm: dict[str, Any], ranges: tuple[tuple[int, int], ...]
) -> None:
    scenario = guest(ADD, *steps, **vm)
    for profile, flushed in (("v6.1", ()), ("v6.12", ranges), ("v7.2", ranges)):
        seen = predict(scenario, PROFILES[profile], Environment()).steps[-1].allowed[0]
        assert seen.flushes == flushed
    wrong = predict(guest(ADD, WRITE), PROFILES["v6.12"], Environment()).steps[-1].allowed[0]
    assert wrong.flushes is UNSET


@pytest.mark.parametrize(("profile", "old"), [("v6.1", [True]), ("v6.12", [True] * 2)])
def test_what_a_huge_page_would_fill_is_aged_at_once(profile: str, old: list[bool]) -> None:
    block = sc.Backing(thp="madvise", prefill=True)
    add = msgspec.structs.replace(ADD, size=0x20_0000, backing=block, flags=("log_dirty",))
    other = sc.Write(gpa=BASE + 5 * PAGE, value=1)
    age = sc.Age(gpa=BASE, size=0x20_0000)
    prediction = predict(guest(add, WRITE, other, age), PROFILES[profile], Environment())
    seen = prediction.steps[-1].allowed[0]
    assert seen.leaves is not UNSET
    assert [not young for *_, young, _, _ in seen.leaves if not young] == old
    assert seen.stats == {"remote_tlb_flush_requests": 1}


def test_a_ring_is_reset_with_a_flush_where_it_held_something() -> None:
    reset = sc.RingReset()
    empty = guest(ADD, LOG, reset, dirty_ring=1024)
    full = guest(ADD, LOG, WRITE, reset, dirty_ring=1024)
    again = guest(ADD, LOG, WRITE, reset, reset, dirty_ring=1024)
    counts = [last(one, "v6.12")["remote_tlb_flush_requests"] for one in (empty, full, again)]
    assert counts == [0, 1, 0]


def test_a_block_is_aged_once() -> None:
    block = sc.Backing(thp="madvise", prefill=True)
    add = msgspec.structs.replace(ADD, size=0x20_0000, backing=block)
    age = sc.Age(gpa=BASE, size=4 * PAGE)
    assert last(guest(add, WRITE, age), "v6.12") == {"remote_tlb_flush_requests": 1}


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ((ADD, LOG), {"remote_tlb_flush_requests": 0}),
        ((ADD, sc.Read(gpa=0x5000_0000)), {"mmio_exit_user": 2, "mmio_exit_kernel": 0}),
        ((ADD, sc.Read(gpa=BASE)), {"mmio_exit_user": 0, "mmio_exit_kernel": 1}),
    ],
)
def test_a_wrong_counter_diverges_and_an_absent_one_is_not_compared(
    steps: tuple[sc.GuestOp, ...], wrong: dict[str, int]
) -> None:
    scenario = guest(*steps)
    prediction = predict(scenario, PROFILES["v6.1"], Environment())
    right = [step.allowed[0] for step in prediction.steps]

    def verdict(seen: Observation) -> Verdict:
        run = ScenarioRun(id="t", status=RunStatus.DONE, steps=(*right[:-1], seen))
        return judge(scenario, prediction, run, "v6.1").verdict

    assert verdict(right[-1]) is Verdict.MATCH
    assert verdict(msgspec.structs.replace(right[-1], stats=UNSET)) is Verdict.MATCH
    assert verdict(msgspec.structs.replace(right[-1], stats=wrong)) is Verdict.DIVERGE
