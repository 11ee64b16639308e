# SPDX-License-Identifier: GPL-2.0-only
"""userfaultfd over the memory behind slots: what it gives, and what it keeps back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reference_model import host_changes as changes
from reference_model import scenario as sc
from reference_model.fault import GuestMemory
from reference_model.memory import HostMemory, HostPage, HostProt, Uffd
from reference_model.outcome import Observation
from reference_model.slot_ioctls import EEXIST, EFAULT, EINVAL, ENOENT, host_step
from reference_model.unpredictable import UndefinedError

#: EBADF: nothing was registered, so there is no userfaultfd.
EAGAIN, EBADF, EBUSY = -11, -9, -16
_MODES = {"missing": Uffd.MISSING, "minor": Uffd.MINOR, "wp": Uffd.WP}


class UffdOps:
    """The handlers of these steps, over one VM's memory."""

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory

    def handlers(self) -> dict[type[Any], Callable[[Any], Observation]]:
        """Operation to handler."""
        return {
            sc.UffdRegister: self._register,
            sc.UffdCopy: self._copy,
            sc.UffdZero: self._zero,
            sc.UffdContinue: self._continue,
            sc.UffdWp: self._protect,
        }

    def _register(self, op: sc.UffdRegister) -> Observation:
        memory, first, pages = self._range(op)
        self._memory.has_uffd = True
        mode = Uffd(0)
        for name in op.mode:
            mode |= _MODES[name]
        # vma_can_userfault: no memory of devices, minor faults of files alone.
        if memory.is_device or (mode & Uffd.MINOR and not memory.is_file):
            return host_step(EINVAL)
        # Markers of write protection would be left that no mode describes.
        drops_wp = not mode & Uffd.WP and any(
            memory.uffd(page) & Uffd.WP for page in range(first, first + pages)
        )
        if drops_wp and memory.knobs.uffd_keeps_wp:
            return host_step(EBUSY)
        slot, _ = self._memory.backing(op.gpa)
        # What has these modes among others keeps them all.
        changed = [page for page in range(first, first + pages) if mode & ~memory.uffd(page)]
        apart = None
        if changed and not memory.knobs.uffd_merges_next:
            start, stop = memory.vma(changed[0])
            apart = stop if start < changed[0] and stop - 1 in changed else None
        ranges = changes.retag(memory, changed, lambda page: memory.set_uffd(page, mode), apart)
        self._memory.unmap_ranges(slot, ranges)
        return host_step(0)

    def _copy(self, op: sc.UffdCopy) -> Observation:
        """mfill_atomic_copy: page by page, until one is there already."""

        def fill(memory: HostMemory, page: int) -> int:
            if memory.state(page) is not HostPage.NONE or (
                memory.is_file and memory.in_cache(page)
            ):
                return EEXIST
            memory.fill(page, op.value)
            return 0

        return self._each(op, fill)

    def _zero(self, op: sc.UffdZero) -> Observation:
        """mfill_atomic_zeropage."""

        def fill(memory: HostMemory, page: int) -> int:
            if memory.state(page) is not HostPage.NONE or (
                memory.is_file and memory.in_cache(page)
            ):
                return EEXIST
            if memory.is_file:
                memory.fill(page, 0)
            else:
                memory.set_state(page, HostPage.ZERO)
            return 0

        return self._each(op, fill)

    def _continue(self, op: sc.UffdContinue) -> Observation:
        """mfill_atomic_continue: maps what the page cache holds; -EFAULT where it holds nothing."""

        def fill(memory: HostMemory, page: int) -> int:
            if not memory.is_file:
                return EINVAL
            if memory.state(page) is not HostPage.NONE:
                return EEXIST
            if not memory.in_cache(page):
                return EFAULT
            memory.set_state(page, HostPage.FILE)
            memory.soil(page)
            memory.set_writable(page, memory.prot(page) is HostProt.RW)
            # mfill_atomic_install_pte writes over a marker, and without UFFDIO_CONTINUE_MODE_WP
            # the entry is not write-protected, whatever the marker said.
            memory.set_uffd_wp(page, on=False)
            return 0

        return self._each(op, fill)

    def _protect(self, op: sc.UffdWp) -> Observation:
        memory, first, pages = self._range(op)
        if not self._memory.has_uffd:
            return host_step(EBADF)
        slot, _ = self._memory.backing(op.gpa)
        # mwriteprotect_range: VMA by VMA, up to the first that is not registered for it.
        stop = first + pages
        missed = next(
            (page for page in range(first, stop) if not memory.uffd(page) & Uffd.WP), stop
        )
        if missed > first:
            ranges = changes.uffd_protect(memory, first, missed - first, on=op.protect)
            self._memory.unmap_ranges(slot, ranges)
        return host_step(0 if missed == stop else ENOENT)

    def _each(self, op: Any, fill: Callable[[HostMemory, int], int]) -> Observation:
        """UFFDIO_COPY and its like: an error after the first page is -EAGAIN."""
        memory, first, pages = self._range(op)
        if not self._memory.has_uffd:
            return host_step(EBADF)
        if memory.knobs.uffd_anon_first:
            memory.make_anon(first)
        if not memory.uffd(first) or memory.vma(first)[1] < first + pages:
            # validate_dst_vma: all of it in one VMA.
            return host_step(ENOENT)
        if not isinstance(op, sc.UffdContinue):
            memory.make_anon(first)
        for page in range(first, first + pages):
            error = fill(memory, page)
            if error:
                return host_step(error if page == first else EAGAIN)
        return host_step(0)

    def _range(self, op: Any) -> tuple[HostMemory, int, int]:
        slot, offset = self._memory.backing(op.gpa)
        page_size = self._memory.env.page_size
        if offset % page_size or op.size % page_size:
            raise UndefinedError("userfaultfd takes whole pages; align gpa and size to them")
        first, pages = offset // page_size, op.size // page_size
        if first + pages > slot.pages:
            raise UndefinedError("the range leaves its slot; make size smaller")
        memory = slot.memory
        if any(memory.prot(page) is HostProt.GONE for page in range(first, first + pages)):
            raise UndefinedError("userfaultfd over unmapped memory; remap it first")
        if memory.huge_pages > 1 or memory.kind == "file_ro":
            raise UndefinedError("userfaultfd is modelled for small pages of anon, zero, shmem")
        return memory, first, pages
