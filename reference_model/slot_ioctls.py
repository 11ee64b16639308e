# SPDX-License-Identifier: GPL-2.0-only
"""The VM's ioctls on memslots and dirty logs, with arm64's ``kvm_arch_…`` hooks.

``__kvm_set_memory_region``, ``kvm_get_dirty_log_protect``, ``kvm_clear_dirty_log_protect`` and
``kvm_vm_ioctl_reset_dirty_pages`` of virt/kvm/kvm_main.c; the order of their checks is the same
from 5.10 to 7.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from reference_model import scenario as sc
from reference_model.fault import GuestMemory
from reference_model.memory import HostMemory, HostProt
from reference_model.outcome import Observation
from reference_model.scenario import RESERVED_GPA
from reference_model.slots import WORD, Slot, ring_batches, word_spans
from reference_model.unpredictable import UndefinedError

EINVAL, EEXIST, EFAULT, ENOENT, ENXIO = -22, -17, -14, -2, -6


def _has_device(slot: Slot) -> bool:
    """A VM_PFNMAP VMA lies behind the slot: "IO region dirty page logging not allowed"."""
    memory = slot.memory
    return memory.is_device and any(
        memory.prot(page) is not HostProt.GONE for page in range(slot.pages)
    )


def host_step(ret: int) -> Observation:
    """A host step that shows its return value and touches no page."""
    return Observation(ret=ret, faults=0, maps=(), marks=())


def with_flushes(
    seen: Observation, count: int, ranges: tuple[tuple[int, int], ...] = ()
) -> Observation:
    """The same step, which asked for so many flushes of the VM's TLB entries, and of ranges."""
    return replace(seen, stats={"remote_tlb_flush_requests": count}, flushes=ranges)


class SlotIoctls:
    """The handlers of these steps, over one VM's memory."""

    def __init__(self, memory: GuestMemory, vm: sc.VmConfig) -> None:
        self._memory = memory
        self._env = memory.env
        self._manual = bool(vm.manual_protect)
        self._init_set = vm.manual_protect == "init_set"
        self._uses_bitmap = not vm.dirty_ring or vm.ring_bitmap
        self._chunk = vm.eager_split
        #: TLB flushes of the whole VM that the step asked for (kvm_flush_remote_tlbs).
        self._flushes = 0
        #: And of ranges: (IPA, bytes) (kvm_arch_flush_remote_tlbs_range).
        self._ranges: list[tuple[int, int]] = []

    def handlers(self) -> dict[type[Any], Callable[[Any], Observation]]:
        """Operation to handler."""
        return {
            sc.SlotAdd: self._slot_add,
            sc.SlotFlags: self._counted(self._slot_flags),
            sc.SlotMove: self._counted(self._slot_move),
            sc.SlotDelete: self._slot_delete,
            sc.DirtyGet: self._counted(self._dirty_get),
            sc.DirtyClear: self._counted(self._dirty_clear),
            sc.RingReset: self._counted(self._ring_reset),
        }

    def _counted(self, handler: Callable[[Any], Observation]) -> Callable[[Any], Observation]:
        def step(op: Any) -> Observation:
            self._flushes = 0
            self._ranges = []
            seen = handler(op)
            return with_flushes(seen, self._flushes, tuple(self._ranges))

        return step

    def _flush_slot(self, slot: Slot) -> None:
        """kvm_arch_flush_remote_tlbs_memslot, kvm_flush_remote_tlbs_memslot."""
        if self._memory.knobs.slot_flushes_all:
            self._flushes += 1
        else:
            page_size = self._env.page_size
            self._ranges.append((slot.gfn * page_size, slot.pages * page_size))

    # --- memslots ----------------------------------------------------------------------------

    def _slot_add(self, op: sc.SlotAdd) -> Observation:
        page_size = self._env.page_size
        if op.size % page_size or op.gpa % page_size:
            return host_step(EINVAL)
        if op.slot in self._memory.slots:
            # The new memory has another userspace_addr than the slot.
            return host_step(EINVAL)
        gfn, pages = op.gpa // page_size, op.size // page_size
        error = self._placement(op.slot, gfn, pages)
        if error:
            return host_step(error)
        host = HostMemory(
            op.size, self._env.page_shift, op.backing, self._memory.knobs, self._memory.chooser
        )
        slot = Slot(op.slot, gfn, host, readonly="readonly" in op.flags)
        log = "log_dirty" in op.flags
        if log and _has_device(slot):
            return host_step(EINVAL)
        self._memory.slots[op.slot] = slot
        self._set_logging(slot, log)
        return self._made(slot)

    def _made(self, slot: Slot) -> Observation:
        """A slot stands at a new place."""
        calls = self._memory.map_device(slot)
        return Observation(ret=0, faults=0, maps=calls, marks=())

    def _slot_flags(self, op: sc.SlotFlags) -> Observation:
        slot = self._memory.slots.get(op.slot)
        if slot is None:
            return host_step(ENOENT)
        if slot.readonly != ("readonly" in op.flags):
            return host_step(EINVAL)
        log = "log_dirty" in op.flags
        if log and not slot.log and _has_device(slot):
            return host_step(EINVAL)
        if log != slot.log:
            self._set_logging(slot, log)
        return host_step(0)

    def _slot_move(self, op: sc.SlotMove) -> Observation:
        slot = self._memory.slots.get(op.slot)
        if slot is None:
            return host_step(ENOENT)
        page_size = self._env.page_size
        if op.gpa % page_size:
            return host_step(EINVAL)
        gfn = op.gpa // page_size
        if gfn == slot.gfn:
            return host_step(0)
        if op.gpa < RESERVED_GPA.stop and op.gpa + slot.pages * page_size > RESERVED_GPA.start:
            raise UndefinedError(
                f"the slot would meet the runtime's own at {RESERVED_GPA.start:#x}"
            )
        error = self._placement(op.slot, gfn, slot.pages)
        if error == EEXIST:
            return host_step(error)
        # kvm_set_memslot invalidates the old slot before kvm_arch_prepare_memory_region may
        # refuse the new place: its stage 2 is gone either way.
        self._memory.stage2.unmap(slot.gfn, slot.pages)
        if error:
            return host_step(error)
        slot.gfn = gfn
        if slot.log and not self._init_set:
            # kvm_arch_commit_memory_region: nothing is mapped there, and is protected all the same.
            self._flush_slot(slot)
        return self._made(slot)

    def _slot_delete(self, op: sc.SlotDelete) -> Observation:
        slot = self._memory.slots.pop(op.slot, None)
        if slot is None:
            return host_step(EINVAL)
        self._memory.stage2.unmap(slot.gfn, slot.pages)
        return host_step(0)

    def _placement(self, ident: int, gfn: int, pages: int) -> int:
        """Overlap is asked before the IPA size (kvm_arch_prepare_memory_region)."""
        for other, slot in self._memory.slots.items():
            if other != ident and gfn < slot.gfn + slot.pages and slot.gfn < gfn + pages:
                return EEXIST
        if gfn + pages > 1 << (self._memory.ipa_bits - self._env.page_shift):
            return EFAULT
        return 0

    def _set_logging(self, slot: Slot, log: bool) -> None:
        """The bitmap and kvm_arch_commit_memory_region; stage 2 stays as it is on switching off."""
        slot.log = log
        if not log:
            slot.dirty = None
            return
        if self._uses_bitmap:
            slot.dirty = set(range(slot.pages)) if self._init_set else set()
        if not self._init_set:
            self._memory.stage2.wrprotect(slot.gfn, slot.pages)
            self._flush_slot(slot)
            self._split(slot.gfn, slot.pages)

    def _split(self, first: int, count: int) -> None:
        """kvm_mmu_split_huge_pages."""
        if self._chunk:
            self._memory.stage2.split(first, count, self._chunk >> self._env.page_shift)

    # --- the dirty log -----------------------------------------------------------------------

    def _dirty_get(self, op: sc.DirtyGet) -> Observation:
        if not self._uses_bitmap:
            return host_step(ENXIO)
        slot = self._memory.slots.get(op.slot)
        if slot is None or slot.dirty is None:
            return host_step(ENOENT)
        dirty = tuple(sorted(slot.dirty))
        if not self._manual:
            slot.dirty.clear()
            self._protect(slot, word_spans(dirty))
            if dirty:
                self._flush_slot(slot)
        return Observation(ret=0, dirty=dirty, faults=0, maps=(), marks=())

    def _dirty_clear(self, op: sc.DirtyClear) -> Observation:
        if not self._uses_bitmap:
            return host_step(ENXIO)
        slot = self._memory.slots.get(op.slot)
        if op.first_page % WORD:
            return host_step(EINVAL)
        if slot is None or slot.dirty is None:
            return host_step(ENOENT)
        count = op.num_pages
        if count is None:
            count = max(slot.pages - op.first_page, 0)
        rest = slot.pages - op.first_page
        if rest < 0 or count > rest or (count < rest and count % WORD):
            return host_step(EINVAL)
        # A whole word of the argument is looked at even where num_pages ends inside it.
        stop = op.first_page + -(-count // WORD) * WORD
        asked: Iterable[int] = range(op.first_page, op.first_page + count)
        if op.pages is not None:
            asked = [page for page in op.pages if op.first_page <= page < stop]
        cleared = sorted(slot.dirty.intersection(asked))
        slot.dirty.difference_update(cleared)
        self._protect(slot, word_spans(cleared))
        if cleared:
            self._flush_slot(slot)
        return host_step(0)

    def _ring_reset(self, op: sc.RingReset) -> Observation:
        rings = self._memory.rings
        if not rings:
            return Observation(ret=EINVAL, ring=(), faults=0, maps=(), marks=())
        harvested: list[tuple[int, int, int]] = []
        for vcpu, ring in enumerate(rings):
            harvested += [(vcpu, slot, page) for slot, page in ring.harvest(op.count)]
        # kvm_vm_ioctl_reset_dirty_pages: of the whole VM, on every kernel.
        self._flushes += bool(harvested)
        for ring in rings:
            for ident, first, count in ring_batches(ring.reset()):
                slot = self._memory.slots.get(ident)
                # kvm_reset_dirty_gfn: the slot may be gone, or another by now.
                if slot is not None and first + count <= slot.pages:
                    self._protect(slot, [(first, count)])
        return Observation(ret=len(harvested), ring=tuple(harvested), faults=0, maps=(), marks=())

    def _protect(self, slot: Slot, spans: Iterable[tuple[int, int]]) -> None:
        """kvm_arch_mmu_enable_log_dirty_pt_masked over (first page, count)."""
        for first, count in spans:
            self._memory.stage2.wrprotect(slot.gfn + first, count)
            if self._init_set:
                self._split(slot.gfn + first, count)
