# SPDX-License-Identifier: GPL-2.0-only
"""The shape of a stage-2 table: granule, levels, block sizes, concatenated root pages.

Sources: ``ARM64_HW_PGTABLE_LEVELS`` and ``…_LEVEL_SHIFT`` (arch/arm64/include/asm/
pgtable-hwdef.h), ``stage2_pgtable_levels`` (stage2_pgtable.h), ``kvm_get_vtcr`` and
``kvm_pgd_pages`` (arch/arm64/kvm/hyp/pgtable.c), ``KVM_PGTABLE_MIN_BLOCK_LEVEL``
(kvm_pgtable.h): the same in v5.10 to v7.3.
"""

from __future__ import annotations

from msgspec import Struct

LAST_LEVEL = 3
_SHIFT_4K = 12
_SHIFT_64K = 16
_MAX_IPA_BITS = 48
#: KVM takes concatenated root pages up to this many, instead of one more level.
_CONCATENATED_BITS = 4


class Geometry(Struct, frozen=True, kw_only=True):
    """One table's shape. Levels count down to the pages: 0, 1, 2, 3."""

    page_shift: int
    ipa_bits: int
    #: Output addresses have this many bits: 48, or 52 with LPA2 or 64K pages
    #: (kvm_get_parange_max).
    pa_bits: int
    start_level: int
    #: log2 of the bytes that one entry of level 0, 1, 2, 3 covers.
    shifts: tuple[int, int, int, int]
    #: The lowest-numbered level with block entries.
    block_level: int
    #: Root pages, physically contiguous.
    pgd_pages: int

    @property
    def page_size(self) -> int:
        """Bytes in a page, which is the granule."""
        return 1 << self.page_shift

    @property
    def entries(self) -> int:
        """Entries in one table page (PTRS_PER_PTE)."""
        return 1 << (self.page_shift - 3)

    @property
    def min_memcache(self) -> int:
        """Table pages that mapping one page can need (kvm_mmu_cache_min_pages)."""
        return LAST_LEVEL - self.start_level

    def size(self, level: int) -> int:
        """Bytes that one entry of ``level`` covers (kvm_granule_size)."""
        return 1 << self.shifts[level]


def level_shift(page_shift: int, level: int) -> int:
    """log2 of the bytes one entry of ``level`` covers (ARM64_HW_PGTABLE_LEVEL_SHIFT)."""
    return (page_shift - 3) * (4 - level) + 3


def geometry(page_shift: int, ipa_bits: int, lpa2: bool = False, pa_52: bool = True) -> Geometry:
    """The shape of a table of ``ipa_bits`` with pages of ``1 << page_shift`` bytes.

    ``pa_52``: with 64K pages an output address may have 52 bits, as distributions build kernels.
    """
    levels = max(2, (ipa_bits - _CONCATENATED_BITS - 4) // (page_shift - 3))
    start = 4 - levels
    return Geometry(
        page_shift=page_shift,
        ipa_bits=ipa_bits,
        pa_bits=52 if lpa2 or (page_shift == _SHIFT_64K and pa_52) else 48,
        start_level=start,
        shifts=(
            level_shift(page_shift, 0),
            level_shift(page_shift, 1),
            level_shift(page_shift, 2),
            level_shift(page_shift, 3),
        ),
        block_level=1 if page_shift == _SHIFT_4K else 2,
        pgd_pages=(((1 << ipa_bits) - 1) >> level_shift(page_shift, start - 1)) + 1,
    )


def unsupported_ipa(page_shift: int, ipa_bits: int, ipa_limit: int, lpa2: bool) -> str:
    """Why a host with this limit has no such IPA size (kvm_init_ipa_range), or ""."""
    if ipa_bits > ipa_limit:
        return f"ipa_bits {ipa_bits} is above the host's limit of {ipa_limit}"
    if ipa_bits > _MAX_IPA_BITS and page_shift != _SHIFT_64K and not lpa2:
        return f"ipa_bits {ipa_bits} needs 64K pages or LPA2"
    return ""
