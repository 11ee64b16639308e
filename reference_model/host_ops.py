# SPDX-License-Identifier: GPL-2.0-only
"""What the host does to the memory behind a slot, and what of it reaches stage 2.

The MMU notifier's invalidate_range_start takes the range, as far as slots hold it, from stage 2:
whole blocks where it meets them (kvm_unmap_hva_range, kvm_unmap_gfn_range).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reference_model import scenario as sc
from reference_model.fault import EFAULT, GuestMemory
from reference_model.outcome import Observation
from reference_model.slot_ioctls import EINVAL, host_step
from reference_model.slots import Slot
from reference_model.unpredictable import UndefinedError


class HostOps:
    """The handlers of these steps, over one VM's memory."""

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory
        self._env = memory.env

    def handlers(self) -> dict[type[Any], Callable[[Any], Observation]]:
        """Operation to handler."""
        return {
            sc.HostRead: self._host_read,
            sc.HostWrite: self._host_write,
            sc.Madvise: self._madvise,
        }

    def _host_read(self, op: sc.HostRead) -> Observation:
        slot, offset = self._memory.backing(op.gpa)
        page = offset // self._env.page_size
        done, calls = self._memory.host_touch(slot, page, write=False)
        if not done:
            return Observation(ret=EFAULT, data=None, faults=0, maps=calls, marks=())
        data = slot.memory.read(offset, op.size)
        return Observation(ret=0, data=data, faults=0, maps=calls, marks=())

    def _host_write(self, op: sc.HostWrite) -> Observation:
        slot, offset = self._memory.backing(op.gpa)
        page = offset // self._env.page_size
        done, calls = self._memory.host_touch(slot, page, write=True)
        if not done:
            return Observation(ret=EFAULT, faults=0, maps=calls, marks=())
        slot.memory.write(offset, op.size, op.value)
        return Observation(ret=0, faults=0, maps=calls, marks=())

    def _range(self, op: Any) -> tuple[Slot, int, int] | None:
        """Slot, first page and pages of a range; None where it does not begin at a page."""
        slot, offset = self._memory.backing(op.gpa)
        page_size = self._env.page_size
        if offset % page_size:
            return None
        pages = -(-op.size // page_size)
        first = offset // page_size
        if first + pages > slot.pages:
            raise UndefinedError("the range leaves its slot; make size smaller")
        return slot, first, pages

    def _madvise(self, op: sc.Madvise) -> Observation:
        found = self._range(op)
        if found is None:
            return host_step(EINVAL)
        slot, first, pages = found
        if op.advice == "dontneed":
            return self._dontneed(slot, first, pages)
        raise UndefinedError(f"the model does not know madvise {op.advice} yet")

    def _dontneed(self, slot: Slot, first: int, pages: int) -> Observation:
        if slot.memory.is_hugetlb:
            huge = slot.memory.huge_pages
            if not self._memory.knobs.hugetlb_dontneed or (slot.memory.hva + first) % huge:
                return host_step(EINVAL)
            pages -= pages % huge
        self.zap(slot, first, pages)
        return host_step(0)

    def zap(self, slot: Slot, first: int, pages: int) -> None:
        """zap_page_range: the notifier, huge pages split at the edges, then the entries."""
        if pages <= 0:
            return
        self._memory.unmap_pages(slot, first, pages)
        for block, count in slot.memory.split_edges(first, pages):
            self._memory.unmap_pages(slot, block, count)
        slot.memory.drop(first, pages)
