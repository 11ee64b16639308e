# SPDX-License-Identifier: GPL-2.0-only
"""The guest's stage-1 tables that lie in a scenario's slot, and the walk through them.

The guest's granule is 4K whatever the host's. Level 0 points to one table of level 1, whose 512
blocks of 1G map [0, 512G) to itself (Arm ARM D8.3, VMSAv8-64 descriptors).
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

#: Bytes of one table; level 1 lies behind level 0.
STAGE1_TABLE = 0x1000
_ENTRIES = 512
_VALID, _TABLE = 1, 2
_SH_INNER = 3 << 8
_AF = 1 << 10
_UXN = 1 << 54
#: Where the upper half's virtual addresses begin (TTBR1_EL1 with T1SZ = 16).
HIGH_VA = 0xFFFF << 48
#: FSC of a translation fault, to which the level is added.
FSC_TRANSLATION = 0x04


@lru_cache(maxsize=64)
def stage1_table(level: int, gpa: int, *, af: bool) -> bytes:
    """The 4K of a table as ``stage1_tables`` writes it."""
    entries = [0] * _ENTRIES
    if level == 0:
        entries[0] = (gpa + STAGE1_TABLE) | _VALID | _TABLE
    else:
        flags = _VALID | _SH_INNER | _UXN | (_AF if af else 0)
        entries = [index << 30 | flags for index in range(_ENTRIES)]
    return b"".join(entry.to_bytes(8, "little") for entry in entries)


class Descriptor(Struct, frozen=True):
    """Where a walk reads at one level, and what makes the entry right."""

    level: int
    gpa: int

    def next_table(self, entry: int) -> int | None:
        """The table that a level-0 entry points to; None where it is no table."""
        return entry & ~0xFFF & ((1 << 48) - 1) if entry & 3 == _VALID | _TABLE else None

    def is_block(self, entry: int, target: int) -> bool:
        """True for a block that maps the target's gigabyte to itself."""
        return entry & ~_AF == (target >> 30 << 30) | _VALID | _SH_INNER | _UXN


def descriptor(level: int, table: int, target: int) -> Descriptor:
    """The entry of a table that a walk for ``target`` reads."""
    shift = 39 if level == 0 else 30
    return Descriptor(level, table + (target >> shift) % _ENTRIES * 8)


def with_access_flag(entry: int) -> int:
    """The entry as hardware leaves it (FEAT_HAFDBS)."""
    return entry | _AF


def has_access_flag(entry: int) -> bool:
    """True where the walk has nothing to write."""
    return bool(entry & _AF)
