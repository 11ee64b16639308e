# SPDX-License-Identifier: GPL-2.0-only
"""The host's page tables over the memory behind a slot, entry by entry.

Pages are numbered from the slot's start; memory with huge pages reaches out over both ends of the
slot, to numbers below 0 and above its last page.
"""

from __future__ import annotations

import copy
from typing import Self

from reference_model.choice import Chooser
from reference_model.fault_knobs import FaultKnobs
from reference_model.host_content import HostContent
from reference_model.host_kinds import Advice, Cached, Freed, HostPage, HostProt, Uffd, first_advice
from reference_model.scenario import Backing

#: By their numbers: quicker than to ask the enumeration.
_PAGES = tuple(HostPage)
_PROTS = tuple(HostProt)


def _alike(table: bytearray, index: int) -> tuple[int, int]:
    """The first index, and the one behind the last, of equal bytes around this one."""
    value = table[index : index + 1]
    before = table[:index].rstrip(value)
    behind = table[index:].lstrip(value)
    return len(before), len(table) - len(behind)


class HostTables(HostContent):
    """The mapping behind one slot, as data: nothing here decides what happens."""

    def __init__(
        self,
        size: int,
        page_shift: int,
        backing: Backing,
        knobs: FaultKnobs,
        chooser: Chooser | None = None,
    ) -> None:
        self.pages = -(-size >> page_shift)
        self.kind = backing.kind
        self.knobs = knobs
        self._chooser = chooser or Chooser()
        #: Pages in a PMD block, and in the huge pages that this memory can have (1: none).
        self.pmd_pages = 1 << (page_shift - 3)
        self.huge_pages = 1
        if backing.page_size is not None:
            self.huge_pages = backing.page_size >> page_shift
        elif backing.thp != "never":
            self.huge_pages = self.pmd_pages
        #: The host address of page 0, in pages, modulo anything a block can be.
        self.hva = backing.offset >> page_shift
        lead = self.hva % self.huge_pages
        count = -(-(lead + self.pages) // self.huge_pages) * self.huge_pages
        full = backing.prefill or backing.kind == "file_ro"
        super().__init__(1 << page_shift, -lead, count, prefilled=full)
        first = HostPage.NONE
        if full:
            first = HostPage.FILE if self.is_file else HostPage.ANON
        elif backing.kind == "zero":
            first = HostPage.ZERO
        elif backing.kind == "device":
            first = HostPage.DEVICE
        self._state = bytearray([first]) * count
        #: The page-table entry is writable.
        writable = (full and backing.kind != "file_ro") or first is HostPage.DEVICE
        self._writable = bytearray([writable]) * count
        self._prot = bytearray([HostProt.R if backing.kind == "file_ro" else HostProt.RW]) * count
        self._advice = bytearray([first_advice(backing)]) * count
        self._account = bytearray([1]) * count
        #: Numbers of the huge pages that are mapped as such.
        self._huge: set[int] = set()
        #: Blocks that have a table of pages: nothing but collapse or munmap makes them huge again.
        self._tables: set[int] = set()
        #: Those of them that another process mapped page by page at some time.
        self._doubled: set[int] = set()
        #: Numbers of the groups of CONT_PTES entries that are not joined, of huge pages that are
        #: mapped by small entries.
        self._apart: set[int] = set()
        if full and self.huge_pages > 1:
            self._huge = set(range(count // self.huge_pages))
        #: The page is a part of a huge one, though it may be mapped by itself.
        self._compound = bytearray([full and self.huge_pages > 1]) * count
        #: :class:`Cached` of a page of a file.
        self._cached = bytearray([Cached.DIRTY if full and self.is_file else Cached.HOLE]) * count
        #: :class:`Freed`, and whether any page was anything but NO.
        self._lazy = bytearray(count)
        self._has_lazy = False
        #: The entry of an anonymous page is clean, though the page may be dirty.
        self._clean = bytearray(count)
        #: The page is in swap and not known to be this process's alone: it is in the swap cache
        #: too, since a child brought it back (2: or was read ahead with another).
        self._shared_swap = bytearray(count)
        #: Some anonymous page was read-only, or in swap, at some time.
        self._had_readonly = False
        #: PageAnonExclusive.
        self._exclusive = bytearray([1]) * count
        #: What userfaultfd waits for on the page; and whether it is write-protected by it.
        self._uffd = bytearray(count)
        self._uffd_wp = bytearray(count)
        #: Pages at which a VMA begins though the one before it has the same flags.
        self._seams: set[int] = set()
        #: The anon_vma of the VMA, by number; 0: none, so that fork does not copy its tables.
        self._anon_vma = bytearray([full and not self.is_file]) * count

    @property
    def is_hugetlb(self) -> bool:
        """True for memory from the hugetlb pool."""
        return self.kind == "hugetlb"

    @property
    def is_device(self) -> bool:
        """True for memory of a device."""
        return self.kind == "device"

    @property
    def is_anonymous(self) -> bool:
        """vma_is_anonymous: no hugetlb memory, no file's, no device's."""
        return not (self.is_file or self.is_device or self.is_hugetlb)

    @property
    def is_file(self) -> bool:
        """True for memory whose pages the page cache holds."""
        return self.kind in ("shmem", "memfd", "file_ro")

    def state(self, page: int) -> HostPage:
        """What the host page table holds for the page."""
        return _PAGES[self._state[page - self._start]]

    def prot(self, page: int) -> HostProt:
        """What the VMA allows there."""
        return _PROTS[self._prot[page - self._start]]

    def writable(self, page: int) -> bool:
        """True if the page-table entry is there and allows writes (get_user_page_fast_only)."""
        index = page - self._start
        return bool(self._writable[index]) and self._state[index] != HostPage.NONE

    def mapped_pages(self, page: int) -> int:
        """Pages that the host's page-table entry for this page maps, as KVM finds out."""
        block = self._block(page)
        if block in self._doubled and self.knobs.huge_by_mapcount:
            return 1
        return self.huge_pages if block in self._huge else 1

    def extent(self) -> tuple[int, int]:
        """First page and number of pages of the whole mapping."""
        return self._start, len(self._state)

    def _mapped(self, index: int) -> range:
        """Indices under the page-table entry of this one."""
        block = index // self.huge_pages
        if block not in self._huge:
            return range(index, index + 1)
        return range(block * self.huge_pages, (block + 1) * self.huge_pages)

    def _indices(self, block: int) -> slice:
        return slice(block * self.huge_pages, (block + 1) * self.huge_pages)

    def _block(self, page: int) -> int:
        return (page - self._start) // self.huge_pages

    def block_around(self, page: int) -> tuple[int, int]:
        """First page and size of what the page's entry maps."""
        mapped = self._mapped(page - self._start)
        return mapped.start + self._start, len(mapped)

    def vma(self, page: int) -> tuple[int, int]:
        """First page of, and the one behind, the VMA that a page lies in.

        VMAs of equal flags that meet are one (vma_merge), but for those that :meth:`set_seam` told.
        """
        index = page - self._start
        around = [_alike(table, index) for table in self._vma_flags()]
        start = max(low for low, _ in around)
        stop = min(high for _, high in around)
        if self._seams:
            start = max((seam for seam in self._seams if start < seam <= index), default=start)
            stop = min((seam for seam in self._seams if index < seam < stop), default=stop)
        return start + self._start, stop + self._start

    def _in_one(self, index: int) -> bool:
        """This index is of the VMA of the one before."""
        return self._flags(index - 1) == self._flags(index) and index not in self._seams

    def set_seam(self, page: int) -> None:
        """The VMA that begins here was not merged with the one before."""
        self._seams.add(page - self._start)

    def _retagged(self, index: int) -> None:
        """Other flags are there: what it meets has to be merged anew (:meth:`merge_around`)."""
        self._seams -= {index, index + 1}

    def merge_around(self, first: int, stop: int) -> None:
        """vma_merge of a VMA that was changed, or is new, with those beside it of equal flags.

        Those of hugetlb memory stay apart (VM_DONTEXPAND is one of VM_SPECIAL).
        """
        low, high = first - self._start, stop - self._start
        left = low > 0 and self._in_one(low)
        right = high < len(self._prot) and self._in_one(high)
        middle = self._anon_vma[low]
        before = self._anon_vma[low - 1] if left else 0
        behind = self._anon_vma[high] if right else 0
        to_left = left and self._can_merge(before, middle)
        to_right = right and self._can_merge(behind, middle)
        if to_left and to_right and before and behind and before != behind:
            to_right = False
        if left and not to_left:
            self._seams.add(low)
        if right and not to_right:
            self._seams.add(high)
        anon_vma = middle or (to_left and before) or (to_right and behind)
        if anon_vma:
            self._set_anon_vma(first, anon_vma)

    def _can_merge(self, beside: int, changed: int) -> bool:
        """is_mergeable_anon_vma: one of them is taken over, two are not.

        Before 7.2 the VMA beside it must have that one: list_is_singular of its anon_vma_chain.
        """
        if self.is_hugetlb:
            return False
        if changed and not beside:
            return self.knobs.merges_into_bare
        return beside == changed or not changed

    def has_anon(self, page: int) -> bool:
        """The VMA has an anon_vma."""
        return self.anon_vma(page) != 0

    def anon_vma(self, page: int) -> int:
        """Which anon_vma the VMA has; 0: none."""
        return self._anon_vma[page - self._start]

    def make_anon(self, page: int) -> None:
        """__anon_vma_prepare: that of a neighbour which differs by access alone, or a new one."""
        if self.is_file or self.is_device or self.has_anon(page):
            return
        start, stop = self.vma(page)
        first, last = start - self._start, stop - self._start
        found = 0
        if last < len(self._prot) and self._differ_by_access(last):
            found = self._anon_vma[last]
        if not found and first > 0 and self._differ_by_access(first):
            found = self._anon_vma[first - 1]
        self._set_anon_vma(page, found or max(self._anon_vma) + 1)

    def drop_anon(self, page: int) -> None:
        """The VMA went."""
        self._anon_vma[page - self._start] = 0

    def _set_anon_vma(self, page: int, number: int) -> None:
        start, stop = self.vma(page)
        for index in range(start - self._start, stop - self._start):
            self._anon_vma[index] = number

    def _differ_by_access(self, index: int) -> bool:
        """anon_vma_compatible: of the VMA before this index and the one from it on."""
        gone = HostProt.GONE in (self._prot[index - 1], self._prot[index])
        return not gone and self._flags(index - 1)[1:] == self._flags(index)[1:]

    def _vma_flags(self) -> tuple[bytearray, ...]:
        """What VMAs must have in common to be one; what they allow is the first."""
        return self._prot, self._advice, self._uffd, self._account

    def _flags(self, index: int) -> tuple[int, ...]:
        return tuple(table[index] for table in self._vma_flags())

    def has_blocks(self, first: int | None = None, stop: int | None = None) -> bool:
        """thp_vma_suitable_order: a range, or the whole mapping, holds a PMD block."""
        start, count = self.extent()
        low = self.hva + (start if first is None else first)
        high = self.hva + (start + count if stop is None else stop)
        return -(-low // self.pmd_pages) < high // self.pmd_pages

    def _in_one_vma(self, block: int) -> bool:
        """thp_vma_suitable_order: the VMA holds all of the block."""
        where = self._indices(block)
        flags = (table[where] for table in self._vma_flags())
        return all(one.count(one[0]) == self.huge_pages for one in flags)

    def clear(self, page: int) -> None:
        """The page-table entry goes."""
        index = page - self._start
        self._huge.discard(index // self.huge_pages)
        self._doubled.discard(index // self.huge_pages)
        was_there = self._state[index] != HostPage.NONE
        self._state[index] = HostPage.NONE
        self._writable[index] = 0
        self._exclusive[index] = 1
        self._compound[index] = 0
        self._lazy[index] = Freed.NO
        self._clean[index] = 0
        self._shared_swap[index] = 0
        if not self.is_file or (was_there and not self._uffd[index] & Uffd.WP):
            # pte_install_uffd_wp_if_needed; a marker that is there is left by zap_pte_range.
            self._uffd_wp[index] = 0

    def forget(self, page: int) -> None:
        """The content is gone, from the page cache too: the next one is zero."""
        self._cached[page - self._start] = Cached.HOLE
        self.erase(page)

    def drop(self, first: int, count: int) -> None:
        """The page-table entries go; anonymous content with them, a file's stays."""
        for page in range(first, first + count):
            self.clear(page)
            if not self.is_file:
                self.forget(page)

    def set_state(self, page: int, state: HostPage) -> None:
        """What the page-table entry holds."""
        self._state[page - self._start] = state

    def set_prot(self, page: int, prot: HostProt) -> None:
        """What the VMA allows."""
        self._prot[page - self._start] = prot
        self._retagged(page - self._start)

    def is_accounted(self, page: int) -> bool:
        """VM_ACCOUNT: the VMA is part of what the machine has promised."""
        return bool(self._account[page - self._start])

    def set_accounted(self, page: int, accounted: bool) -> None:
        """Whether it is."""
        self._account[page - self._start] = accounted

    def set_writable(self, page: int, writable: bool) -> None:
        """Whether the page-table entry allows writes."""
        self._had_readonly = self._had_readonly or not writable
        self._writable[page - self._start] = writable

    def set_forked(self, page: int) -> None:
        """A child has had the page too."""
        self._exclusive[page - self._start] = 0

    def is_exclusive(self, page: int) -> bool:
        """PageAnonExclusive: not after a fork, until the page is written."""
        return bool(self._exclusive[page - self._start])

    def uffd(self, page: int) -> Uffd:
        """What userfaultfd was registered for there."""
        return Uffd(self._uffd[page - self._start])

    def set_uffd(self, page: int, mode: Uffd) -> None:
        """UFFDIO_REGISTER."""
        self._uffd[page - self._start] = mode
        self._retagged(page - self._start)

    def set_uffd_wp(self, page: int, on: bool) -> None:
        """The write-protection of userfaultfd."""
        self._uffd_wp[page - self._start] = on

    def has_uffd_wp(self, page: int) -> bool:
        """pte_uffd_wp, pte_swp_uffd_wp, or a marker: whether userfaultfd waits for it or not."""
        return bool(self._uffd_wp[page - self._start])

    def is_write_protected(self, page: int) -> bool:
        """userfaultfd_pte_wp: a write waits for userfaultfd."""
        index = page - self._start
        return bool(self._uffd_wp[index] and self._uffd[index] & Uffd.WP)

    def set_advice(self, page: int, advice: Advice) -> None:
        """MADV_HUGEPAGE and MADV_NOHUGEPAGE."""
        self._advice[page - self._start] = advice
        self._retagged(page - self._start)

    def advice(self, page: int) -> Advice:
        """What madvise said of huge pages there."""
        return Advice(self._advice[page - self._start])

    def in_cache(self, page: int) -> bool:
        """The file has something other than a hole there."""
        return self._cached[page - self._start] != Cached.HOLE

    def fill(self, page: int, word: int) -> None:
        """A new page of 8 bytes over and over, writable where the VMA is."""
        self.set_words(page, word)
        index = page - self._start
        self._state[index] = HostPage.FILE if self.is_file else HostPage.ANON
        self._writable[index] = self._prot[index] == HostProt.RW
        self._cached[index] = Cached.DIRTY if self.is_file else Cached.HOLE
        self._uffd_wp[index] = 0
        self.make_anon(page)

    def fingerprint(self) -> tuple[object, ...]:
        """All of it, to tell two states apart."""
        tables = (self._state, self._writable, self._prot, self._advice, self._cached, self._lazy)
        more = (
            self._clean,
            self._exclusive,
            self._compound,
            self._shared_swap,
            self._anon_vma,
            self._account,
            self._uffd,
            self._uffd_wp,
        )
        return (
            *(bytes(each) for each in (*tables, *more)),
            tuple(sorted(self._huge)),
            tuple(sorted(self._doubled)),
            tuple(sorted(self._tables)),
            tuple(sorted(self._apart)),
            tuple(sorted(self._seams)),
            self.content(),
        )

    def copied(self, chooser: Chooser) -> Self:
        """The same memory, to go another way from here on."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, (bytearray, set)):
                setattr(other, name, value.copy())
        other._bytes = {page: data.copy() for page, data in self._bytes.items()}
        other._chooser = chooser
        return other
