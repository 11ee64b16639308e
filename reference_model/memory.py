# SPDX-License-Identifier: GPL-2.0-only
"""The host memory behind a slot, as get_user_pages and the MMU notifier see it."""

from __future__ import annotations

from msgspec import Struct

from reference_model.host_content import prefill_word
from reference_model.host_kinds import Advice, Cached, HostPage, HostProt, Uffd
from reference_model.host_pages import HostPages

__all__ = ["Advice", "HostMemory", "HostPage", "HostProt", "Touched", "Uffd", "prefill_word"]


class Touched(Struct, frozen=True, kw_only=True):
    """What a host access, or get_user_pages, did to the host's page tables.

    ``invalidated``: ranges [first page, count) that the MMU notifier took from stage 2 on the way;
    ``copied``: the page that copy-on-write replaced, for kernels with change_pte.
    """

    failed: bool = False
    invalidated: tuple[tuple[int, int], ...] = ()
    copied: int | None = None


#: fault_around_bytes (mm/memory.c), as every kernel begins with it; debugfs can change it.
_FAULT_AROUND = 64 << 10

_FAILED = Touched(failed=True)
_PLAIN = Touched()


class HostMemory(HostPages):
    """The mapping behind one slot, and what faults on it do."""

    def touch(self, page: int, *, write: bool, by_guest: bool = False) -> Touched:
        """A host access; ``by_guest``: get_user_pages, which stores nothing through the entry."""
        index = page - self._start
        prot = self._prot[index]
        if prot < HostProt.R or (write and prot < HostProt.RW):
            return _FAILED
        if self.is_file and self._state[index] == HostPage.NONE:
            if not self._uffd[index] & Uffd.WP:
                self._uffd_wp[index] = 0  # pte_marker_clear: nobody waits for it by now
            if not write:
                self._fault_around(index)
        state = self._state[index]
        if self._waits(index, state, write=write):
            # hva_to_pfn: check_user_page_hwpoison asks once more, for writing.
            again = by_guest and self.knobs.asks_again and prot == HostProt.RW
            if (write or again) and state == HostPage.NONE:
                self.make_anon(page)  # do_anonymous_page has one made before it waits
            return _FAILED
        soils = write and not (by_guest and self.writable(page))
        touched = self._touch(index, state, write=write)
        if soils:
            self.soil(page, through_entry=True)
        return touched

    def _touch(self, index: int, state: int, *, write: bool) -> Touched:
        match state:
            case HostPage.NONE:
                self._fault_in(index, write=write)
            case HostPage.SWAP:
                return self._swap_in(index, write=write)
            case HostPage.ZERO if write:
                self.make_anon(index + self._start)
                return self._write_zero(index)
            case HostPage.ANON | HostPage.FILE if write and not self._writable[index]:
                return self._write_readonly(index)
            case _:
                pass
        return _PLAIN

    def pinned(self, page: int, *, write: bool) -> Touched:
        """What KVM asks for a page of the guest's (hva_to_pfn): get_user_pages, but for devices.

        A device's page is what the page table says, whatever the VMA allows by now
        (hva_to_pfn_remapped): it can be mapped for reading behind mprotect(PROT_NONE).
        """
        if self.state(page) is not HostPage.DEVICE:
            return self.touch(page, write=write, by_guest=True)
        return _FAILED if write and not self.writable(page) else _PLAIN

    def may_choose(self) -> bool:
        """True where a write can have more than one outcome (:meth:`_write_readonly`)."""
        if not self._had_readonly or self.is_file:
            return False
        luck = self.knobs.reuse_is_luck
        return any(
            (state == HostPage.SWAP and (luck or shared))
            or (state == HostPage.ANON and not writable and (luck or not exclusive))
            for state, writable, exclusive, shared in zip(
                self._state, self._writable, self._exclusive, self._shared_swap, strict=True
            )
        )

    def _waits(self, index: int, state: int, *, write: bool) -> bool:
        """handle_userfault, which with UFFD_FEATURE_SIGBUS fails the access.

        A writable entry is never asked. It can have the bit of a write protection whose
        registration went, was stored to, and came back: wp_page_reuse leaves the bit.
        """
        if write and not self._writable[index] and self.is_write_protected(index + self._start):
            # What is not there is brought in first, by do_swap_page or a fault on the file.
            if state == HostPage.SWAP:
                self._swap_in(index, write=False)
            elif state == HostPage.NONE and not self._misses(index):
                self._fault_in(index, write=False)
            return True
        return state == HostPage.NONE and self._misses(index)

    def _misses(self, index: int) -> bool:
        return bool(self._uffd[index] & (Uffd.MINOR if self._cached[index] else Uffd.MISSING))

    def _swap_in(self, index: int, *, write: bool) -> Touched:
        """do_swap_page from a synchronous device: the page is this process's alone.

        It is known to be, unless a fork has put it into the swap cache too.
        """
        shared = self._shared_swap[index]
        if shared == 2:
            shared = 1 - self._chooser.pick(2)
        self._shared_swap[index] = 0
        self._state[index] = HostPage.ANON
        self._exclusive[index] = not shared
        self._writable[index] = 0
        self._clean[index] = 1
        if shared and write:
            return self._write_readonly(index)
        may = self.knobs.swap_in_writable and self._prot[index] == HostProt.RW and not shared
        self._writable[index] = write or (may and not self.is_write_protected(index + self._start))
        return _PLAIN

    def _write_readonly(self, index: int) -> Touched:
        """do_wp_page, do_huge_pmd_wp_page, hugetlb_wp: the page is this process's alone."""
        mapped = self._mapped(index)
        luck = self.knobs.reuse_is_luck or not self._exclusive[index]
        for each in mapped:
            self._writable[each] = 1
            self._exclusive[each] = 1
        if self._is_joinable(index):
            self._apart.add(self._group(index + self._start))  # contpte_ptep_set_access_flags
        if len(mapped) > 1 or self.is_file or self.is_hugetlb:
            return _PLAIN
        # A page that waits in a per-CPU list, of new or of activated pages, has a second reference
        # there: it is copied, unless it is known to be exclusive.
        if luck and (self._is_copied(index) or self._chooser.pick(2)):
            self._compound[index] = 0
            self._uffd_wp[index] = 0
            page = index + self._start
            return Touched(invalidated=((page, 1),), copied=page)
        return _PLAIN

    def _is_copied(self, index: int) -> bool:
        """A part of a huge page is never taken for one's own alone (page_count is the whole's)."""
        return bool(self._compound[index]) and not self.knobs.reuses_parts

    def _fault_around(self, index: int) -> None:
        """do_fault_around: a read fault maps what else the page cache holds near by, if it may.

        Inside the VMA, and not where userfaultfd is to hear of each page
        (uffd_disable_fault_around, since 5.13, as are the modes of files that it is about). Markers
        are left for a fault of their own (filemap_map_pages).
        """
        if self._uffd[index] & (Uffd.WP | Uffd.MINOR):
            return
        around = max(_FAULT_AROUND // self.page_size, 1)
        first = (self.hva + index) // around * around - self.hva
        low, high = index, index + 1
        while low > max(first, 0) and self._in_one(low):
            low -= 1
        while high < min(first + around, len(self._state)) and self._in_one(high):
            high += 1
        for each in range(low, high):
            in_memory = self._cached[each] in (Cached.CLEAN, Cached.DIRTY)
            if self._state[each] == HostPage.NONE and in_memory and not self._uffd_wp[each]:
                self._state[each] = HostPage.FILE
                self._writable[each] = self._prot[each] == HostProt.RW

    def _fault_in(self, index: int, *, write: bool) -> None:
        """do_anonymous_page, do_huge_pmd_anonymous_page, hugetlb_no_page, shmem_fault."""
        if self.is_file:
            self._state[index] = HostPage.FILE
            if self._cached[index] == Cached.HOLE:
                self._cached[index] = Cached.CLEAN
            elif self._cached[index] == Cached.SWAPPED:
                self._cached[index] = Cached.DIRTY  # shmem_swapin_folio
            # vma_wants_writenotify: with userfaultfd's write protection each first write faults.
            self._writable[index] = self._prot[index] == HostProt.RW and (
                write or not self._uffd[index] & Uffd.WP
            )
            return
        block = index // self.huge_pages
        whole = range(block * self.huge_pages, (block + 1) * self.huge_pages)
        if self.is_hugetlb or (
            self.huge_pages > 1
            and block not in self._tables
            and self._advice[index] != Advice.SMALL
            and self._in_one_vma(block)
        ):
            self._huge.add(block)
            self.make_anon(index + self._start)
            indices = whole
        else:
            self._tables.add(block)
            indices = range(index, index + 1)
        anon = write or self.is_hugetlb
        if anon:
            self.make_anon(index + self._start)
        for each in indices:
            self._state[each] = HostPage.ANON if anon else HostPage.ZERO
            self._writable[each] = write
            self._compound[each] = anon and len(indices) > 1

    def _write_zero(self, index: int) -> Touched:
        """Copy-on-write of the zero page: wp_page_copy, do_huge_pmd_wp_page."""
        block = index // self.huge_pages
        self._uffd_wp[index] = 0
        if block not in self._huge:
            self._state[index] = HostPage.ANON
            self._writable[index] = 1
            page = index + self._start
            return Touched(invalidated=((page, 1),), copied=page)
        whole = (block * self.huge_pages + self._start, self.huge_pages)
        if self.knobs.huge_zero_becomes_huge:
            for each in self._mapped(index):
                self._state[each] = HostPage.ANON
                self._writable[each] = 1
                self._compound[each] = 1
            return Touched(invalidated=(whole,))
        self._huge.discard(block)
        self._tables.add(block)
        self._state[index] = HostPage.ANON
        self._writable[index] = 1
        page = index + self._start
        return Touched(invalidated=(whole, (page, 1)), copied=page)
