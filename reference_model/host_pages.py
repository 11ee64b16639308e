# SPDX-License-Identifier: GPL-2.0-only
"""The pages behind the host's page tables: huge or in parts, dirty or not, in swap or not.

What reclaim, a split or a fork would find of each, beside the entry that maps it.
"""

from __future__ import annotations

from itertools import compress

from reference_model.host_joined import HostJoined
from reference_model.host_kinds import Cached, Freed, HostPage, HostProt


class HostPages(HostJoined):
    """The mapping behind one slot, with the state of its pages."""

    def split_block(self, page: int, *, frozen: bool = False) -> None:
        """The page's huge entry becomes entries of pages.

        ``frozen``: for split_huge_page, by migration entries. These keep whether the entry was
        writable; else entries become as writable as the VMA, and are protected after that.
        """
        block = self._block(page)
        if block in self._huge:
            self._huge.discard(block)
            self._tables.add(block)
            self._apart.difference_update(self._groups(block))
            # __split_huge_pmd_locked (6.1): no pte_mkdirty.
            self._clean[self._indices(block)] = bytes([1]) * self.huge_pages
            through = self._writable[page - self._start] if frozen else self._is_rw(block)
            if self.knobs.split_dirties and through:
                self.soil(page)
        self._doubled.discard(block)

    def _is_rw(self, block: int) -> bool:
        return HostProt.RW in self._prot[self._indices(block)]

    def parts(self, page: int) -> list[int]:
        """The pages of the huge page that this one is a part of; none where it is a small one."""
        index = page - self._start
        if self.is_hugetlb or not self._compound[index]:
            return []
        block = index // self.huge_pages * self.huge_pages
        first = block + self._start
        of_it = self._compound[block : block + self.huge_pages]
        return [*compress(range(first, first + self.huge_pages), of_it)]

    def break_up(self, page: int) -> None:
        """split_huge_page: the parts are small pages from here on.

        Where the kernel does so, parts that hold nothing but zeroes become the shared zero page.
        """
        if self.knobs.split_dirties and self._writable[page - self._start]:
            self.soil(page)
        self._huge.discard(self._block(page))
        for each in self.parts(page):
            index = each - self._start
            self._compound[index] = 0
            if self.knobs.split_frees_zeroes and self.holds_zeroes(each):
                self._state[index] = HostPage.ZERO
                self._writable[index] = 0
        self._tables.add(self._block(page))
        self._doubled.discard(self._block(page))

    def set_doubled(self, page: int) -> None:
        """Another process has split its mapping of this page's huge page (PG_double_map)."""
        anon = self._state[page - self._start] == HostPage.ANON
        if self._block(page) in self._huge and anon and not self.is_hugetlb:
            self._doubled.add(self._block(page))

    def free_tables(self, first: int, count: int) -> None:
        """Tables of pages that a range covers as a whole, and that are empty, are freed."""
        start = -(-(first - self._start) // self.huge_pages)
        for block in range(start, (first + count - self._start) // self.huge_pages):
            if self._in_one_vma(block):
                self._tables.discard(block)

    def make_huge(self, page: int) -> bool:
        """The block that begins at this page becomes a huge page, if all of it is writable."""
        indices = range(page - self._start, page - self._start + self.huge_pages)
        if self.huge_pages == 1 or any(
            self._state[each] != HostPage.ANON or not self._writable[each] for each in indices
        ):
            return False
        self._huge.add(self._block(page))
        self._tables.discard(self._block(page))
        for each in indices:
            self._compound[each] = 1
            # The copy is dirty (pmd_mkdirty).
            self._lazy[each] = Freed.NO
            self._clean[each] = 0
        return True

    def set_swapped(self, page: int, *, exclusive: bool) -> None:
        """In swap: by a swap entry, with the exclusive marker or without, or by the file."""
        if self.is_file:
            self._cached[page - self._start] = Cached.SWAPPED
            return
        self._had_readonly = True
        self._state[page - self._start] = HostPage.SWAP
        self._shared_swap[page - self._start] = self.knobs.swap_in_cached and not exclusive

    def set_lazy(self, page: int) -> None:
        """MADV_FREE: the page is clean, and nobody's."""
        self._lazy[page - self._start] = Freed.YES
        self._clean[page - self._start] = 1
        self._has_lazy = True

    def is_lazy(self, page: int) -> bool:
        """Reclaim drops the page rather than writing it to swap."""
        return self._lazy[page - self._start] in (Freed.YES, Freed.HALF)

    def is_half_lazy(self, page: int) -> bool:
        """Some of the huge page goes, and some not."""
        return self._lazy[page - self._start] == Freed.HALF

    def is_stored(self, page: int) -> bool:
        """Reclaim would have dropped the page, were it not stored to since."""
        return self._lazy[page - self._start] == Freed.STORED

    def soil(self, page: int, *, through_entry: bool = False) -> None:
        """The page is dirty, and the whole of a huge one with it.

        ``through_entry``: only the page-table entry is, of the page or of the huge one.
        """
        index = page - self._start
        if self.is_file:
            self._cached[index] = Cached.DIRTY
        if through_entry:
            for each in self._mapped(index):
                self._clean[each] = 0
        if not self._has_lazy:
            return
        half = through_entry and len(self._mapped(index)) == 1
        for each in self.parts(page) or (page,):
            was = self._lazy[each - self._start]
            if was in (Freed.YES, Freed.HALF):
                alone = half and each != page
                self._lazy[each - self._start] = Freed.HALF if alone else Freed.STORED

    def share_swap(self, touched: range) -> None:
        """After a fork: pages of these that are in swap came back in the child (swapin_readahead).

        Then the parent finds them in the swap cache, where the kernel looks for every page from
        7.2 on; before, one that the child left alone is there if it was read ahead.
        """
        swapped = {index for index, state in enumerate(self._state) if state == HostPage.SWAP}
        came_back = {page - self._start for page in touched} & swapped
        for index in swapped:
            if index in came_back or self.knobs.swap_in_cached:
                self._shared_swap[index] = 1
            elif came_back and not self._shared_swap[index]:
                self._shared_swap[index] = 2

    def is_entry_clean(self, page: int) -> bool:
        """Nothing was stored through the entry of an anonymous page."""
        return bool(self._clean[page - self._start])

    def is_clean(self, page: int) -> bool:
        """A page of a file that was read into a hole: reclaim makes it a hole again."""
        return self._cached[page - self._start] == Cached.CLEAN
