# SPDX-License-Identifier: GPL-2.0-only
"""What a generated guest scenario is made of: VMs, kinds of memory, and a sketch of the slots."""

from __future__ import annotations

from random import Random
from typing import Literal

from harness.generate.guest_focus import NONE, Focus
from reference_model import scenario as sc

PAGE = 0x1000
#: Whole pages in every granule.
ALIGN = 0x1_0000
#: Whole pages in 4K and 16K.
STEP = 0x4000
BLOCK = 0x20_0000
#: Pages in a word of the dirty bitmap.
WORD_PAGES = 64
#: No CPU of QEMU has larger blocks of DC ZVA.
ZVA_BLOCK = 0x200
_BASES = (0x0, 0x4000_0000, 0x8000_0000, 0x8020_0000, 0xC000_0000)
#: What a prefilled page costs makes large slots rare. Some end inside a word of the bitmap.
_SIZES = (
    *(0x1_0000, 0x1_0000, 0x1_0000, 0x1_0000, 0x1_0000, 0x2_0000),
    *(0x4_0000, 0x5_0000, 0x5_0000, 0x8_0000, 0x9_0000),
)
#: Where ranges are walked in parts (stage2_apply_range): the size of a block at level 1.
_BOUNDARIES = (0x4000_0000, 0x8000_0000)
_RING = 1024


class SketchSlot:
    """What the walk believes of one slot."""

    def __init__(self, ident: int, op: sc.SlotAdd) -> None:
        self.ident = ident
        self.gpa = op.gpa
        self.size = op.size
        self.flags = op.flags
        self.backing = op.backing

    @property
    def is_large(self) -> bool:
        """Huge pages stand behind it."""
        return self.backing.thp != "never" or self.backing.kind == "hugetlb"

    @property
    def is_device(self) -> bool:
        """A device's memory stands behind it, which takes only plain accesses and no logging."""
        return self.backing.kind == "device"

    def holds(self, gpa: int) -> bool:
        """True for the slot's addresses."""
        return self.gpa <= gpa < self.gpa + self.size


def draw_vm(random: Random, focus: Focus = NONE) -> sc.VmConfig:
    """A VM: mostly the bitmap, now and then a ring, eager splitting, stage 1 off."""
    ring = random.random() < focus.ring
    modes: tuple[bool | Literal["init_set"], ...] = (False, False, False, True, "init_set")
    manual = random.choice(modes[3:4] + modes[:1] if ring else modes)
    eager = random.choice((PAGE, BLOCK, BLOCK)) if random.random() < focus.eager else 0
    if eager and not ring and random.random() < 0.3:
        manual = "init_set"
    return sc.VmConfig(
        vcpus=random.choice((1, 2) if ring else (1, 1, 1, 2)),
        ipa_bits=random.choice((32, 36, 40, 40, 40)),
        dirty_ring=_RING if ring else 0,
        # A ring alone logs without a bitmap's protection of blocks: only for small pages.
        ring_bitmap=ring and random.random() < 0.8,
        manual_protect=manual,
        eager_split=eager,
        nisv_to_user=random.random() < 0.3,
        stage1=random.random() > 0.06,
    )


def draw_backing(random: Random, vm: sc.VmConfig) -> sc.Backing:
    """Memory of small pages, or rarely of huge ones, or a device's."""
    draw = random.random()
    if draw < 0.04:
        return sc.Backing(kind="device", offset=random.choice((0, 0, ALIGN)))
    if draw < 0.58:
        return sc.Backing(prefill=random.random() < 0.78)
    if draw < 0.64:
        return sc.Backing(kind="zero")
    if draw < 0.72:
        return sc.Backing(kind="memfd", prefill=random.random() < 0.7)
    if draw < 0.77:
        return sc.Backing(kind="shmem", prefill=random.random() < 0.7)
    if draw < 0.81:
        return sc.Backing(kind="file_ro")
    if vm.dirty_ring and not vm.ring_bitmap:
        return sc.Backing(prefill=True)
    if draw < 0.84:
        return sc.Backing(kind="hugetlb", page_size=ALIGN, prefill=random.random() < 0.5)
    offset = random.choice((0, 0, 0, 0, ALIGN, BLOCK // 2))
    if draw < 0.90:
        return sc.Backing(
            kind="hugetlb",
            page_size=BLOCK,
            prefill=random.random() < 0.5,
            offset=random.choice((0, 0, offset)),
        )
    return sc.Backing(
        thp=random.choice(("madvise", "madvise", "always")),
        prefill=random.random() < 0.85,
        offset=offset,
    )


def draw_slot(
    random: Random, ident: int, vm: sc.VmConfig, more: bool, focus: Focus = NONE
) -> sc.SlotAdd:
    """A new slot; huge memory mostly where IPA and host address agree.

    ``more``: it is not the first. The first of a VM that splits blocks mostly has some.
    """
    backing = draw_backing(random, vm)
    alone = vm.dirty_ring and not vm.ring_bitmap
    if focus.huge and not alone and random.random() < focus.huge:
        backing = sc.Backing(
            thp=random.choice(("madvise", "always")), prefill=random.random() < 0.6
        )
    if focus.hugetlb and not alone and random.random() < focus.hugetlb:
        backing = sc.Backing(
            kind="hugetlb",
            page_size=random.choice((ALIGN, BLOCK, BLOCK)),
            prefill=random.random() < 0.5,
        )
    if focus.file and random.random() < focus.file:
        backing = sc.Backing(kind=random.choice(("memfd", "shmem")), prefill=random.random() < 0.7)
    if vm.eager_split and not more and not alone and random.random() < 0.7:
        backing = sc.Backing(thp="madvise", prefill=True)
    base = random.choice(_BASES)
    if backing.thp != "never" or backing.page_size == BLOCK:
        many = (1, 2, 2, 3) if vm.eager_split else (1, 1, 2)
        size = random.choice(many) * BLOCK
        if random.random() < 0.15:
            # The last block does not fit.
            size -= random.choice((PAGE, ALIGN))
        gpa = base + backing.offset if random.random() < 0.8 else base
        if vm.eager_split and not backing.offset and size > BLOCK and random.random() < 0.4:
            # A block on either side of where ranges are walked in parts.
            gpa = random.choice(_BOUNDARIES) - BLOCK
    else:
        size = random.choice(_SIZES)
        gpa = base + random.choice((0, 0, ALIGN, 2 * ALIGN))
        if random.random() < 0.12:
            gpa = random.choice(_BOUNDARIES) - size // (2 * ALIGN) * ALIGN
    if random.random() < 0.04:
        gpa += random.choice((PAGE // 2, 0x10))
    flags = draw_flags(random)
    if backing.kind == "device" and random.random() < 0.9:
        # With logging there is no such slot.
        flags = tuple(flag for flag in flags if flag != "log_dirty")
    return sc.SlotAdd(slot=ident, gpa=gpa, size=size, backing=backing, flags=flags)


def draw_flags(random: Random) -> tuple[sc.SlotFlag, ...]:
    """The flags of a new slot: five in eight are logged, two in eight read-only."""
    choices: tuple[tuple[sc.SlotFlag, ...], ...] = (
        (),
        (),
        ("log_dirty",),
        ("log_dirty",),
        ("log_dirty",),
        ("log_dirty",),
        ("readonly",),
        ("log_dirty", "readonly"),
    )
    return random.choice(choices)


def draw_base(random: Random) -> int:
    """A guest address that a slot may move to: a multiple of ``ALIGN``, so whole pages."""
    return random.choice(_BASES) + random.randrange(4) * ALIGN
