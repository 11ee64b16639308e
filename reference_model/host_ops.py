# SPDX-License-Identifier: GPL-2.0-only
"""What the host does to the memory behind a slot, and what of it reaches stage 2.

The MMU notifier's invalidate_range_start takes the range, as far as slots hold it, from stage 2:
whole blocks where it meets them (kvm_unmap_hva_range, kvm_unmap_gfn_range).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reference_model import host_changes as changes
from reference_model import scenario as sc
from reference_model.fault import EFAULT, GuestMemory
from reference_model.memory import Advice, HostMemory, HostProt
from reference_model.outcome import Observation
from reference_model.slot_ioctls import EINVAL, host_step, with_flushes
from reference_model.slots import Slot
from reference_model.stage1 import STAGE1_TABLE, stage1_table
from reference_model.unpredictable import UndefinedError

EACCES, ENOMEM = -13, -12
_ADVICE = {"hugepage": Advice.HUGE, "nohugepage": Advice.SMALL}
_PROTS = {"none": HostProt.NONE, "r": HostProt.R, "rw": HostProt.RW}


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
            sc.Mprotect: self._mprotect,
            sc.Remap: self._remap,
            sc.Age: self._age,
            sc.PunchHole: self._punch_hole,
            sc.ForkTouch: self._fork_touch,
            sc.Stage1Tables: self._stage1_tables,
        }

    def _host_read(self, op: sc.HostRead) -> Observation:
        slot, offset = self._accessed(op)
        page = offset // self._env.page_size
        done, calls = self._memory.host_touch(slot, page, write=False)
        if not done:
            return Observation(ret=EFAULT, data=None, faults=0, maps=calls, marks=())
        data = slot.memory.read(offset, op.size)
        return Observation(ret=0, data=data, faults=0, maps=calls, marks=())

    def _host_write(self, op: sc.HostWrite) -> Observation:
        slot, offset = self._accessed(op)
        page = offset // self._env.page_size
        done, calls = self._memory.host_touch(slot, page, write=True)
        if not done:
            return Observation(ret=EFAULT, faults=0, maps=calls, marks=())
        slot.memory.write(offset, op.size, op.value)
        return Observation(ret=0, faults=0, maps=calls, marks=())

    def _accessed(self, op: sc.HostRead | sc.HostWrite) -> tuple[Slot, int]:
        slot, offset = self._memory.backing(op.gpa)
        if slot.memory.is_device and op.gpa % op.size:
            raise UndefinedError("an unaligned access to a device's memory may abort; align it")
        return slot, offset

    def _range(self, op: Any) -> tuple[Slot, int, int] | None:
        """Slot, first page and pages of a range; None where it does not begin at a page."""
        slot, offset = self._memory.backing(op.gpa)
        page_size = self._env.page_size
        if offset + op.size > slot.pages * page_size:
            raise UndefinedError("the range leaves its slot; make size smaller")
        if offset % page_size:
            return None
        return slot, offset // page_size, -(-op.size // page_size)

    def _madvise(self, op: sc.Madvise) -> Observation:
        found = self._range(op)
        if found is None:
            return host_step(EINVAL)
        slot, first, pages = found
        memory, knobs = slot.memory, self._memory.knobs
        ranges: changes.Ranges = []
        if memory.is_device and op.advice not in ("hugepage", "nohugepage"):
            return self._advise_device(op, memory, first, pages)
        if _holey(memory, first, pages):
            return self._advise_around_holes(op, slot, first, pages)
        match op.advice:
            case "dontneed":
                if memory.is_hugetlb:
                    if not knobs.hugetlb_dontneed or (memory.hva + first) % memory.huge_pages:
                        return host_step(EINVAL)
                    pages -= pages % memory.huge_pages
                ranges = changes.dontneed(memory, first, pages)
            case "free":
                if memory.is_hugetlb or memory.is_file:
                    return host_step(EINVAL)
                ranges = changes.by_vma(memory, first, pages, changes.free)
            case "pageout":
                if memory.is_hugetlb:
                    return host_step(EINVAL)
                ranges = changes.by_vma(memory, first, pages, changes.page_out)
            case "hugepage" | "nohugepage":
                return self._advise(slot, first, pages, _ADVICE[op.advice])
            case "collapse":
                return self._collapse(slot, first, pages)
        self._memory.unmap_ranges(slot, ranges)
        return host_step(0)

    def _advise_around_holes(
        self, op: sc.Madvise, slot: Slot, first: int, pages: int
    ) -> Observation:
        """madvise_walk_vmas: what is mapped is advised, and the end is -ENOMEM."""
        memory = slot.memory
        if memory.is_hugetlb or op.advice not in ("dontneed", "pageout", "free"):
            raise UndefinedError(f"the model does not know {op.advice} over unmapped memory")
        if op.advice == "free" and memory.is_file:
            raise UndefinedError("the model does not know free over unmapped memory of a file")
        change = {"dontneed": changes.dontneed, "pageout": changes.page_out, "free": changes.free}
        mapped = (
            page for page in range(first, first + pages) if memory.prot(page) is not HostProt.GONE
        )
        for start, count in changes.runs_of(mapped):
            ranges = changes.by_vma(memory, start, count, change[op.advice])
            self._memory.unmap_ranges(slot, ranges)
        return host_step(ENOMEM)

    def _advise_device(
        self, op: sc.Madvise, memory: HostMemory, first: int, pages: int
    ) -> Observation:
        """VM_PFNMAP: can_madv_lru_vma, madvise_dontneed_free_valid_vma, VM_NO_KHUGEPAGED."""
        if op.advice == "collapse" and not self._memory.knobs.madv_collapse:
            return host_step(EINVAL)
        gone = all(memory.prot(page) is HostProt.GONE for page in range(first, first + pages))
        return host_step(ENOMEM if gone else EINVAL)

    def _advise(self, slot: Slot, first: int, pages: int, advice: Advice) -> Observation:
        """hugepage_madvise: flags of the VMA, which may have to be split for them."""
        memory = slot.memory
        _needs_whole(memory, first, pages)
        changed = [page for page in range(first, first + pages) if memory.advice(page) != advice]
        if not changed:
            return host_step(0)
        stop = _splits_until(memory, first, pages, lambda page: memory.advice(page) != advice)
        if memory.kind in ("anon", "zero") and memory.huge_pages == 1 and memory.has_blocks():
            raise UndefinedError(
                "whether huge pages come of this is luck; give the backing thp: madvise"
            )
        changed = [page for page in changed if page < stop]
        ranges = changes.retag(memory, changed, lambda page: memory.set_advice(page, advice))
        self._memory.unmap_ranges(slot, ranges)
        return host_step(0 if stop == first + pages else EINVAL)

    def _collapse(self, slot: Slot, first: int, pages: int) -> Observation:
        """madvise_collapse, VMA by VMA until one fails."""
        knobs = self._memory.knobs
        memory = slot.memory
        if not knobs.madv_collapse or memory.is_hugetlb:
            return host_step(EINVAL)
        at, end = first, first + pages
        while at < end:
            start, stop = memory.vma(at)
            if memory.advice(at) is Advice.SMALL or not memory.has_blocks(start, stop):
                return host_step(EINVAL)
            if memory.kind != "anon":
                raise UndefinedError(f"the model does not know collapse of {memory.kind} memory")
            if not memory.has_anon(at):
                # No anon_vma: nothing was stored yet.
                return host_step(EINVAL)
            stop = min(stop, end)
            block = memory.pmd_pages
            has_edge = -(-(memory.hva + at) // block) <= (memory.hva + stop) // block
            if knobs.collapse_needs_edge and not has_edge:
                return host_step(EINVAL)
            ranges = changes.collapse(memory, at, stop - at)
            if ranges is None:
                raise UndefinedError("whether this collapses is not known; write it all first")
            self._memory.unmap_ranges(slot, ranges)
            at = stop
        return host_step(0)

    def _mprotect(self, op: sc.Mprotect) -> Observation:
        found = self._range(op)
        if found is None:
            return host_step(EINVAL)
        slot, first, pages = found
        memory = slot.memory
        prot = _PROTS[op.prot]
        if _holey(memory, first, pages):
            raise UndefinedError("mprotect over unmapped memory stops midway; remap it first")
        _needs_whole(memory, first, pages)
        if memory.kind == "file_ro" and op.prot == "rw":
            return host_step(EACCES)
        stop = _splits_until(memory, first, pages, lambda page: memory.prot(page) is not prot)
        ranges = changes.protect(memory, first, stop - first, prot)
        self._memory.unmap_ranges(slot, ranges)
        return host_step(0 if stop == first + pages else EINVAL)

    def _remap(self, op: sc.Remap) -> Observation:
        found = self._range(op)
        if found is None:
            return host_step(EINVAL)
        slot, first, pages = found
        memory = slot.memory
        if op.to == "none":
            _needs_whole(memory, first, pages)
            if memory.is_hugetlb and any(
                (memory.hva + edge) % memory.huge_pages and memory.prot(page) is not HostProt.GONE
                for edge, page in ((first, first), (first + pages, first + pages - 1))
            ):
                # hugetlb_vm_op_split; at the beginning of the range the VMA is split before.
                at_start = not (memory.hva + first) % memory.huge_pages
                if at_start and memory.prot(first) is not HostProt.GONE:
                    memory.set_seam(first)
                return host_step(EINVAL)
            ranges = changes.unmap(memory, first, pages)
        elif memory.kind in ("anon", "zero") and memory.huge_pages == 1:
            ranges = changes.remap(memory, first, pages)
        else:
            raise UndefinedError("remap to fresh memory is for small pages of anonymous memory")
        self._memory.unmap_ranges(slot, ranges)
        return host_step(0)

    def _age(self, op: sc.Age) -> Observation:
        """clear_flush_young page by page, as reclaim does: kvm_age_gfn.

        What a huge page would fill is aged at once (pmdp_clear_flush_young_notify), whatever is
        there.
        """
        found = self._range(op)
        if found is None:
            raise UndefinedError("ageing takes whole pages; align gpa to them")
        slot, first, pages = found
        flushes = 0
        page, stop, pmd = first, first + pages, slot.memory.pmd_pages
        while page < stop:
            whole = (slot.memory.hva + page) % pmd == 0 and page + pmd <= stop
            step = pmd if whole else 1
            flushes += self._age_at_once(slot.gfn + page, step)
            page += step
        return with_flushes(host_step(0), flushes)

    def _age_at_once(self, gfn: int, count: int) -> bool:
        """kvm_age_gfn; True if something was young."""
        looked_at = count if self._memory.knobs.ages_ranges else 1
        stage2 = self._memory.stage2
        return sum(stage2.set_young(gfn + at, young=False) for at in range(looked_at)) > 0

    def _punch_hole(self, op: sc.PunchHole) -> Observation:
        found = self._range(op)
        if found is None:
            return host_step(EINVAL)
        slot, first, pages = found
        memory = slot.memory
        if memory.kind in ("file_ro", "hugetlb") and not _holey(memory, first, pages):
            return host_step(EACCES)
        if _holey(memory, first, pages):
            raise UndefinedError("a hole over unmapped memory is not modelled; remap it first")
        if memory.is_device:
            # vfs_fallocate compares the BAR's physical address with the largest file of sysfs.
            raise UndefinedError("how a hole in a device's memory fails depends on its address")
        if not memory.is_file:
            return host_step(EINVAL)
        stop = first + pages
        if self._memory.knobs.remove_needs_write:
            # VMA by VMA, up to the first that is not writable.
            locked = (page for page in range(first, stop) if memory.prot(page) is not HostProt.RW)
            stop = next(locked, stop)
        self._memory.unmap_ranges(slot, changes.zap(memory, first, stop - first))
        for page in range(first, stop):
            memory.forget(page)
        return host_step(0 if stop == first + pages else EACCES)

    def _fork_touch(self, op: sc.ForkTouch) -> Observation:
        found = self._range(op)
        if found is None:
            raise UndefinedError("gpa is not aligned to a page")
        touched, first, pages = found
        if any(
            touched.memory.prot(page) is not HostProt.RW for page in range(first, first + pages)
        ):
            raise UndefinedError("the child cannot write there; make the range rw, or another one")
        # dup_mmap copies the whole address space, other slots' memory too.
        for slot in self._memory.slots.values():
            pages_here = range(first, first + pages if slot is touched else first)
            self._memory.unmap_ranges(slot, changes.fork(slot.memory, pages_here))
        return host_step(0)

    def _stage1_tables(self, op: sc.Stage1Tables) -> Observation:
        calls: list[Any] = []
        if self._memory.is_device(op.gpa) or self._memory.is_device(op.gpa + STAGE1_TABLE):
            raise UndefinedError("a stage-1 walk of Device memory is refused (HCR_EL2.PTW)")
        for level, table in enumerate((op.gpa, op.gpa + STAGE1_TABLE)):
            slot, offset = self._memory.backing(table)
            page = offset // self._env.page_size
            done, made = self._memory.host_touch(slot, page, write=True)
            if not done:
                raise UndefinedError(f"the host cannot write stage-1 tables at {table:#x}")
            calls += made
            slot.memory.write_bytes(offset, stage1_table(level, op.gpa, af=op.af))
        return Observation(ret=0, faults=0, maps=tuple(calls), marks=())


def _needs_whole(memory: HostMemory, first: int, pages: int) -> None:
    """VMAs of a device's memory never merge: which blocks lie in one is not followed."""
    if memory.is_device and memory.pages >= memory.pmd_pages and pages != memory.pages:
        raise UndefinedError(
            f"pages {first} to {first + pages - 1} of a device's memory that holds a block: give "
            "the whole slot, or make it smaller"
        )


def _splits_until(
    memory: HostMemory, first: int, pages: int, differs: Callable[[int], bool]
) -> int:
    """Up to which page the VMAs of a range can be changed where they differ.

    One of hugetlb memory is split between huge pages only (hugetlb_vm_op_split): the call fails
    there, and what lies before it has changed. Where it is the end of the range that fails, the VMA
    is split at its beginning by then (vma_modify, mprotect_fixup), and stays so.
    """
    at, end = first, first + pages
    while memory.is_hugetlb and at < end:
        start, stop = memory.vma(at)
        edges = [edge for edge in (at, min(stop, end)) if edge not in (start, stop)]
        inside = [edge for edge in edges if (memory.hva + edge) % memory.huge_pages]
        if differs(at) and inside:
            if at != start and at not in inside:
                memory.set_seam(at)
            return at
        at = stop
    return end


def _holey(memory: HostMemory, first: int, pages: int) -> bool:
    """True where munmap has been."""
    return any(memory.prot(page) is HostProt.GONE for page in range(first, first + pages))
