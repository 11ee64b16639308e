# SPDX-License-Identifier: GPL-2.0-only
"""A parallel block as the search of interleavings sees it: pages, words, slots, branches.

Everything here is fixed while the block runs; what changes is a :data:`State`. Pages, words and
slots are numbered, and a state holds one number for each.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

from reference_model.interleave_knobs import RaceKnobs
from reference_model.outcome import Observation

# A page of a state: its leaf, what a TLB may still hold, and what the host's page table has.
PRESENT: Final = 1
WRITABLE: Final = 2
EXECUTABLE: Final = 4
#: The leaf was made read-only and the TLBs are not flushed yet: a store may still go through.
STALE_WRITABLE: Final = 8
HOST_SHIFT: Final = 4
HOST_MASK: Final = 3 << HOST_SHIFT
HOST_NONE: Final = 0 << HOST_SHIFT
HOST_ZERO: Final = 1 << HOST_SHIFT
HOST_ANON: Final = 2 << HOST_SHIFT
#: The host threw the page's content away in this block.
ZAPPED: Final = 64
#: What the host's VMA denies: stores, or every access.
NO_WRITE: Final = 128
NO_ACCESS: Final = 256
LEAF: Final = PRESENT | WRITABLE | EXECUTABLE | STALE_WRITABLE

#: Where a branch is: (operation, place inside it, and three numbers whose sense is the place's).
Lane: TypeAlias = tuple[int, int, int, int, int]
#: (pages, words, dirty bitmaps as numbers or -1 for none, slot generations, branches).
State: TypeAlias = tuple[
    tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[Lane, ...]
]


class PageRef(Struct, frozen=True):
    """A page that the block touches: slot number, page offset in the slot."""

    slot: int
    offset: int


class WordRef(Struct, frozen=True):
    """8 aligned bytes that the block touches: guest physical address and page number."""

    gpa: int
    page: int


class SlotRef(Struct, frozen=True):
    """A slot: its id, its size in pages, and how the VM's dirty log works."""

    ident: int
    pages: int
    manual: bool
    init_set: bool


# --- operations of a branch ----------------------------------------------------------------------


class Fixed(Struct, frozen=True):
    """An operation that shows the same whatever the others do."""

    result: Observation


class Access(Struct, frozen=True):
    """A guest's or (``host``) the host's access; kind "r", "w", "x" or "c" (compare and swap)."""

    kind: str
    page: int
    word: int
    shift: int
    mask: int
    value: int = 0
    expected: int = 0
    host: bool = False


class GetLog(Struct, frozen=True):
    """KVM_GET_DIRTY_LOG; without a lock (manual protection) it reads ``words`` one by one."""

    slot: int
    words: tuple[int, ...]


class ClearLog(Struct, frozen=True):
    """KVM_CLEAR_DIRTY_LOG of the pages in ``asked``."""

    slot: int
    asked: int


class SetLogging(Struct, frozen=True):
    """KVM_SET_USER_MEMORY_REGION with or without KVM_MEM_LOG_DIRTY_PAGES."""

    slot: int
    log: bool


class Zap(Struct, frozen=True):
    """MADV_DONTNEED: pages and the words in them."""

    pages: tuple[int, ...]


class Evict(Struct, frozen=True):
    """MADV_PAGEOUT: each page may go to swap or stay; its content stays."""

    pages: tuple[int, ...]


class Protect(Struct, frozen=True):
    """mprotect: NO_WRITE, NO_ACCESS or 0 is denied from now on."""

    pages: tuple[int, ...]
    denied: int


BranchOp: TypeAlias = Fixed | Access | GetLog | ClearLog | SetLogging | Zap | Evict | Protect


class Block(Struct, frozen=True, kw_only=True):
    """Branches over numbered pages, words and slots, and the kernel's knobs."""

    knobs: RaceKnobs
    #: CTR_EL0.DIC: every leaf is executable.
    dic: bool
    pages: tuple[PageRef, ...]
    words: tuple[WordRef, ...]
    slots: tuple[SlotRef, ...]
    lanes: tuple[tuple[BranchOp, ...], ...]
    #: Pages, words, dirty bitmaps before the block.
    start: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    def first_state(self) -> State:
        """Every branch at its first operation."""
        pages, words, dirty = self.start
        idle: Lane = (0, 0, 0, 0, 0)
        return pages, words, dirty, (0,) * len(self.slots), (idle,) * len(self.lanes)
