# SPDX-License-Identifier: GPL-2.0-only
"""What must hold for guests on every kernel: an oracle beside the prediction, of no profile.

It follows what the scenario did, and asks of the observations alone:

I1, nothing lost: every page that the guest wrote into a dirty-logged slot is in the next report of
that slot, bitmap or ring, as Documentation/virt/kvm/api.rst promises for live migration. What the
host wrote itself is the host's to remember, and no promise of KVM.
I2, data: a load gives what guest or host last stored there, through eviction, splitting, moves and
whatever else happened to the page in between.
I3, no writable leaf in a read-only slot. I5, no writable block where a bitmap logs, other than with
all bits set at first. I6, every leaf aligned to its size, and inside a slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from reference_model import scenario as sc
from reference_model.guest_shadow import Shadow, ShadowSlot
from reference_model.outcome import Observation
from reference_model.profiles import Environment
from reference_model.scenario import GuestScenario


class Broken(Struct, frozen=True):
    """One invariant that one step broke: what it promises and what was seen instead."""

    step: int
    invariant: str
    channel: str
    promised: str
    seen: Any


def broken_promises(
    scenario: GuestScenario, observations: Sequence[Observation], env: Environment
) -> list[Broken]:
    """All invariants that a run of a scenario broke; observations are of its first steps."""
    check = _Check(scenario.vm, env)
    for index, (op, seen) in enumerate(zip(scenario.steps, observations, strict=False)):
        check.step(index, op, seen)
    return check.found


class _Check:
    """The promises, step by step beside a shadow of the memory; ``found`` are those broken."""

    def __init__(self, vm: sc.VmConfig, env: Environment) -> None:
        self.vm = vm
        self.env = env
        self.found: list[Broken] = []
        self.shadow = Shadow(env, stage1=vm.stage1)

    def step(self, index: int, op: sc.GuestOp, seen: Observation) -> None:
        """Hold what a step showed against all before it; to be called in the steps' order."""
        self.shadow.before(op, seen)
        if isinstance(op, (sc.Read, sc.HostRead, sc.Cas)) and isinstance(seen.data, int):
            self._data(index, op, seen)
        self.shadow.after(op, seen)
        if isinstance(op, sc.DirtyGet) and seen.ret == 0 and not self.vm.dirty_ring:
            self._bitmap(index, op, seen)
        elif isinstance(op, sc.RingReset) and isinstance(seen.ring, tuple):
            self._ring(index, op, seen.ring)
        if isinstance(seen.leaves, (tuple, list)):
            self._leaves(index, seen.leaves)

    def _data(self, index: int, op: sc.Read | sc.HostRead | sc.Cas, seen: Observation) -> None:
        if not isinstance(op, sc.HostRead) and seen.exit is not None:
            return
        known = self.shadow.known(op.gpa, op.size)
        if known is not None and known != seen.data:
            promise = f"I2: {known:#x}, last stored at {op.gpa:#x}"
            self.found.append(Broken(index, "I2", "data", promise, seen.data))

    def _bitmap(self, index: int, op: sc.DirtyGet, seen: Observation) -> None:
        slot = self.shadow.slots.get(op.slot)
        if slot is None or not slot.log or not isinstance(seen.dirty, (tuple, list)):
            return
        self._lost(index, slot, op.slot, set(seen.dirty), "dirty", seen.dirty)
        if not self.vm.manual_protect:
            slot.pending.clear()

    def _ring(self, index: int, op: sc.RingReset, ring: Sequence[Sequence[int]]) -> None:
        for ident, slot in self.shadow.slots.items():
            harvested = {entry[2] for entry in ring if entry[1] == ident}
            # With all bits set at first, nothing is protected before a KVM_CLEAR_DIRTY_LOG.
            if op.count is None and slot.log and self.vm.manual_protect != "init_set":
                self._lost(index, slot, ident, harvested, "ring", ring)
            slot.pending -= harvested
            if op.count is None:
                slot.pending.clear()

    def _lost(
        self,
        index: int,
        slot: ShadowSlot,
        ident: int,
        reported: set[int],
        channel: str,
        seen: Any,
    ) -> None:
        lost = sorted(slot.pending - reported)
        if lost:
            pages = ", ".join(str(page) for page in lost[:8]) + (" …" if len(lost) > 8 else "")
            promise = f"I1: pages {pages} of slot {ident}, written since its last report"
            self.found.append(Broken(index, "I1", channel, promise, seen))

    def _leaves(self, index: int, leaves: Sequence[Any]) -> None:
        for ipa, size, _, prot, _, _, _, count in leaves:
            at = f"{ipa:#x} +{size:#x} {prot}"
            if ipa % size:
                self._leaf(index, "I6", "leaves aligned to their size", at)
            slot = self.shadow.slot_at(ipa)
            if slot is None or ipa + size * count > slot.gpa + slot.size:
                # A run may go from one slot into the next.
                if not self._covered(ipa, size, count):
                    self._leaf(index, "I6", "leaves inside slots", at)
                continue
            if "w" in prot and slot.readonly:
                self._leaf(index, "I3", "no writable leaf in a read-only slot", at)
            elif "w" in prot and size > self.env.page_size and self._logs_by_page(slot):
                self._leaf(index, "I5", "no writable block in a logged slot", at)

    def _covered(self, ipa: int, size: int, count: int) -> bool:
        stop = ipa + size * count
        while ipa < stop:
            slot = self.shadow.slot_at(ipa)
            if slot is None:
                return False
            ipa = slot.gpa + slot.size
        return True

    def _logs_by_page(self, slot: ShadowSlot) -> bool:
        bitmap = not self.vm.dirty_ring or self.vm.ring_bitmap
        return slot.log and bitmap and self.vm.manual_protect != "init_set"

    def _leaf(self, index: int, invariant: str, promise: str, seen: str) -> None:
        self.found.append(Broken(index, invariant, "leaves", f"{invariant}: {promise}", seen))
