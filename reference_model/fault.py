# SPDX-License-Identifier: GPL-2.0-only
"""A guest abort, from cause to effect: ``kvm_handle_guest_abort`` and ``user_mem_abort``.

One vCPU at a time; parallel vCPUs are another module's. An access is repeated until it reaches
memory, leaves to userspace, is answered with an injected abort or fails.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from reference_model.choice import Chooser
from reference_model.fault_knobs import FaultKnobs
from reference_model.guest_stage2 import Leaf, Stage2
from reference_model.memory import HostProt, Touched
from reference_model.profiles import Environment
from reference_model.slots import Ring, Slot
from reference_model.unpredictable import UndefinedError

ENOMEM, EFAULT, ENOSYS, ENOEXEC = -12, -14, -38, -8
#: Synchronous External abort, not on a table walk (ESR_ELx.IFSC/DFSC, Arm ARM D24.2.40).
FSC_EXTABT = 0x10
#: The same, on a walk: 0x14 and the level.
FSC_EXTABT_WALK = 0x14
#: What the runtime answers to an MMIO load, cut to the load's size.
MMIO_FILL = 0x5A5A_5A5A_5A5A_5A5A
#: HPFAR_EL2.FIPA holds IPA[47:12].
_FIPA_STEP = 1 << 12
#: No instruction takes more aborts: for each of its accesses an access-flag fault, a permission
#: fault, a notifier's retry and a map.
_MAX_FAULTS = 24

#: The largest block of DC ZVA in bytes (DCZID_EL0.BS).
_ZVA_LARGEST = 2048

Call = tuple[Any, ...]


class Effect(Struct, frozen=True, kw_only=True):
    """What one access did, apart from the data it moved.

    ``completed``: the access reached memory. ``ret``: what KVM_RUN returned. ``exit`` is a reason
    and ``injected`` as in Observation; ``faults`` counts kvm_guest_fault events; ``maps`` the
    calls of the page-table API; ``marks`` the addresses that were marked dirty.
    """

    completed: bool
    ret: int = 0
    exit: str | None = None
    injected: dict[str, Any] | None = None
    faults: int
    maps: tuple[Call, ...]
    marks: tuple[int, ...] = ()


class _Perms(Struct, frozen=True):
    """Permissions beyond read, and the memory type."""

    w: bool
    x: bool
    device: bool = False


class Access(Struct, frozen=True, kw_only=True):
    """One access of a vCPU as the hardware makes it.

    ``kind``: "r", "w" or "x". ``va``: what FAR holds. ``level``: it is the read (or, to set the
    access flag, the write) of a stage-1 descriptor of that level; ``is_fetch`` tells whose walk.
    ``has_syndrome``: ESR_EL2.ISV of an abort. ``maintenance``: ESR_EL2.CM.
    """

    gpa: int
    kind: str
    vcpu: int = 0
    va: int
    level: int | None = None
    is_fetch: bool = False
    has_syndrome: bool = True
    maintenance: bool = False


class Trail:
    """What an access has caused so far."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.marks: list[int] = []
        self.faults = 0

    def effect(self, **how: Any) -> Effect:
        """The end of the access."""
        return Effect(faults=self.faults, maps=tuple(self.calls), marks=tuple(self.marks), **how)


class GuestMemory:
    """Slots, host memory, stage 2 and dirty rings of one VM, and the two sides that touch them."""

    def __init__(
        self,
        ipa_bits: int,
        knobs: FaultKnobs,
        env: Environment,
        rings: tuple[Ring, ...] = (),
        *,
        nisv_to_user: bool = False,
    ) -> None:
        self.ipa_bits = ipa_bits
        self.knobs = knobs
        self.env = env
        self.stage2 = Stage2(env, ipa_bits)
        self.slots: dict[int, Slot] = {}
        #: One a vCPU, or none.
        self.rings = rings
        self.nisv_to_user = nisv_to_user
        #: The scenario has a userfaultfd.
        self.has_uffd = False
        #: Where more than one outcome is right.
        self.chooser = Chooser()
        #: What calls returned, by their offset in a page (Environment.zva_keeps_code).
        self.called: dict[int, set[int]] = {}

    def copied(self) -> GuestMemory:
        """The same VM, to go another way from here on."""
        other = copy.copy(self)
        other.chooser = Chooser()
        other.stage2 = self.stage2.copied()
        other.slots = {ident: slot.copied(other.chooser) for ident, slot in self.slots.items()}
        other.called = {offset: set(values) for offset, values in self.called.items()}
        other.rings = tuple(ring.copied() for ring in self.rings)
        return other

    def keeps_code(self, gpa: int) -> bool:
        """True where a call may run what was called before, and has been cleared since."""
        told_apart = self.env.zva_keeps_code and gpa % _ZVA_LARGEST != 0
        return told_apart and gpa % self.env.page_size in self.called

    def slot_at(self, gfn: int) -> Slot | None:
        """The slot that holds a guest frame."""
        return next((slot for slot in self.slots.values() if slot.holds(gfn)), None)

    def backing(self, gpa: int) -> tuple[Slot, int]:
        """Slot and byte offset behind a gpa; UndefinedError where no slot is."""
        slot = self.slot_at(gpa >> self.env.page_shift)
        if slot is None:
            raise UndefinedError(f"no slot holds gpa {gpa:#x}; add one before")
        return slot, gpa - (slot.gfn << self.env.page_shift)

    def is_device(self, gpa: int) -> bool:
        """True where a slot of device memory holds the address."""
        slot = self.slot_at(gpa >> self.env.page_shift)
        return slot is not None and slot.memory.is_device

    def load(self, gpa: int, size: int) -> int:
        """What memory holds at a gpa."""
        slot, offset = self.backing(gpa)
        return slot.memory.read(offset, size)

    # --- the guest's side --------------------------------------------------------------------

    def run(self, instruction: Callable[[Trail], Effect | None]) -> Effect:
        """One instruction, made again from its start for as long as an access of it says None."""
        trail = Trail()
        while trail.faults < _MAX_FAULTS:
            effect = instruction(trail)
            if effect is not None:
                return effect
        raise AssertionError("an instruction does not settle")

    def access(self, access: Access, trail: Trail | None = None) -> Effect:
        """One guest access, made again until it is through."""
        trail = trail or Trail()
        start = trail.faults
        while trail.faults - start < _MAX_FAULTS:
            effect = self.once(access, trail)
            if effect is not None:
                return effect
        raise AssertionError(f"access at {access.gpa:#x} does not settle")

    def once(self, access: Access, trail: Trail) -> Effect | None:
        """The access once; None where the guest makes the instruction again."""
        # check_vcpu_requests, before the guest is entered.
        if self.rings and self.rings[access.vcpu].full:
            return trail.effect(completed=False, exit="dirty_ring_full")
        gpa = access.gpa
        gfn = gpa >> self.env.page_shift
        found = self.stage2.find(gfn)
        if found is not None and not found[1].af and not self.env.haf:
            # An access flag fault comes before a permission fault: handle_access_fault. Before
            # that, kvm_handle_guest_abort has looked at the slot.
            trail.faults += 1
            slot = self.slot_at(gfn)
            if slot is not None and slot.readonly and access.kind == "w" and access.level is None:
                return self._no_memory(access, trail)
            self.stage2.set_young(gfn, young=True)
            return None
        if found is not None and _permits(found[1], access.kind):
            # Hardware sets the flag of what is accessed.
            self.stage2.set_young(gfn, young=True)
            return trail.effect(completed=True)
        # kvm_handle_guest_abort, in its order. A stage-1 walk counts as a write only with a
        # permission fault (kvm_is_write_fault).
        if found is None and gpa >> self.ipa_bits and self.knobs.oob_injects:
            # The address is the IPA here, with the low bits of the virtual one. From 7.2 on, for
            # a stage-1 walk this is a promise that no kernel keeps: inject_abt64 is to tell the
            # level, takes that IPA for the VA to walk, finds nothing and injects nothing
            # (scenarios/known.yaml).
            return self._inject(access, gpa & -_FIPA_STEP | access.va & (_FIPA_STEP - 1), trail)
        trail.faults += 1
        slot = self.slot_at(gfn)
        write = access.kind == "w" and (found is not None or access.level is None)
        if slot is None or (write and slot.readonly):
            return self._no_memory(access, trail)
        kind = "w" if write else "x" if access.kind == "x" and access.level is None else "r"
        ret = self._user_mem_abort(slot, gpa, kind, access.vcpu, found, trail)
        if ret == ENOEXEC:
            return self._inject(access, access.va, trail)
        return trail.effect(completed=False, ret=ret) if ret else None

    def _no_memory(self, access: Access, trail: Trail) -> Effect:
        """Neither a slot, nor a write that a slot allows: abort, skip, or io_mem_abort."""
        if access.is_fetch or access.level is not None:
            return self._inject(access, access.va, trail)
        if access.maintenance:
            return trail.effect(completed=True)
        if access.has_syndrome:
            return trail.effect(completed=False, exit="mmio")
        if self.nisv_to_user:
            return trail.effect(completed=False, exit="arm_nisv")
        return trail.effect(completed=False, ret=ENOSYS)

    def _inject(self, access: Access, far: int, trail: Trail) -> Effect:
        fsc = FSC_EXTABT
        if access.level is not None and self.knobs.walk_abort_has_level:
            fsc = FSC_EXTABT_WALK + access.level
        abort = {"ec": "iabt" if access.is_fetch else "dabt", "fsc": fsc, "far": far}
        return trail.effect(completed=False, injected=abort)

    def _user_mem_abort(
        self,
        slot: Slot,
        gpa: int,
        kind: str,
        vcpu: int,
        found: tuple[int, Leaf] | None,
        trail: Trail,
    ) -> int:
        """One abort on a slot's page: 0 or the errno; it may end in a retry, nothing mapped."""
        gfn = gpa >> self.env.page_shift
        write = kind == "w"
        page = gfn - slot.gfn
        if slot.memory.prot(page) is HostProt.GONE:
            return EFAULT
        size, adjustable = self._vma_size(slot, gfn)
        touched = slot.memory.pinned((gfn & -size) - slot.gfn, write=write)
        if touched.failed:
            return EFAULT
        if touched.invalidated:
            # The notifier moved the invalidation sequence between its sampling and the lock:
            # mmu_invalidate_retry, the vCPU takes the abort again.
            self.invalidated(slot, touched, trail.calls)
            return 0
        device = slot.memory.is_device
        if device and kind == "x":
            return ENOEXEC
        # A read fault maps writable where the host page already is (hva_to_pfn).
        writable = slot.memory.writable(page) and not slot.readonly
        if slot.logging and not write:
            writable = False
        marked = gfn & -size
        granule = found[1].pages if found is not None else 0
        # Where the call is made: at what the VMA's size gives, or at the faulting IPA.
        ipa = gpa & -(size * self.env.page_size)
        if size == 1 and not self.knobs.maps_at_page:
            ipa = gpa & -_FIPA_STEP
        if size == 1 and adjustable:
            size = self._adjusted(slot, gfn, granule)
            if size > 1 and not (granule > 1 and self.knobs.keeps_block):
                ipa = gpa & -(size * self.env.page_size)
        if self.knobs.marks_mapping:
            marked = gfn & -size
        executable = kind == "x" or (self.env.dic and not device)
        perms = _Perms(w=writable, x=executable, device=device)
        self._install(ipa, size, granule, perms, trail)
        if writable:
            # kvm_set_pfn_dirty, kvm_release_faultin_page
            slot.memory.soil(page)
            self._mark(slot, marked, vcpu, trail)
        return 0

    def _vma_size(self, slot: Slot, gfn: int) -> tuple[int, bool]:
        """Pages to map by the VMA alone, and whether a huge user mapping may make it more."""
        if slot.logging:
            return 1, False
        if slot.memory.is_device:
            # Blocks by physical address alone are a skip (device_blocks, guest_limits).
            return 1, False
        if not slot.memory.is_hugetlb:
            return 1, True
        pages = slot.memory.huge_pages
        pmd = slot.memory.pmd_pages
        if pages == pmd * pmd and slot.block(gfn, pages):
            return pages, False
        # CONT_PMD and a PUD that does not fit are handled as a PMD, CONT_PTE as pages.
        if pages >= pmd and slot.block(gfn, pmd):
            return pmd, False
        return 1, False

    def _adjusted(self, slot: Slot, gfn: int, granule: int) -> int:
        """transparent_hugepage_adjust; a permission fault on a block keeps the block."""
        if granule > 1:
            return granule
        pmd = slot.memory.pmd_pages
        if slot.block(gfn, pmd) and slot.memory.mapped_pages(gfn - slot.gfn) >= pmd:
            return pmd
        return 1

    def _install(self, ipa: int, size: int, granule: int, perms: _Perms, trail: Trail) -> None:
        """Relaxes the leaf where it has the size, else maps."""
        gfn = ipa >> self.env.page_shift
        prot = self._prot(w=perms.w, x=perms.x, device=perms.device)
        if granule == size:
            trail.calls.append(("relax", ipa, prot, 0))
            self.stage2.relax(gfn, w=perms.w, x=perms.x)
        else:
            trail.calls.append(("map", ipa, size * self.env.page_size, prot, 0))
            self.stage2.map(gfn & -size, size, w=perms.w, x=perms.x, device=perms.device)

    def _mark(self, slot: Slot, gfn: int, vcpu: int, trail: Trail) -> None:
        """mark_page_dirty_in_slot."""
        trail.marks.append(gfn << self.env.page_shift)
        if not slot.log:
            return
        if self.rings:
            self.rings[vcpu].push(slot.ident, gfn - slot.gfn)
        elif slot.dirty is not None:
            slot.dirty.add(gfn - slot.gfn)

    # --- the host's side ---------------------------------------------------------------------

    def host_touch(self, slot: Slot, page: int, *, write: bool) -> tuple[bool, tuple[Call, ...]]:
        """A host access to a page: whether it succeeded, and the notifier's calls."""
        calls: list[Call] = []
        touched = slot.memory.touch(page, write=write)
        self.invalidated(slot, touched, calls)
        return not touched.failed, tuple(calls)

    def unmap_pages(self, slot: Slot, first: int, count: int) -> None:
        """kvm_mmu_notifier_invalidate_range_start, clipped to the slot."""
        low, high = max(first, 0), min(first + count, slot.pages)
        self.stage2.unmap(slot.gfn + low, high - low)

    def unmap_ranges(self, slot: Slot, ranges: Iterable[tuple[int, int]]) -> None:
        """The same of several."""
        for first, count in ranges:
            self.unmap_pages(slot, first, count)

    def invalidated(self, slot: Slot, touched: Touched, calls: list[Call]) -> None:
        """What a host fault took away: invalidate_range_start, then (up to 6.8) change_pte."""
        self.unmap_ranges(slot, touched.invalidated)
        page = touched.copied
        if page is None or not self.knobs.change_pte_maps or not 0 <= page < slot.pages:
            return
        gfn = slot.gfn + page
        ret = 0 if self.stage2.has_table(gfn) else ENOMEM
        if ret == 0:
            self.stage2.map(gfn, 1, w=False, x=False)
        ipa = gfn << self.env.page_shift
        calls.append(("map", ipa, self.env.page_size, self._prot(w=False, x=False), ret))

    def map_device(self, slot: Slot) -> tuple[Call, ...]:
        """kvm_phys_addr_ioremap of a slot's device memory, where the kernel does that at once.

        By the slot's flags alone: what the VMA or its page table allow by now does not count.
        """
        if not self.knobs.device_at_creation or not slot.memory.is_device:
            return ()
        calls: list[Call] = []
        prot = self._prot(w=not slot.readonly, x=False, device=True)
        for page in range(slot.pages):
            if slot.memory.prot(page) is HostProt.GONE:
                continue
            gfn = slot.gfn + page
            ipa = gfn << self.env.page_shift
            self.stage2.map(gfn, 1, w=not slot.readonly, x=False, device=True)
            calls.append(("map", ipa, self.env.page_size, prot, 0))
        return tuple(calls)

    def _prot(self, *, w: bool, x: bool, device: bool = False) -> int:
        bits = self.knobs.prot
        prot = bits.r | (bits.w if w else 0) | (bits.x if x else 0)
        return prot | (bits.device if device else 0)


def _permits(leaf: Leaf, kind: str) -> bool:
    return kind == "r" or (leaf.w if kind == "w" else leaf.x)
