# SPDX-License-Identifier: GPL-2.0-only
"""Knobs of the fault path that only show when vCPUs meet: what differs by kernel, with sources.

The last group is right in every kernel. Its other values are wrong steps on purpose: tests turn
one and must see the suite's scenarios diverge.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from reference_model.stage2_sources import with_later

#: When the fault path marks the page dirty: under the lock before it maps, under the lock after
#: it mapped, or after it let go of the lock. ``before_lock`` is no kernel's.
DirtyOrder = Literal["before", "under_lock", "after_unlock", "before_lock"]


class RaceKnobs(Struct, frozen=True, kw_only=True):
    """How one kernel generation lets concurrent faults and ioctls meet."""

    dirty: DirtyOrder
    #: A map that meets a valid leaf of the same page writes its own permissions over it; else it
    #: changes nothing and returns -EAGAIN.
    map_overwrites: bool
    #: relax_perms that meets no leaf returns 0, and the page counts as handled; else -EAGAIN.
    relax_hole_ok: bool
    #: The page is marked in the slot that holds the gfn now; else in the slot of the fault.
    marks_by_gfn: bool
    #: A permission fault on a logged page takes the lock for reading, so that two may overlap.
    relax_shares_lock: bool
    #: Wrong if False: a permission fault marks no page dirty.
    relax_marks: bool = True
    #: Wrong if False: write-protecting for the dirty log leaves the leaf writable.
    wrprotects: bool = True

    @property
    def sound(self) -> bool:
        """False where a step is wrong on purpose."""
        return self.relax_marks and self.wrprotects and self.dirty != "before_lock"


_V7_2 = RaceKnobs(
    dirty="after_unlock",
    map_overwrites=False,
    relax_hole_ok=False,
    marks_by_gfn=False,
    relax_shares_lock=True,
)

RACE_KNOBS: dict[str, RaceKnobs] = {
    "v5.10": RaceKnobs(
        dirty="before",
        map_overwrites=True,
        relax_hole_ok=True,
        marks_by_gfn=True,
        relax_shares_lock=False,
    ),
    "seed-2021": RaceKnobs(
        dirty="under_lock",
        map_overwrites=False,
        relax_hole_ok=True,
        marks_by_gfn=False,
        relax_shares_lock=False,
    ),
    "v6.1": RaceKnobs(
        dirty="under_lock",
        map_overwrites=False,
        relax_hole_ok=True,
        marks_by_gfn=False,
        relax_shares_lock=True,
    ),
    "v6.12": RaceKnobs(
        dirty="after_unlock",
        map_overwrites=False,
        relax_hole_ok=False,
        marks_by_gfn=False,
        relax_shares_lock=True,
    ),
    "v7.2": _V7_2,
    "v7.3": _V7_2,
}

_READ: dict[str, tuple[str, dict[str, str]]] = {
    "dirty": (
        "when the fault path marks the page dirty",
        {
            "v5.10": "user_mem_abort (5.10): mark_page_dirty before kvm_pgtable_stage2_map",
            "seed-2021": "user_mem_abort (5.13): writable && !ret, before spin_unlock",
            "v6.1": "user_mem_abort (6.1): writable && !ret, before {read,write}_unlock",
            "v6.12": "user_mem_abort (6.12): after read_unlock",
            "v7.2": "kvm_s2_fault_map (7.2): after kvm_fault_unlock",
        },
    ),
    "map_overwrites": (
        "a map over a valid leaf of the same page writes its permissions",
        {
            "v5.10": "stage2_map_walker_try_leaf (5.10): only an equal leaf is left alone",
            "seed-2021": "stage2_pte_needs_update (5.13)",
            "v6.1": "stage2_pte_needs_update (6.1)",
            "v6.12": "stage2_pte_needs_update (6.12), KVM_PGTABLE_WALK_HANDLE_FAULT",
            "v7.2": "stage2_pte_needs_update (7.2)",
        },
    ),
    "relax_hole_ok": (
        "relax_perms on an invalid entry returns 0",
        {
            "v5.10": "stage2_attr_walker (5.10): invalid entries are skipped",
            "seed-2021": "stage2_attr_walker (5.13): invalid entries are skipped",
            "v6.1": "stage2_attr_walker (6.1): invalid entries are skipped",
            "v6.12": "stage2_attr_walker (6.12): -EAGAIN",
            "v7.2": "stage2_attr_walker (7.2): -EAGAIN",
        },
    ),
    "marks_by_gfn": (
        "the dirty bit is set in the slot that holds the gfn now",
        {
            "v5.10": "mark_page_dirty (5.10): gfn_to_memslot",
            "seed-2021": "mark_page_dirty_in_slot (5.13)",
            "v6.1": "mark_page_dirty_in_slot (6.1)",
            "v6.12": "mark_page_dirty_in_slot (6.12)",
            "v7.2": "mark_page_dirty_in_slot (7.2)",
        },
    ),
    "relax_shares_lock": (
        "permission faults on a logged page run side by side",
        {
            "v5.10": "user_mem_abort (5.10): spin_lock",
            "seed-2021": "user_mem_abort (5.13): spin_lock",
            "v6.1": "user_mem_abort (6.1): use_read_lock",
            "v6.12": "user_mem_abort (6.12): read_lock",
            "v7.2": "kvm_fault_lock (7.2): read_lock",
        },
    ),
}

#: Per knob: what it means, and where its value was read.
RACE_KNOB_SOURCES: dict[str, tuple[str, dict[str, str]]] = {
    knob: (what, with_later(sources)) for knob, (what, sources) in _READ.items()
}
