# SPDX-License-Identifier: GPL-2.0-only
"""kvm_pgtable_stage2_map() and …_set_owner() / …_annotate(): the one map walker.

The kernel visits entry after entry; here a run of entries that all meet the same case is handled
at once. That is exact, since along a run neither the attributes nor the distance between IPA and
output address change, and the first entry that fails ends the walk.
"""

from __future__ import annotations

import errno

from reference_model import pte
from reference_model.geometry import LAST_LEVEL
from reference_model.pgtable import Entry, Leaf, Link, Note, Table
from reference_model.pgtable_state import Stage2
from reference_model.scenario import Annotate, Map
from reference_model.stage2_knobs import AnnotateApi

_MAX_OWNER_ID = 1
_TYPE_SHIFT = 60
_TYPE_LOCKED = 1


def stage2_map(state: Stage2, op: Map, attr: int) -> int:
    """Maps [op.ipa, op.ipa + op.size); ``attr`` from :func:`pte.leaf_attr`. 0 or -errno."""
    walk = _MapWalk(state, op.ipa, op.size)
    walk.pa = op.pa & ~(state.geometry.page_size - 1)
    walk.attr = attr
    walk.shared = "shared" in op.flags
    if "handle_fault" in op.flags:
        walk.on_eagain = "stop"
    elif "ignore_eagain" in op.flags:
        walk.on_eagain = "go"
    return walk.run()


def stage2_annotate(state: Stage2, op: Annotate) -> int:
    """Gives the invalid entries of a range an owner; what was mapped there is gone.

    The kernel's argument is made from the owner by :func:`annotation_value`. 0 or -errno.
    """
    value = annotation_value(state.knobs.annotate, op.owner)
    if value is None:
        return -errno.EINVAL
    walk = _MapWalk(state, op.ipa, op.size)
    walk.annotation = True
    walk.value = value
    return walk.run()


def annotation_value(api: AnnotateApi, owner: int) -> int | None:
    """The descriptor that an owner becomes, None: the kernel refuses it with -EINVAL.

    ``owner_id`` (set_owner): the id in bits 9:2, 0 or 1. ``typed`` (annotate): the owner's low
    four bits are the type and go to bits 63:60, its other bits are the annotation as they stand;
    types 0 and 1 (LOCKED) and annotations in bits 63:60 are refused.
    """
    if api == "owner_id":
        return owner << 2 if owner <= _MAX_OWNER_ID else None
    kind, bits = owner & 0xF, owner & ~0xF
    if kind in (0, _TYPE_LOCKED) or bits >> _TYPE_SHIFT:
        return None
    return bits | kind << _TYPE_SHIFT


class _MapWalk:
    """struct stage2_map_data: one call of the API on its way through the tree."""

    __slots__ = (
        "annotation",
        "attr",
        "end",
        "on_eagain",
        "pa",
        "remembered",
        "shared",
        "start",
        "state",
        "value",
    )

    def __init__(self, state: Stage2, ipa: int, size: int) -> None:
        self.state = state
        self.start, self.end = state.walk_range(ipa, size)
        self.pa = 0
        self.attr = 0
        #: The descriptor stored where there is no output address.
        self.value = 0
        #: Only ``value`` is stored, at page granularity; there is no output address at all.
        self.annotation = False
        self.shared = False
        self.on_eagain = state.knobs.on_eagain
        #: The walk went past an -EAGAIN that it still has to return.
        self.remembered = False

    def run(self) -> int:
        """Walks the range; 0 or -errno."""
        ret = self.state.out_of_range(self.start, self.end)
        if ret == 0 and self.start < self.end:
            ret = self._table(self.state.root, self.start, self.end)
        if ret == 0 and self.remembered:
            return -errno.EAGAIN
        return ret

    def _table(self, table: Table, addr: int, end: int) -> int:
        """The walk over one table's part of the range, ascending, depth first."""
        last = table.index(end - 1) + 1
        while addr < end:
            index = table.index(addr)
            entry, stop = table.at(index, last)
            output = self._output(addr)
            count = min(self._whole_entries(table, addr, output), stop - index)
            if count:
                ret = self._install(table, index, index + count, entry, output)
                addr += count << table.shift
            else:
                child = entry.table if isinstance(entry, Link) else self._descend(table, index)
                if child is None:
                    return -errno.ENOMEM
                below = addr
                addr = table.address(index + 1)
                ret = self._table(child, below, min(end, addr))
            if ret:
                return ret
        return 0

    def _output(self, addr: int) -> int | None:
        """The output address for ``addr`` as its descriptor holds it, None: an invalid entry."""
        if self.annotation:
            return None
        pa = self.pa + addr - self.start
        limit = 1 << self.state.geometry.pa_bits
        if self.state.knobs.pa_beyond_clears:
            return pa if pa < limit else None
        return pa & (limit - 1)

    def _whole_entries(self, table: Table, addr: int, output: int | None) -> int:
        """How many entries from ``addr`` on can be leaves of this level (0: smaller ones needed).

        stage2_leaf_mapping_allowed(): the level has leaves, address and output are aligned to
        one, and it fits; never across the last output address.
        """
        shift = table.shift
        if table.level != LAST_LEVEL:
            unaligned = (addr | (output or 0)) & ((1 << shift) - 1)
            if unaligned or table.level < self.state.geometry.block_level or self.annotation:
                return 0
        count = (self.end - addr) >> shift
        if output is not None:
            count = min(count, ((1 << self.state.geometry.pa_bits) - output) >> shift)
        return count

    def _descend(self, table: Table, index: int) -> Table | None:
        """A new table at an empty, annotated or block entry; None: no memory, all unchanged."""
        state = self.state
        child = state.new_table(table, index)
        if child is None:
            return None
        entry, _ = table.at(index, index + 1)
        if entry is None:
            table.counted += 1
        else:
            if isinstance(entry, Leaf):
                state.tlbi_ipa += 1
            state.changed(table, index, index + 1)
        table.put(Link(index, index + 1, child))
        return child

    def _install(
        self, table: Table, index: int, stop: int, old: Entry | None, output: int | None
    ) -> int:
        """stage2_map_walker_try_leaf() for entries that all hold ``old``. 0 or -EAGAIN."""
        if isinstance(old, Leaf) and output == old.pa + ((index - old.first) << table.shift):
            kept = self._same_output(table, index, stop, old)
            if kept is not None:
                return kept
        count = stop - index
        self._break(table, count, old)
        self._maintain_caches(count, table.shift, output)
        if output is not None:
            table.put(Leaf(index, stop, self.attr, output))
        elif self.value:
            table.put(Note(index, stop, self.value))
        elif old is not None:
            table.clear(index, stop)
        counted = output is not None or self.value != 0
        if old is None:
            table.counted += count if counted else 0
        elif not counted:
            table.counted -= count
        if old is not None or counted:
            self.state.changed(table, index, stop)
        return 0

    def _same_output(self, table: Table, index: int, stop: int, old: Leaf) -> int | None:
        """The cases in which a leaf of the same output is not broken; None: it is."""
        knobs = self.state.knobs
        difference = old.attr ^ self.attr
        if knobs.perm_only == "replace":
            return None if difference else 0
        if not difference & ~pte.PERMS:
            if self.on_eagain == "stop":
                return -errno.EAGAIN
            self.remembered = self.on_eagain == "remember"
            return 0
        if knobs.sw_in_place and not self.shared and not difference & ~pte.SW:
            output = old.pa + ((index - old.first) << table.shift)
            table.put(Leaf(index, stop, self.attr, output))
            self.state.changed(table, index, stop)
            return 0
        return None

    def _break(self, table: Table, count: int, old: Entry | None) -> None:
        """Break-before-make's TLB invalidation; a table that a block covers ends here."""
        state = self.state
        if isinstance(old, Leaf):
            state.tlbi_ipa += count
        elif isinstance(old, Link):
            if state.knobs.collapse_by_range:
                state.invalidate_range(1 << table.shift)
            else:
                state.tlbi_vmid += 1
            state.free_tree(old.table)

    def _maintain_caches(self, count: int, shift: int, output: int | None) -> None:
        """The callbacks of mm_ops that come before each new descriptor."""
        state = self.state
        if output is None:
            if state.knobs.icache_on_invalid:
                state.invalidate_icache(count, shift)
            return
        if self.attr & pte.MEMATTR == state.cacheable:
            state.clean_dcache(count, shift)
        if not self.attr & pte.XN:
            state.invalidate_icache(count, shift)
