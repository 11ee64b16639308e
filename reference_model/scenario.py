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

from reference_model.guest_ops import (
    AccessForm,
    Advice,
    Age,
    At,
    Backing,
    BackingKind,
    Cas,
    DcCivac,
    DcZva,
    DirtyClear,
    DirtyGet,
    Exec,
    ForkTouch,
    GuestOp,
    HostProt,
    HostRead,
    HostWrite,
    Madvise,
    Mprotect,
    PunchHole,
    Read,
    Remap,
    RingReset,
    SlotAdd,
    SlotDelete,
    SlotFlag,
    SlotFlags,
    SlotMove,
    Stage1Tables,
    Thp,
    UffdContinue,
    UffdCopy,
    UffdMode,
    UffdRegister,
    UffdWp,
    UffdZero,
    VcpuOp,
    VmConfig,
    Write,
)
from reference_model.operation import U64, AccessSize, Op, SlotId, VcpuId

__all__ = [
    "RESERVED_GPA",
    "SCENARIO_TYPES",
    "U64",
    "AccessForm",
    "AccessSize",
    "Advice",
    "Age",
    "Annotate",
    "At",
    "Backing",
    "BackingKind",
    "Cas",
    "DcCivac",
    "DcZva",
    "Destroy",
    "DirtyClear",
    "DirtyGet",
    "Exec",
    "Expect",
    "Flush",
    "ForkTouch",
    "GetLeaf",
    "GuestOp",
    "GuestScenario",
    "HostProt",
    "HostRead",
    "HostWrite",
    "IsYoung",
    "Madvise",
    "Map",
    "MkOld",
    "MkYoung",
    "Mprotect",
    "Op",
    "Parallel",
    "PgtableOp",
    "PgtableScenario",
    "ProtText",
    "PunchHole",
    "RaceScenario",
    "Read",
    "RelaxPerms",
    "Remap",
    "RingReset",
    "Scenario",
    "ScenarioBase",
    "SlotAdd",
    "SlotDelete",
    "SlotFlag",
    "SlotFlags",
    "SlotId",
    "SlotMove",
    "Split",
    "Stage1Tables",
    "Thp",
    "UffdContinue",
    "UffdCopy",
    "UffdMode",
    "UffdRegister",
    "UffdWp",
    "UffdZero",
    "Unmap",
    "VcpuId",
    "VcpuOp",
    "VmConfig",
    "WalkFlag",
    "WrProtect",
    "Write",
]

#: Letters of ``rwx``, then optionally ``-device`` or ``-nc``; empty is a valid no-access leaf.
ProtText: TypeAlias = Annotated[str, Meta(pattern=r"^(?!.*([rwx]).*\1)[rwx]{0,3}(-device|-nc)?$")]

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

# --- scenarios -------------------------------------------------------------------------------


class Expect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An outcome pinned by hand: per step, the channels named and nothing else.

    Applies where ``profile`` is, or names, the profile in force; without ``profile``, everywhere.
    """

    steps: tuple[dict[str, Any], ...]
    why: str
    profile: str | tuple[str, ...] | None = None

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles that it names; none where it applies everywhere."""
        if self.profile is None:
            return ()
        return (self.profile,) if isinstance(self.profile, str) else self.profile

    def applies(self, profile: str) -> bool:
        """Whether it says what a kernel of this profile does."""
        return self.profile is None or profile in self.profiles


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


class Parallel(Op, frozen=True, kw_only=True, tag="parallel"):
    """Lists of operations that run at once; written ``{parallel: [[…], […]], repeat: N}``.

    Each list (a branch) runs in its order, all from a common start line; the block runs
    ``repeat`` times, each time from the state that the steps before it left. ``hold``: pages
    (guest physical addresses) whose first faults wait inside the kernel until every other branch
    is done or waits too.
    """

    parallel: Annotated[tuple[tuple[GuestOp, ...], ...], Meta(min_length=1, max_length=16)]
    repeat: Annotated[int, Meta(ge=1, le=100_000)] = 1
    hold: tuple[U64, ...] = ()

    @property
    def words(self) -> tuple[int, ...]:
        """Addresses of the aligned 8 bytes that the block's accesses touch, ascending."""
        ops = (op for branch in self.parallel for op in branch)
        accesses = (Read, Write, Exec, Cas, HostRead, HostWrite)
        return tuple(sorted({op.gpa & -8 for op in ops if isinstance(op, accesses)}))


class RaceScenario(ScenarioBase, frozen=True, kw_only=True, tag="race"):
    """A guest scenario with parallel blocks."""

    steps: Annotated[tuple[GuestOp | Parallel, ...], Meta(min_length=1)]
    vm: VmConfig = VmConfig()


Scenario: TypeAlias = PgtableScenario | GuestScenario | RaceScenario
SCENARIO_TYPES: dict[str, type[PgtableScenario] | type[GuestScenario] | type[RaceScenario]] = {
    "pgtable": PgtableScenario,
    "guest": GuestScenario,
    "race": RaceScenario,
}

#: Guest physical addresses the runtime keeps for itself: its code, stacks, stage-1 tables
#: (below the doorbell) and the page whose stores end a step (at it). No slot may overlap.
RESERVED_GPA = range(0x0800_0000, 0x0A00_0000)
