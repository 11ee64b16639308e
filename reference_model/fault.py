# SPDX-License-Identifier: GPL-2.0-only
"""A guest abort, from cause to effect: ``kvm_handle_guest_abort`` and ``user_mem_abort``.

State is the VM's stage 2 as far as guests can tell: per guest frame the permissions of its leaf,
and which last-level tables exist. One vCPU at a time; parallel vCPUs are another module's.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from reference_model.fault_knobs import FaultKnobs
from reference_model.memory import HostPage, Slot
from reference_model.profiles import Environment
from reference_model.scenario import RESERVED_GPA

ENOMEM = -12
#: Synchronous External abort, not on a table walk (ESR_ELx.IFSC/DFSC, Arm ARM D24.2.40).
FSC_EXTABT = 0x10
#: What the runtime answers to an MMIO load, cut to the load's size.
MMIO_FILL = 0x5A5A_5A5A_5A5A_5A5A
#: HPFAR_EL2.FIPA holds IPA[47:12].
_FIPA_STEP = 1 << 12
#: No access takes more aborts than a permission fault, a notifier's retry and a map.
_MAX_FAULTS = 8

Call = tuple[Any, ...]


class Perms(Struct, frozen=True):
    """Permissions of a leaf beyond read, which every leaf of the fault path has."""

    w: bool
    x: bool


class Effect(Struct, frozen=True, kw_only=True):
    """What one access did, apart from the data it moved.

    ``completed``: the access reached memory. ``exit`` and ``injected`` as in Observation;
    ``faults`` counts kvm_guest_fault events; ``maps`` the calls of the page-table API.
    """

    completed: bool
    exit: str | None = None
    injected: dict[str, Any] | None = None
    faults: int
    maps: tuple[Call, ...]


class Stage2:
    """Leaves of the fault path (always PAGE_SIZE here) and the last-level tables they are in."""

    def __init__(self, env: Environment) -> None:
        # One table page holds PAGE_SIZE / 8 entries.
        self._table_shift = env.page_shift - 3
        self._leaves: dict[int, Perms] = {}
        self._tables: dict[int, int] = {}
        # The runtime's own pages stay mapped: their tables never go away.
        last = (RESERVED_GPA.start >> env.page_shift) >> self._table_shift
        self._tables[last] = 1

    def get(self, gfn: int) -> Perms | None:
        """The leaf of a guest frame."""
        return self._leaves.get(gfn)

    def install(self, gfn: int, perms: Perms) -> None:
        """A leaf where none was, or other permissions on the one there."""
        if gfn not in self._leaves:
            table = gfn >> self._table_shift
            self._tables[table] = self._tables.get(table, 0) + 1
        self._leaves[gfn] = perms

    def has_table(self, gfn: int) -> bool:
        """True if a leaf can be installed without allocating a table page."""
        return self._tables.get(gfn >> self._table_shift, 0) > 0

    def unmap(self, first: int, count: int) -> None:
        """kvm_pgtable_stage2_unmap: leaves go, and tables that became empty."""
        for gfn in self._within(first, count):
            del self._leaves[gfn]
            self._tables[gfn >> self._table_shift] -= 1

    def wrprotect(self, first: int, count: int) -> None:
        """kvm_pgtable_stage2_wrprotect over a range, holes notwithstanding."""
        for gfn in self._within(first, count):
            self._leaves[gfn] = Perms(w=False, x=self._leaves[gfn].x)

    def _within(self, first: int, count: int) -> list[int]:
        if count <= len(self._leaves):
            return [gfn for gfn in range(first, first + count) if gfn in self._leaves]
        return sorted(gfn for gfn in self._leaves if first <= gfn < first + count)


class GuestMemory:
    """Slots, host memory and stage 2 of one VM, and the two sides that touch them."""

    def __init__(self, ipa_bits: int, knobs: FaultKnobs, env: Environment) -> None:
        self.ipa_bits = ipa_bits
        self.knobs = knobs
        self.env = env
        self.stage2 = Stage2(env)
        self.slots: dict[int, Slot] = {}

    def slot_at(self, gfn: int) -> Slot | None:
        """The slot that holds a guest frame."""
        return next((slot for slot in self.slots.values() if slot.holds(gfn)), None)

    def access(self, gpa: int, kind: str) -> Effect:
        """One guest access at gpa; kind "r", "w" or "x"."""
        gfn = gpa >> self.env.page_shift
        calls: list[Call] = []
        for faults in range(_MAX_FAULTS):
            leaf = self.stage2.get(gfn)
            if leaf is not None and _permits(leaf, kind):
                return Effect(completed=True, faults=faults, maps=tuple(calls))
            # kvm_handle_guest_abort, in its order.
            if leaf is None and gpa >> self.ipa_bits and self.knobs.oob_injects:
                return self._inject(gpa, kind, faults, calls)
            slot = self.slot_at(gfn)
            if slot is None or (kind == "w" and slot.readonly):
                if kind == "x":
                    return self._inject(gpa, kind, faults + 1, calls)
                return Effect(completed=False, exit="mmio", faults=faults + 1, maps=tuple(calls))
            self._user_mem_abort(slot, gpa, kind, leaf is not None, calls)
        raise AssertionError(f"access at {gpa:#x} does not settle")

    def _inject(self, gpa: int, kind: str, faults: int, calls: list[Call]) -> Effect:
        abort = {"ec": "iabt" if kind == "x" else "dabt", "fsc": FSC_EXTABT, "far": gpa}
        return Effect(completed=False, injected=abort, faults=faults, maps=tuple(calls))

    def _user_mem_abort(
        self, slot: Slot, gpa: int, kind: str, perm_fault: bool, calls: list[Call]
    ) -> None:
        """One abort on a slot's page; it may end in a retry with nothing mapped."""
        gfn = gpa >> self.env.page_shift
        page = gfn - slot.gfn
        write = kind == "w"
        if slot.memory.fault_in(page, write=write):
            # The notifier moved the invalidation sequence between its sampling and the lock:
            # mmu_invalidate_retry, the vCPU takes the abort again.
            self._copy_on_write(gfn, calls)
            return
        # A read fault maps writable where the host page already is (hva_to_pfn).
        writable = slot.memory.state(page) is HostPage.ANON and not slot.readonly
        if slot.logging and not write:
            writable = False
        perms = Perms(w=writable, x=kind == "x" or self.env.dic)
        ipa = gpa & -self.env.page_size if self.knobs.maps_at_page else gpa & -_FIPA_STEP
        if perm_fault:
            calls.append(("relax", ipa, self._prot(perms), 0))
            old = self.stage2.get(gfn)
            assert old is not None
            perms = Perms(w=old.w or perms.w, x=old.x or perms.x)
        else:
            calls.append(("map", ipa, self.env.page_size, self._prot(perms), 0))
        self.stage2.install(gfn, perms)
        if writable and slot.logging:
            assert slot.dirty is not None
            slot.dirty.add(page)

    def host_write(self, slot: Slot, page: int) -> tuple[Call, ...]:
        """The host side of a store to a page; the notifier's calls."""
        calls: list[Call] = []
        if slot.memory.fault_in(page, write=True):
            self._copy_on_write(slot.gfn + page, calls)
        return tuple(calls)

    def _copy_on_write(self, gfn: int, calls: list[Call]) -> None:
        """wp_page_copy: invalidate_range_start unmaps, then (up to 6.8) change_pte maps RO."""
        self.stage2.unmap(gfn, 1)
        if not self.knobs.change_pte_maps:
            return
        read_only = Perms(w=False, x=False)
        ret = 0 if self.stage2.has_table(gfn) else ENOMEM
        if ret == 0:
            self.stage2.install(gfn, read_only)
        ipa = gfn << self.env.page_shift
        calls.append(("map", ipa, self.env.page_size, self._prot(read_only), ret))

    def _prot(self, perms: Perms) -> int:
        bits = self.knobs.prot
        return bits.r | (bits.w if perms.w else 0) | (bits.x if perms.x else 0)


def _permits(leaf: Perms, kind: str) -> bool:
    return kind == "r" or (leaf.w if kind == "w" else leaf.x)
