# SPDX-License-Identifier: GPL-2.0-only
"""How often the page-table API may be called, and pages be marked dirty, in one turn of a block.

The search of outcomes takes many steps as one, and so cannot tell. Here every order of every step
is gone through, for blocks in which that is little work. For stores to a page that is not mapped
the question of July 2021 has one answer: who loses is refused once, and marks nothing.

Faults are not counted: one that meets an invalidation tries again, and calls nothing.
"""

from __future__ import annotations

from typing import Final

from reference_model.interleave_access import calls_of
from reference_model.interleave_block import (
    HOST_ANON,
    HOST_MASK,
    PRESENT,
    Access,
    Block,
    Fixed,
    SetLogging,
    State,
    Zap,
)
from reference_model.interleave_steps import moves

#: States after which a block is not counted.
MAX_STATES: Final = 6_000
#: Of the calls of map and relax_perms: done, and refused with -EAGAIN; pages marked dirty.
NAMES: Final = ("mapped", "refused", "marked")

_Counts = tuple[int, int, int]


def block_counts(
    block: Block, *, change_pte_maps: bool = False
) -> dict[str, tuple[int, ...]] | None:
    """The values that each count may have, ascending; None where the block is not counted.

    ``change_pte_maps``: the fault knob of that name.
    """
    if any(isinstance(op, SetLogging | Fixed) for lane in block.lanes for op in lane):
        return None
    found = _Counting(block).of_all()
    if found is None:
        return None
    spare = _spare_faults(block)
    allowed = {}
    for at, name in enumerate(NAMES):
        values = {counts[at] for counts in found}
        if name == "refused" and _may_be_refused(block):
            continue
        if name == "mapped" and change_pte_maps and _may_break_zero_page(block):
            # The notifier maps too (kvm_set_spte_gfn), beside the fault that made it come.
            continue
        if name != "refused":
            values = {value + more for value in values for more in range(spare + 1)}
        allowed[name] = tuple(sorted(values))
    return allowed


def _may_be_refused(block: Block) -> bool:
    """Where faults run side by side, any of them may be refused, and any number of times.

    Who meets an entry that another has locked (stage2_try_break_pte) is refused again and again
    until that one goes on. It need not be the entry of the same page: neighbours meet where the
    table of both is still to be put in place, which is not followed here.
    """
    guests = [any(isinstance(op, Access) and not op.host for op in lane) for lane in block.lanes]
    return not block.knobs.map_overwrites and sum(guests) > 1


def _may_break_zero_page(block: Block) -> bool:
    """A store may find the zero page where it is to write."""
    discarded = any(isinstance(op, Zap) for lane in block.lanes for op in lane)
    return discarded or any(page & HOST_MASK != HOST_ANON for page in block.start[0])


def _spare_faults(block: Block) -> int:
    """Accesses that may fault on a leaf that permits them already.

    A CPU may still hold the leaf as it was before another made it writable or executable:
    relax_perms flushes the own CPU's TLB only (__kvm_tlb_flush_vmid_ipa_nsh). So it may be where
    the leaf was there before the block, or accesses of other kinds may make it.
    """
    accesses = [op for lane in block.lanes for op in lane if isinstance(op, Access) and not op.host]
    kinds: dict[int, set[str]] = {}
    for op in accesses:
        kinds.setdefault(op.page, set()).add(op.kind)
    remembered = {
        page for page, met in kinds.items() if len(met) > 1 or block.start[0][page] & PRESENT
    }
    return sum(op.kind != "r" and op.page in remembered for op in accesses)


class _Counting:
    def __init__(self, block: Block) -> None:
        self._block = block
        self._known: dict[State, frozenset[_Counts]] = {}

    def of_all(self) -> frozenset[_Counts] | None:
        """The counts of every way through the block; None where there are too many states."""
        start = self._block.first_state()
        open_: list[State] = [start]
        while open_:
            state = open_[-1]
            if state in self._known:
                open_.pop()
                continue
            ahead = [
                (calls_of(self._block, state, lane), after)
                for lane in range(len(state[4]))
                for after, _ in moves(self._block, state, lane)
            ]
            missing = [after for _, after in ahead if after not in self._known]
            if missing:
                open_ += missing
                if len(open_) + len(self._known) > MAX_STATES:
                    return None
                continue
            open_.pop()
            self._known[state] = frozenset(
                (mapped + later[0], refused + later[1], marked + later[2])
                for (mapped, refused, marked), after in ahead
                for later in self._known[after]
            ) or frozenset({(0, 0, 0)})
        return self._known[start]
