# SPDX-License-Identifier: GPL-2.0-only
"""Rounds: what a campaign of some hundred scenarios is sure to have, because of them."""

from __future__ import annotations

from random import Random

import pytest
from msgspec import UNSET, UnsetType

from harness.generate import generate
from harness.generate.guest_rounds import Rounds
from harness.generate.guest_vm import BLOCK, PAGE, SketchSlot
from harness.generate.predictable import predictable
from reference_model import predict
from reference_model import scenario as sc
from reference_model.guest_rows import rows
from reference_model.outcome import LeafRun
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import GuestOp, GuestScenario


def _drawn(slot: sc.SlotAdd, vm: sc.VmConfig, seed: int) -> GuestScenario:
    steps: list[GuestOp] = [slot]
    random = Random(seed)
    pages = slot.size // PAGE
    Rounds(random, vm, steps, lambda _: random.randrange(pages)).draw(SketchSlot(slot.slot, slot))
    return predictable(GuestScenario(schema=1, id=f"t-{seed}", vm=vm, steps=tuple(steps)))


def _slot(**more: object) -> sc.SlotAdd:
    given: dict[str, object] = {"slot": 1, "gpa": 0x8000_0000, "size": 0x8_0000, **more}
    return sc.SlotAdd(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("slot", "vm", "row"),
    [
        (_slot(flags=("log_dirty",)), sc.VmConfig(), "(T5, T8)"),
        (
            _slot(flags=("log_dirty",)),
            sc.VmConfig(dirty_ring=1024, ring_bitmap=True),
            "log: ring harvested and protected",
        ),
        (_slot(backing=sc.Backing(kind="memfd", prefill=True)), sc.VmConfig(), "continues"),
        (
            _slot(size=BLOCK, backing=sc.Backing(thp="madvise", prefill=True)),
            sc.VmConfig(),
            "host: collapse takes pages",
        ),
        (
            _slot(size=BLOCK, backing=sc.Backing(thp="madvise", prefill=True)),
            sc.VmConfig(),
            "fault: logged write breaks a block (T10)",
        ),
    ],
)
def test_a_round_does_what_it_is_for(slot: sc.SlotAdd, vm: sc.VmConfig, row: str) -> None:
    """Some of a few rounds of such a slot reach the row, and all can be predicted."""
    profile, env = PROFILES["v7.2"], Environment()
    reached: set[str] = set()
    for seed in range(30):
        scenario = _drawn(slot, vm, seed)
        assert not predict(scenario, profile, env).skip
        reached |= rows(scenario, profile, env)
    assert any(row in name for name in reached), sorted(reached)


def test_a_page_is_stored_to_reported_and_stored_to_again_behind_the_first_word() -> None:
    """What a log that does not clear, or does not protect, beyond 64 pages is found by."""
    again = 0
    for seed in range(60):
        scenario = _drawn(_slot(flags=("log_dirty",)), sc.VmConfig(), seed)
        reports = [at for at, step in enumerate(scenario.steps) if isinstance(step, sc.DirtyGet)]
        if len(reports) != 2:
            continue
        stores = [
            {(s.gpa - 0x8000_0000) // PAGE for s in part if isinstance(s, sc.Write)}
            for part in (scenario.steps[: reports[0]], scenario.steps[reports[0] : reports[1]])
        ]
        again += any(page >= 64 for page in stores[0] & stores[1])
    assert again > 10


def test_nothing_for_a_device() -> None:
    scenario = _drawn(_slot(backing=sc.Backing(kind="device")), sc.VmConfig(), 1)
    assert len(scenario.steps) == 1


def test_what_splits_blocks_has_some_to_split() -> None:
    drawn = generate("guest", 600, 3)
    vms = [one for one in drawn if isinstance(one, GuestScenario) and one.vm.eager_split]
    split = 0
    for one in vms:
        seen = predict(one, PROFILES["v6.12"], Environment()).steps
        blocks = [_blocks(step.allowed[0].leaves) for step in seen]
        logs = (sc.SlotFlags, sc.DirtyClear)
        split += any(
            isinstance(op, logs) and blocks[at] < blocks[at - 1] for at, op in enumerate(one.steps)
        )
    assert split > len(vms) / 4


def _blocks(leaves: tuple[LeafRun, ...] | UnsetType) -> int:
    return sum(run[7] for run in leaves if run[1] == 0x20_0000) if leaves is not UNSET else 0
