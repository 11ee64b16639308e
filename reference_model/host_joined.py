# SPDX-License-Identifier: GPL-2.0-only
"""Small entries of a huge page that the host joins (arch/arm64/mm/contpte.c, from 6.9 on).

CONT_PTES entries that lie together, are alike and map a part of one folio have PTE_CONT. It shows
in nothing but this: what ptep_get() returns has the bit, and folio_pte_batch() compares it, so that
a huge page whose entries have it in some places alone is not seen as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping

from reference_model.host_kinds import HostPage, HostProt
from reference_model.host_tables import HostTables

#: CONFIG_ARM64_CONT_PTE_SHIFT, by the pages of a PMD block: granules of 4K, 16K and 64K.
_CONT_PTES = {512: 1 << 4, 2048: 1 << 7, 8192: 1 << 5}


class HostJoined(HostTables):
    """The mapping behind one slot, with what of its entries is joined."""

    def _groups(self, block: int) -> range:
        """Numbers of the groups of a huge page's entries."""
        each = _CONT_PTES[self.pmd_pages]
        return range(block * self.huge_pages // each, (block + 1) * self.huge_pages // each)

    def _group(self, page: int) -> int:
        return (page - self._start) // _CONT_PTES[self.pmd_pages]

    def _is_joinable(self, index: int) -> bool:
        """A small entry that maps a part of a huge page."""
        return (
            self.knobs.joins_entries
            and not self.is_hugetlb
            and bool(self._compound[index])
            and index // self.huge_pages not in self._huge
        )

    def looks_whole(self, page: int) -> bool:
        """folio_pte_batch: the small entries of a whole huge page are all joined, or none is."""
        if not self._is_joinable(page - self._start):
            return True
        groups = self._groups(self._block(page))
        return len(self._apart.intersection(groups)) in (0, len(groups))

    def rows(self, pages: Mapping[int, HostProt], prot: HostProt) -> list[tuple[int, int]]:
        """What mprotect to ``prot`` writes at once, as [first, count), before it does.

        ``pages``, ascending, with what was allowed there.
        """
        out: list[tuple[int, int]] = []
        if self.huge_pages == 1 or not self.knobs.joins_entries:
            return out
        row: tuple[object, ...] = ()
        for page, allowed in pages.items():
            index = page - self._start
            before = row
            row = (
                self._block(page),
                self._writable[index],
                self._state[index],
                allowed,
                self._group(page) in self._apart,
                prot is HostProt.RW and self._exclusive[index],
            )
            follows = bool(out) and sum(out[-1]) == page and row == before
            if follows and self.knobs.writes_rows and self._is_joinable(index):
                out[-1] = (out[-1][0], out[-1][1] + 1)
            else:
                out.append((page, 1))
        return out

    def rewrite(self, first: int, count: int) -> None:
        """Entries are written anew: one of them (set_pte_at), or a row (contpte_set_ptes).

        One by itself is joined again with those before it where it is the last of its group and
        they are like it (contpte_try_fold); of a row, the groups that it covers.
        """
        for page in range(first, first + count):
            if self._is_joinable(page - self._start):
                self._apart.add(self._group(page))
        size = _CONT_PTES[self.pmd_pages]
        last = first + count - 1 - self._start
        if count > 1:
            joined = range(-(-(first - self._start) // size), (last + 1) // size)
        else:
            joined = range(last // size, (last + 1) // size)
        for group in joined:
            if self._is_alike(range(group * size, (group + 1) * size)):
                self._apart.discard(group)

    def _is_alike(self, indices: range) -> bool:
        kinds = {
            (self._state[index], self._writable[index], self._prot[index] >= HostProt.R)
            for index in indices
        }
        return kinds in ({(HostPage.ANON, 0, True)}, {(HostPage.ANON, 1, True)}) and all(
            self._is_joinable(index) for index in indices
        )
