# SPDX-License-Identifier: GPL-2.0-only
"""What the host's page tables and VMAs say of one page."""

from __future__ import annotations

import enum

from reference_model.scenario import Backing


class HostPage(enum.IntEnum):
    """What the host page table holds for one page."""

    NONE = 0
    ZERO = 1  # the shared zero page, or a part of the huge one
    ANON = 2
    FILE = 3  # of the page cache: shmem, memfd, a read-only file
    SWAP = 4
    DEVICE = 5  # of no struct page: VM_PFNMAP, there since mmap()


class Cached(enum.IntEnum):
    """What a file has of one page."""

    HOLE = 0
    CLEAN = 1  # a hole that was read, and never stored to: reclaim makes it a hole again
    DIRTY = 2
    SWAPPED = 3  # not in the page cache


class Freed(enum.IntEnum):
    """What is left of MADV_FREE on one page."""

    NO = 0
    YES = 1  # nothing was stored since: reclaim drops the page
    HALF = 2  # a part of a huge page, of which another was stored to through its own entry
    STORED = 3  # stored to since: PG_swapbacked comes back when reclaim meets the page


class HostProt(enum.IntEnum):
    """What the VMA allows."""

    GONE = 0
    NONE = 1
    R = 2
    RW = 3


class Advice(enum.IntEnum):
    """What madvise said of huge pages in the VMA."""

    NONE = 0
    HUGE = 1  # VM_HUGEPAGE
    SMALL = 2  # VM_NOHUGEPAGE


class Uffd(enum.IntFlag):
    """What userfaultfd was registered for."""

    MISSING = 1
    MINOR = 2
    WP = 4


def first_advice(backing: Backing) -> Advice:
    """How the runtime maps memory: small anonymous pages are asked for."""
    if backing.thp == "madvise":
        return Advice.HUGE
    is_small = backing.kind in ("anon", "zero") and backing.thp == "never"
    return Advice.SMALL if is_small else Advice.NONE
