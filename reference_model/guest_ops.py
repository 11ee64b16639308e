# SPDX-License-Identifier: GPL-2.0-only
"""The guest suite's part of the language: the VM, the memory behind slots, and its operations.

Addresses, sizes and IPAs are bytes; pages of the dirty log are page offsets in the slot, a page
being the host's. Names that other modules use stand in :mod:`reference_model.scenario` too.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from reference_model.operation import U64, AccessSize, Op, SlotId, VcpuId

SlotFlag: TypeAlias = Literal["log_dirty", "readonly"]
BackingKind: TypeAlias = Literal[
    "anon", "shmem", "memfd", "hugetlb", "zero", "file_ro", "device"
]  # fmt: skip
Thp: TypeAlias = Literal["never", "madvise", "always"]
Advice: TypeAlias = Literal["dontneed", "pageout", "hugepage", "nohugepage", "collapse", "free"]
#: How a load or store is written: LDR/STR; LDP/STP of two words; with post-index writeback; of a
#: SIMD register. All but ``plain`` give an abort without a syndrome (ESR_EL2.ISV = 0).
AccessForm: TypeAlias = Literal["plain", "pair", "writeback", "simd"]
HostProt: TypeAlias = Literal["none", "r", "rw"]
UffdMode: TypeAlias = Literal["missing", "minor", "wp"]


class Backing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The host memory behind a slot.

    ``prefill``: the host writes every page before the slot exists, so that the host page tables
    hold a writable page: 8 bytes over and over, the instructions ``movz w0, #n; ret`` with n the
    page's number in the backing (mod 65536). So a prefilled page is data that tells pages apart,
    and code that returns its number. A ``file_ro`` is always prefilled, a ``zero`` never.
    """

    kind: BackingKind = "anon"
    #: Huge pages for anonymous memory: MADV_NOHUGEPAGE; MADV_HUGEPAGE; no advice with the system
    #: set to ``always``.
    thp: Thp = "never"
    prefill: bool = False
    #: Bytes of one page of hugetlb memory.
    page_size: U64 | None = None
    #: How far the slot's host address lies behind a boundary of the host's PMD size (2M with 4K
    #: pages, 32M with 16K, 512M with 64K) or of ``page_size``, whichever is larger.
    offset: U64 = 0


class VmConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The VM as it is created."""

    vcpus: Annotated[int, Meta(ge=1, le=16)] = 1
    ipa_bits: Annotated[int, Meta(ge=32, le=52)] = 40
    #: Entries of each vCPU's dirty ring (KVM_CAP_DIRTY_LOG_RING_ACQ_REL); 0: the bitmap.
    dirty_ring: Annotated[int, Meta(ge=0, le=65536)] = 0
    #: KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP: the backup bitmap beside the ring.
    ring_bitmap: bool = False
    #: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: off, MANUAL_PROTECT_ENABLE, or that and INITIALLY_SET.
    manual_protect: bool | Literal["init_set"] = False
    #: KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE in bytes; 0: off.
    eager_split: U64 = 0
    #: KVM_CAP_ARM_NISV_TO_USER.
    nisv_to_user: bool = False
    #: Stage 1 of every vCPU; off: data accesses are Device-nGnRnE.
    stage1: bool = True


# --- what the guest does ---------------------------------------------------------------------


class Read(Op, frozen=True, kw_only=True, tag="read"):
    """A load by a vCPU. ``tables``: it goes through the stage-1 tables at that gpa."""

    gpa: U64
    vcpu: VcpuId = 0
    size: AccessSize = 8
    form: AccessForm = "plain"
    tables: U64 | None = None


class Write(Op, frozen=True, kw_only=True, tag="write"):
    """A store by a vCPU; ``value`` is cut to ``size`` bytes."""

    gpa: U64
    value: U64
    vcpu: VcpuId = 0
    size: AccessSize = 8
    form: AccessForm = "plain"
    tables: U64 | None = None


class Exec(Op, frozen=True, kw_only=True, tag="exec"):
    """A call by a vCPU into guest memory; ``data`` is w0 when it returns."""

    gpa: U64
    vcpu: VcpuId = 0
    tables: U64 | None = None


class Cas(Op, frozen=True, kw_only=True, tag="cas"):
    """CASAL by a vCPU: stores ``value`` if memory holds ``expected``; ``data`` is what was there.

    A CPU without FEAT_LSE makes the scenario a skip.
    """

    gpa: U64
    expected: U64
    value: U64
    vcpu: VcpuId = 0
    size: AccessSize = 8


class DcZva(Op, frozen=True, kw_only=True, tag="dc_zva"):
    """DC ZVA by a vCPU over [gpa, gpa + size), in ascending blocks of DCZID_EL0.BS."""

    gpa: U64
    vcpu: VcpuId = 0
    size: Literal[512, 1024, 2048] = 512


class DcCivac(Op, frozen=True, kw_only=True, tag="dc_civac"):
    """DC CIVAC by a vCPU: cache maintenance by address."""

    gpa: U64
    vcpu: VcpuId = 0


class At(Op, frozen=True, kw_only=True, tag="at"):
    """AT S1E1R, or S1E1W with ``write``; ``data`` is the page's physical address, or 1 | FST << 1.

    Only the walk of the stage-1 tables goes through stage 2.
    """

    gpa: U64
    vcpu: VcpuId = 0
    write: bool = False
    tables: U64 | None = None


# --- memslots and the dirty log --------------------------------------------------------------


class SlotAdd(Op, frozen=True, kw_only=True, tag="slot_add"):
    """KVM_SET_USER_MEMORY_REGION of a new slot, with new memory behind it."""

    slot: SlotId
    gpa: U64
    size: U64
    backing: Backing = Backing()
    flags: tuple[SlotFlag, ...] = ()


class SlotFlags(Op, frozen=True, kw_only=True, tag="slot_flags"):
    """The same ioctl on an existing slot, with other flags and all else equal."""

    slot: SlotId
    flags: tuple[SlotFlag, ...] = ()


class SlotMove(Op, frozen=True, kw_only=True, tag="slot_move"):
    """The same ioctl with another guest physical address."""

    slot: SlotId
    gpa: U64


class SlotDelete(Op, frozen=True, kw_only=True, tag="slot_delete"):
    """The same ioctl with memory_size 0; the memory behind the slot is freed."""

    slot: SlotId


class DirtyGet(Op, frozen=True, kw_only=True, tag="dirty_get"):
    """KVM_GET_DIRTY_LOG; ``dirty`` is the ascending list of page offsets in the slot."""

    slot: SlotId


class DirtyClear(Op, frozen=True, kw_only=True, tag="dirty_clear"):
    """KVM_CLEAR_DIRTY_LOG over [first_page, first_page + num_pages).

    ``num_pages`` absent: to the slot's end. ``pages`` absent: every page of the range has its bit
    set in the argument's bitmap; else only these page offsets of the slot.
    """

    slot: SlotId
    first_page: U64 = 0
    num_pages: U64 | None = None
    pages: tuple[U64, ...] | None = None


class RingReset(Op, frozen=True, kw_only=True, tag="ring_reset"):
    """Harvests every vCPU's dirty ring, then KVM_RESET_DIRTY_RINGS; ``ret`` is what that returns.

    ``count``: at most that many entries of each ring; absent: all there are. ``ring`` lists what
    was harvested as [vcpu, slot, page offset], in the rings' order.
    """

    count: U64 | None = None


# --- what the host does ----------------------------------------------------------------------


class HostRead(Op, frozen=True, kw_only=True, tag="host_read"):
    """A load by the host through the slot's host virtual address."""

    gpa: U64
    size: AccessSize = 8


class HostWrite(Op, frozen=True, kw_only=True, tag="host_write"):
    """A store by the host through the slot's host virtual address."""

    gpa: U64
    value: U64
    size: AccessSize = 8


class Stage1Tables(Op, frozen=True, kw_only=True, tag="stage1_tables"):
    """The host writes stage-1 tables into a slot's memory, for accesses that name them.

    Level 0 at ``gpa``, level 1 in the 4K behind it: 1G blocks that map [0, 512G) to itself,
    readable, writable and executable at EL1. ``af`` false: with the access flag clear, and such
    accesses are made with TCR_EL1.HA set, so that the walk writes the descriptor.
    """

    gpa: U64
    af: bool = True


class Madvise(Op, frozen=True, kw_only=True, tag="madvise"):
    """madvise(2) on the host memory behind [gpa, gpa + size), inside one slot."""

    gpa: U64
    size: U64
    advice: Advice = "dontneed"


class Mprotect(Op, frozen=True, kw_only=True, tag="mprotect"):
    """mprotect(2) on the host memory behind [gpa, gpa + size), inside one slot."""

    gpa: U64
    size: U64
    prot: HostProt


class Remap(Op, frozen=True, kw_only=True, tag="remap"):
    """Replaces the host memory behind [gpa, gpa + size): fresh anonymous pages, or munmap(2)."""

    gpa: U64
    size: U64
    to: Literal["fresh", "none"] = "fresh"


class Age(Op, frozen=True, kw_only=True, tag="age"):
    """Clears the accessed state of the host pages behind [gpa, gpa + size)."""

    gpa: U64
    size: U64


class PunchHole(Op, frozen=True, kw_only=True, tag="punch_hole"):
    """Frees the file's pages behind [gpa, gpa + size): shmem, memfd and hugetlb memory."""

    gpa: U64
    size: U64


class UffdRegister(Op, frozen=True, kw_only=True, tag="uffd_register"):
    """UFFDIO_REGISTER of [gpa, gpa + size), with UFFD_FEATURE_SIGBUS.

    An access that meets the userfaultfd fails at once (KVM_RUN with -EFAULT, a host access with
    SIGBUS) and can be made again when the page was provided.
    """

    gpa: U64
    size: U64
    mode: tuple[UffdMode, ...] = ("missing",)


class UffdCopy(Op, frozen=True, kw_only=True, tag="uffd_copy"):
    """UFFDIO_COPY of pages that hold ``value`` as 8 bytes over and over."""

    gpa: U64
    size: U64
    value: U64 = 0


class UffdZero(Op, frozen=True, kw_only=True, tag="uffd_zero"):
    """UFFDIO_ZEROPAGE."""

    gpa: U64
    size: U64


class UffdContinue(Op, frozen=True, kw_only=True, tag="uffd_continue"):
    """UFFDIO_CONTINUE: maps what the page cache holds."""

    gpa: U64
    size: U64


class UffdWp(Op, frozen=True, kw_only=True, tag="uffd_wp"):
    """UFFDIO_WRITEPROTECT, on or off."""

    gpa: U64
    size: U64
    protect: bool = True


class ForkTouch(Op, frozen=True, kw_only=True, tag="fork_touch"):
    """fork(2); the child writes one byte into each page of [gpa, gpa + size) and is gone."""

    gpa: U64
    size: U64


#: What enters the guest.
VcpuOp: TypeAlias = Read | Write | Exec | Cas | DcZva | DcCivac | At
GuestOp: TypeAlias = (
    VcpuOp
    | SlotAdd | SlotFlags | SlotMove | SlotDelete | DirtyGet | DirtyClear | RingReset
    | HostRead | HostWrite | Stage1Tables | Madvise | Mprotect | Remap | Age | PunchHole
    | UffdRegister | UffdCopy | UffdZero | UffdContinue | UffdWp | ForkTouch
)  # fmt: skip
