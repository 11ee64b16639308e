# SPDX-License-Identifier: GPL-2.0-only
"""A stage-2 table with everything that one operation on it can be seen to do."""

from __future__ import annotations

import errno

from reference_model import pte
from reference_model.geometry import Geometry
from reference_model.pgtable import Entry, Link, Table, descendants
from reference_model.stage2_knobs import Stage2Knobs

_U64 = (1 << 64) - 1
#: MAX_TLBI_RANGE_PAGES: __TLBI_RANGE_PAGES(31, 3), arch/arm64/include/asm/tlbflush.h.
_TLBI_RANGE_PAGES = 1 << 21


class Stage2:
    """The tree, the host facts, the memcache, and what was counted since :meth:`begin`."""

    __slots__ = (
        "_high",
        "_low",
        "_where",
        "alloc",
        "cache",
        "cacheable",
        "dcache",
        "dcache_pages",
        "fwb",
        "geometry",
        "icache",
        "icache_pages",
        "knobs",
        "root",
        "tables",
        "tlb_range",
        "tlbi_ipa",
        "tlbi_ipa_nsh",
        "tlbi_range",
        "tlbi_vmid",
    )

    def __init__(
        self, geometry: Geometry, knobs: Stage2Knobs, *, fwb: bool, tlb_range: bool
    ) -> None:
        self.geometry = geometry
        self.knobs = knobs
        self.fwb = fwb
        #: MemAttr of a Normal, cacheable leaf.
        self.cacheable = pte.memattr("normal", fwb)
        self.tlb_range = tlb_range
        level = geometry.start_level
        self.root = Table(level, geometry.shifts[level], 0)
        #: Table pages below the root.
        self.tables = 0
        self.begin(0)

    def begin(self, cache: int | None) -> None:
        """Starts a step with ``cache`` pages in the memcache, None: no memcache is passed."""
        self.cache = cache
        self.alloc = 0
        self.dcache = self.icache = 0
        self.dcache_pages = self.icache_pages = 0
        self.tlbi_ipa = self.tlbi_ipa_nsh = self.tlbi_vmid = self.tlbi_range = 0
        self._where = self.root
        self._low = _U64
        self._high = 0

    # --- the walk's range ------------------------------------------------------------------

    def walk_range(self, ipa: int, size: int) -> tuple[int, int]:
        """The page-aligned [start, end) of kvm_pgtable_walk(): the size counts from start."""
        mask = self.geometry.page_size - 1
        start = ipa & ~mask
        return start, (start + size + mask) & ~mask & _U64

    def out_of_range(self, start: int, end: int) -> int:
        """-ERANGE where the walk would leave the IPA space, else 0 (_kvm_pgtable_walk)."""
        limit = 1 << self.geometry.ipa_bits
        return -errno.ERANGE if start > limit or end > limit else 0

    # --- tables ------------------------------------------------------------------------------

    def new_table(self, parent: Table, index: int) -> Table | None:
        """An empty table for one entry of ``parent``, or None where the memcache is empty."""
        if self.cache is None:
            return None
        if self.cache:
            self.cache -= 1
            self.alloc += 1
        elif self.knobs.empty_cache == "enomem":
            return None
        self.tables += 1
        level = parent.level + 1
        return Table(level, self.geometry.shifts[level], parent.address(index))

    def free_tree(self, table: Table) -> None:
        """Frees a table and all below it."""
        self.tables -= 1 + sum(1 for _ in descendants(table))

    def clean_dcache(self, count: int, shift: int) -> None:
        """dcache_clean_inval_poc of so many granules, each in a call of its own."""
        self.dcache += count
        self.dcache_pages += count << (shift - self.geometry.page_shift)

    def invalidate_icache(self, count: int, shift: int) -> None:
        """icache_inval_pou likewise."""
        self.icache += count
        self.icache_pages += count << (shift - self.geometry.page_shift)

    # --- what shows ---------------------------------------------------------------------------

    def changed(self, table: Table, first: int, stop: int) -> None:
        """Notes that leaves or owners between two entries of a table are not what they were."""
        low = table.base + (first << table.shift)
        high = table.base + (stop << table.shift)
        if self._high == 0:
            self._where, self._low, self._high = table, low, high
            return
        if table is not self._where:
            self._where = self.root
        self._low = min(self._low, low)
        self._high = max(self._high, high)

    @property
    def window(self) -> tuple[Table, int, int]:
        """(table, low, high): all that changed in this step is in that table and the tables
        below it, between these IPAs; nothing did: low > high.
        """
        return self._where, self._low, self._high

    def invalidate_range(self, size: int) -> None:
        """kvm_tlb_flush_vmid_range() over ``size`` bytes, cut to pages, not rounded."""
        if not self.tlb_range:
            self.tlbi_vmid += 1
            return
        pages = size >> self.geometry.page_shift
        self.tlbi_range += -(-pages // _TLBI_RANGE_PAGES)

    # --- for those who look at the state from outside (generator) ------------------------------

    def lookup(self, ipa: int) -> tuple[Table, int, Entry | None]:
        """The lowest table on the way to ``ipa``, the entry's index there, and what is in it."""
        table = self.root
        while True:
            index = table.index(ipa)
            entry, _ = table.at(index, index + 1)
            if not isinstance(entry, Link):
                return table, index, entry
            table = entry.table
