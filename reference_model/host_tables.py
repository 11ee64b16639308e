# SPDX-License-Identifier: GPL-2.0-only
"""The host's page tables over the memory behind a slot, entry by entry, and what the pages hold.

Pages are numbered from the slot's start; memory with huge pages reaches out over both ends of the
slot, to numbers below 0 and above its last page. Offsets and sizes are bytes.
"""

from __future__ import annotations

import copy
import enum
from typing import Self

from reference_model.choice import Chooser
from reference_model.fault_knobs import FaultKnobs
from reference_model.scenario import Backing

_MOVZ_W0 = 0x5280_0000
_RET = 0xD65F_03C0


class HostPage(enum.IntEnum):
    """What the host page table holds for one page."""

    NONE = 0
    ZERO = 1  # the shared zero page, or a part of the huge one
    ANON = 2
    FILE = 3  # of the page cache: shmem, memfd, a read-only file
    SWAP = 4
    DEVICE = 5  # of no struct page: VM_PFNMAP, there since mmap()


class HostProt(enum.IntEnum):
    """What the VMA allows."""

    GONE = 0
    NONE = 1
    R = 2
    RW = 3


class Uffd(enum.IntFlag):
    """What userfaultfd was registered for."""

    MISSING = 1
    MINOR = 2
    WP = 4


class HostTables:
    """The mapping behind one slot, as data: nothing here decides what happens."""

    def __init__(
        self,
        size: int,
        page_shift: int,
        backing: Backing,
        knobs: FaultKnobs,
        chooser: Chooser | None = None,
    ) -> None:
        self.page_size = 1 << page_shift
        self.pages = -(-size // self.page_size)
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
        self._start = -lead
        count = -(-(lead + self.pages) // self.huge_pages) * self.huge_pages
        fixed = backing.kind in ("file_ro", "shmem", "memfd")
        full = backing.prefill or backing.kind == "file_ro"
        first = HostPage.NONE
        if full:
            first = HostPage.FILE if fixed else HostPage.ANON
        elif backing.kind == "zero":
            first = HostPage.ZERO
        elif backing.kind == "device":
            first = HostPage.DEVICE
        self._state = bytearray([first]) * count
        #: The page-table entry is writable.
        writable = (full and backing.kind != "file_ro") or first is HostPage.DEVICE
        self._writable = bytearray([writable]) * count
        self._prot = bytearray([HostProt.R if backing.kind == "file_ro" else HostProt.RW]) * count
        #: Huge pages may be made here (MADV_HUGEPAGE, or the system's always).
        self._eligible = bytearray([self.huge_pages > 1]) * count
        #: Numbers of the huge pages that are mapped as such.
        self._huge: set[int] = set()
        #: Blocks that have a table of pages: nothing but collapse or munmap makes them huge again.
        self._tables: set[int] = set()
        #: Those of them that another process mapped page by page at some time.
        self._doubled: set[int] = set()
        if full and self.huge_pages > 1:
            self._huge = set(range(count // self.huge_pages))
        #: The page is a part of a huge one, though it may be mapped by itself.
        self._compound = bytearray([full and self.huge_pages > 1]) * count
        #: Some anonymous page was read-only, or in swap, at some time.
        self._had_readonly = False
        #: PageAnonExclusive.
        self._exclusive = bytearray([1]) * count
        #: What userfaultfd waits for on the page; and whether it is write-protected by it.
        self._uffd = bytearray(count)
        self._uffd_wp = bytearray(count)
        #: The VMA has an anon_vma: fork copies its page tables.
        self.has_anon = full and not self.is_file
        self._prefilled = bytearray([full]) * count
        self._bytes: dict[int, bytearray] = {}

    # --- looking -----------------------------------------------------------------------------

    @property
    def is_hugetlb(self) -> bool:
        """True for memory from the hugetlb pool."""
        return self.kind == "hugetlb"

    @property
    def is_device(self) -> bool:
        """True for memory of a device."""
        return self.kind == "device"

    @property
    def is_file(self) -> bool:
        """True for memory whose pages the page cache holds."""
        return self.kind in ("shmem", "memfd", "file_ro")

    def state(self, page: int) -> HostPage:
        """What the host page table holds for the page."""
        return HostPage(self._state[page - self._start])

    def prot(self, page: int) -> HostProt:
        """What the VMA allows there."""
        return HostProt(self._prot[page - self._start])

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

    def _block(self, page: int) -> int:
        return (page - self._start) // self.huge_pages

    # --- what the host changes ----------------------------------------------------------------

    def block_around(self, page: int) -> tuple[int, int]:
        """First page and size of what the page's entry maps."""
        mapped = self._mapped(page - self._start)
        return mapped.start + self._start, len(mapped)

    def vma(self, page: int) -> tuple[int, int]:
        """First page of, and the one behind, the VMA that a page lies in.

        VMAs of equal flags that meet are one (vma_merge).
        """

        start = stop = page - self._start
        same = self._flags(start)
        while start > 0 and self._flags(start - 1) == same:
            start -= 1
        while stop < len(self._prot) and self._flags(stop) == same:
            stop += 1
        return start + self._start, stop + self._start

    def _flags(self, index: int) -> tuple[int, int, int]:
        return self._prot[index], self._eligible[index], self._uffd[index]

    def _in_one_vma(self, block: int) -> bool:
        """thp_vma_suitable_order: the VMA holds all of the block."""
        first = block * self.huge_pages
        same = self._flags(first)
        return all(self._flags(index) == same for index in range(first, first + self.huge_pages))

    def split_block(self, page: int) -> None:
        """The page's huge entry becomes entries of pages."""
        if self._block(page) in self._huge:
            self._huge.discard(self._block(page))
            self._tables.add(self._block(page))
        self._doubled.discard(self._block(page))

    def parts(self, page: int) -> list[int]:
        """The pages of the huge page that this one is a part of; none where it is a small one."""
        index = page - self._start
        if self.is_hugetlb or not self._compound[index]:
            return []
        block = index // self.huge_pages * self.huge_pages
        return [
            each + self._start
            for each in range(block, block + self.huge_pages)
            if self._compound[each]
        ]

    def break_up(self, page: int) -> None:
        """split_huge_page: the parts are small pages from here on.

        Where the kernel does so, parts that hold nothing but zeroes become the shared zero page.
        """
        for each in self.parts(page):
            index = each - self._start
            self._compound[index] = 0
            if self.knobs.split_frees_zeroes and self._is_zero(each):
                self._state[index] = HostPage.ZERO
                self._writable[index] = 0
        self.split_block(page)

    def _is_zero(self, page: int) -> bool:
        content = self._bytes.get(page)
        return not any(content) if content is not None else not self._prefilled[page - self._start]

    def set_doubled(self, page: int) -> None:
        """Another process has split its mapping of this page's huge page (PG_double_map)."""
        if self._block(page) in self._huge and not self.is_hugetlb:
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
        return True

    def clear(self, page: int) -> None:
        """The page-table entry goes."""
        index = page - self._start
        self._huge.discard(index // self.huge_pages)
        self._doubled.discard(index // self.huge_pages)
        self._state[index] = HostPage.NONE
        self._writable[index] = 0
        self._exclusive[index] = 1
        self._compound[index] = 0
        self._uffd_wp[index] = 0

    def forget(self, page: int) -> None:
        """The content is gone: the next one is zero."""
        self._prefilled[page - self._start] = 0
        self._bytes.pop(page, None)

    def drop(self, first: int, count: int) -> None:
        """The page-table entries go; anonymous content with them, a file's stays."""
        for page in range(first, first + count):
            self.clear(page)
            if not self.is_file:
                self.forget(page)

    def set_state(self, page: int, state: HostPage) -> None:
        """What the page-table entry holds."""
        self._had_readonly = self._had_readonly or state is HostPage.SWAP
        self._state[page - self._start] = state

    def set_prot(self, page: int, prot: HostProt) -> None:
        """What the VMA allows."""
        self._prot[page - self._start] = prot

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

    def set_uffd_wp(self, page: int, on: bool) -> None:
        """The write-protection of userfaultfd."""
        self._uffd_wp[page - self._start] = on

    def set_eligible(self, page: int, eligible: bool) -> None:
        """VM_HUGEPAGE and VM_NOHUGEPAGE."""
        self._eligible[page - self._start] = eligible

    def is_eligible(self, page: int) -> bool:
        """Huge pages may be made there."""
        return bool(self._eligible[page - self._start])

    def _in_cache(self, index: int) -> bool:
        return bool(self._prefilled[index]) or index + self._start in self._bytes

    def in_cache(self, page: int) -> bool:
        """The page cache holds something other than a hole."""
        return self._in_cache(page - self._start)

    def fill(self, page: int, word: int) -> None:
        """A new page of 8 bytes over and over, writable."""
        self._bytes[page] = bytearray(word.to_bytes(8, "little") * (self.page_size // 8))
        index = page - self._start
        self._state[index] = HostPage.FILE if self.is_file else HostPage.ANON
        self._writable[index] = 1
        self.has_anon = self.has_anon or not self.is_file

    def fingerprint(self) -> tuple[object, ...]:
        """All of it, to tell two states apart."""
        tables = (self._state, self._writable, self._prot, self._eligible)
        more = (self._exclusive, self._compound, self._uffd, self._uffd_wp, self._prefilled)
        content = sorted((page, bytes(data)) for page, data in self._bytes.items())
        return (
            *(bytes(each) for each in (*tables, *more)),
            tuple(sorted(self._huge)),
            tuple(sorted(self._doubled)),
            tuple(sorted(self._tables)),
            tuple(content),
        )

    # --- content -----------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """The little-endian value at an offset; size bytes inside one page."""
        page, at = divmod(offset, self.page_size)
        content = self._bytes.get(page)
        if content is None:
            if not self._prefilled[page - self._start]:
                return 0
            word = prefill_word(page).to_bytes(8, "little")
            return int.from_bytes((word * 2)[at % 8 : at % 8 + size], "little")
        return int.from_bytes(content[at : at + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Store a little-endian value; size bytes inside one page."""
        self.write_bytes(offset, value.to_bytes(size, "little"))

    def write_bytes(self, offset: int, data: bytes) -> None:
        """Store bytes inside one page."""
        page, at = divmod(offset, self.page_size)
        content = self._bytes.get(page)
        if content is None:
            word = prefill_word(page) if self._prefilled[page - self._start] else 0
            content = bytearray(word.to_bytes(8, "little") * (self.page_size // 8))
            self._bytes[page] = content
        content[at : at + len(data)] = data

    def copied(self, chooser: Chooser) -> Self:
        """The same memory, to go another way from here on."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, (bytearray, set)):
                setattr(other, name, value.copy())
        other._bytes = {page: data.copy() for page, data in self._bytes.items()}
        other._chooser = chooser
        return other


def prefill_word(page: int) -> int:
    """The 8 bytes that fill page number ``page``: ``movz w0, #page; ret``."""
    return (_RET << 32) | _MOVZ_W0 | (page & 0xFFFF) << 5
