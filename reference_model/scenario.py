# SPDX-License-Identifier: GPL-2.0-only
"""The scenario language: what one test case may say.

A scenario is plain data: a set-up plus an ordered list of steps, each one operation. The types
here are the whole schema: an operation is a frozen struct whose ``tag`` is its ``op`` and whose
fields are its keys. Text becomes a scenario in :mod:`reference_model.language`.

Units: addresses, sizes and IPAs are bytes; pages of the dirty log are page offsets in the slot.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

U64: TypeAlias = Annotated[int, Meta(ge=0)]
SlotId: TypeAlias = Annotated[int, Meta(ge=0, le=400)]
VcpuId: TypeAlias = Annotated[int, Meta(ge=0, le=63)]
AccessSize: TypeAlias = Literal[1, 2, 4, 8]
#: Letters of ``rwx``, then optionally ``-device`` or ``-nc``; empty is a valid no-access leaf.
ProtText: TypeAlias = Annotated[str, Meta(pattern=r"^(?!.*([rwx]).*\1)[rwx]{0,3}(-device|-nc)?$")]


class Op(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    """One operation of a scenario; the struct's tag is the ``op`` of the language."""

    @property
    def name(self) -> str:
        """The operation's name in the language, e.g. ``map``."""
        return str(self.__struct_config__.tag)


# --- suite pgtable: the kernel's stage-2 page-table API, on a private table -----------------

WalkFlag: TypeAlias = Literal["shared", "handle_fault", "ignore_eagain"]


class Map(Op, frozen=True, kw_only=True, tag="map"):
    """``kvm_pgtable_stage2_map(ipa, size, pa, prot, memcache, flags)``."""

    ipa: U64
    size: U64
    pa: U64
    prot: ProtText
    sw: Annotated[int, Meta(ge=0, le=15)] = 0
    flags: tuple[WalkFlag, ...] = ()
    memcache: U64 | msgspec.UnsetType | None = msgspec.UNSET


class Unmap(Op, frozen=True, kw_only=True, tag="unmap"):
    """``kvm_pgtable_stage2_unmap(ipa, size)``."""

    ipa: U64
    size: U64


class WrProtect(Op, frozen=True, kw_only=True, tag="wrprotect"):
    """``kvm_pgtable_stage2_wrprotect(ipa, size)``."""

    ipa: U64
    size: U64


class RelaxPerms(Op, frozen=True, kw_only=True, tag="relax_perms"):
    """``kvm_pgtable_stage2_relax_perms(ipa, prot, flags)``."""

    ipa: U64
    prot: ProtText
    flags: tuple[WalkFlag, ...] = ()


class MkYoung(Op, frozen=True, kw_only=True, tag="mkyoung"):
    """``kvm_pgtable_stage2_mkyoung(ipa)``: one leaf; ``size`` is accepted and ignored."""

    ipa: U64
    size: U64 = 0


class MkOld(Op, frozen=True, kw_only=True, tag="mkold"):
    """``kvm_pgtable_stage2_mkold(ipa)``, or ``…_test_clear_young(ipa, size, true)``."""

    ipa: U64
    size: U64 = 0


class IsYoung(Op, frozen=True, kw_only=True, tag="is_young"):
    """``kvm_pgtable_stage2_is_young(ipa)``, or ``…_test_clear_young(ipa, size, false)``."""

    ipa: U64
    size: U64 = 0


class Flush(Op, frozen=True, kw_only=True, tag="flush"):
    """``kvm_pgtable_stage2_flush(ipa, size)``."""

    ipa: U64
    size: U64


class Annotate(Op, frozen=True, kw_only=True, tag="annotate"):
    """``kvm_pgtable_stage2_set_owner`` (6.1, 6.12) or ``…_annotate`` (7.2)."""

    ipa: U64
    size: U64
    owner: U64


class Split(Op, frozen=True, kw_only=True, tag="split"):
    """``kvm_pgtable_stage2_split(ipa, size, mc)``; ``memcache`` is the split cache's size."""

    ipa: U64
    size: U64
    memcache: U64 | msgspec.UnsetType | None = msgspec.UNSET


class GetLeaf(Op, frozen=True, kw_only=True, tag="get_leaf"):
    """``kvm_pgtable_get_leaf(ipa)``."""

    ipa: U64


class Destroy(Op, frozen=True, kw_only=True, tag="destroy"):
    """``kvm_pgtable_stage2_destroy()``; the last step only."""


PgtableOp: TypeAlias = (
    Map | Unmap | WrProtect | RelaxPerms | MkYoung | MkOld | IsYoung
    | Flush | Annotate | Split | GetLeaf | Destroy
)  # fmt: skip

# --- suite guest: real VMs through /dev/kvm --------------------------------------------------

SlotFlag: TypeAlias = Literal["log_dirty", "readonly"]
Advice: TypeAlias = Literal["dontneed"]


class Backing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The host memory behind a slot.

    ``prefill``: the host writes every page before the slot exists, so that the host page tables
    hold a writable page: 8 bytes over and over, the instructions ``movz w0, #n; ret`` with n the
    page's number in the backing (mod 65536). So a prefilled page is data that tells pages apart,
    and code that returns its number.
    """

    kind: Literal["anon"] = "anon"
    thp: Literal["never"] = "never"
    prefill: bool = False


class VmConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The VM as it is created."""

    vcpus: Annotated[int, Meta(ge=1, le=16)] = 1
    ipa_bits: Annotated[int, Meta(ge=32, le=52)] = 40
    dirty_ring: Literal[0] = 0
    #: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: off, MANUAL_PROTECT_ENABLE, or that and INITIALLY_SET.
    manual_protect: bool | Literal["init_set"] = False
    eager_split: Literal[0] = 0


class Read(Op, frozen=True, kw_only=True, tag="read"):
    """A load by a vCPU."""

    gpa: U64
    vcpu: VcpuId = 0
    size: AccessSize = 8


class Write(Op, frozen=True, kw_only=True, tag="write"):
    """A store by a vCPU; ``value`` is cut to ``size`` bytes."""

    gpa: U64
    value: U64
    vcpu: VcpuId = 0
    size: AccessSize = 8


class Exec(Op, frozen=True, kw_only=True, tag="exec"):
    """A call by a vCPU into guest memory; ``data`` is w0 when it returns."""

    gpa: U64
    vcpu: VcpuId = 0


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


class HostRead(Op, frozen=True, kw_only=True, tag="host_read"):
    """A load by the host through the slot's host virtual address."""

    gpa: U64
    size: AccessSize = 8


class HostWrite(Op, frozen=True, kw_only=True, tag="host_write"):
    """A store by the host through the slot's host virtual address."""

    gpa: U64
    value: U64
    size: AccessSize = 8


class Madvise(Op, frozen=True, kw_only=True, tag="madvise"):
    """madvise(2) on the host memory behind [gpa, gpa + size), inside one slot."""

    gpa: U64
    size: U64
    advice: Advice = "dontneed"


GuestOp: TypeAlias = (
    Read | Write | Exec | SlotAdd | SlotFlags | SlotMove | SlotDelete
    | DirtyGet | DirtyClear | HostRead | HostWrite | Madvise
)  # fmt: skip

# --- scenarios -------------------------------------------------------------------------------


class Expect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An outcome pinned by hand: per step, the channels named and nothing else.

    Applies where ``profile`` is the profile in force; without ``profile``, everywhere.
    """

    steps: tuple[dict[str, Any], ...]
    why: str
    profile: str | None = None


class ScenarioBase(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="suite"
):
    """What every suite's scenario has."""

    schema: Literal[1]
    id: Annotated[str, Meta(pattern=r"^[a-z0-9._-]+$", max_length=120)]
    title: str = ""
    #: Requirements on the target; one that is not met makes the scenario a SKIP there.
    env: dict[str, str | bool | int] = {}
    expect: tuple[Expect, ...] = ()

    @property
    def suite(self) -> str:
        """The family the scenario belongs to."""
        return str(self.__struct_config__.tag)


class PgtableScenario(ScenarioBase, frozen=True, kw_only=True, tag="pgtable"):
    """A program of page-table operations on one private stage-2 table."""

    steps: Annotated[tuple[PgtableOp, ...], Meta(min_length=1)]
    #: Must be the target kernel's page size; None: whatever it is.
    granule: Literal["4K", "16K", "64K"] | None = None
    ipa_bits: Annotated[int, Meta(ge=32, le=52)] = 40
    #: Table pages the cache is topped up to before every step; 0: empty; None: no cache passed.
    memcache: U64 | None = 64


class GuestScenario(ScenarioBase, frozen=True, kw_only=True, tag="guest"):
    """A VM, and what guest and host do to it."""

    steps: Annotated[tuple[GuestOp, ...], Meta(min_length=1)]
    vm: VmConfig = VmConfig()


Scenario: TypeAlias = PgtableScenario | GuestScenario
SCENARIO_TYPES: dict[str, type[PgtableScenario] | type[GuestScenario]] = {
    "pgtable": PgtableScenario,
    "guest": GuestScenario,
}

#: Guest physical addresses the runtime keeps for itself: its code, stacks, stage-1 tables
#: (below the doorbell) and the page whose stores end a step (at it). No slot may overlap.
RESERVED_GPA = range(0x0800_0000, 0x0A00_0000)
