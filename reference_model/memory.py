# SPDX-License-Identifier: GPL-2.0-only
"""Memslots, the host memory behind them, and the dirty bitmap.

Host memory is what get_user_pages meets: a page that is absent, the shared zero page, or a
writable anonymous page. Offsets and sizes are bytes, pages are indices in the backing.
"""

from __future__ import annotations

import enum

from reference_model.scenario import Backing

_MOVZ_W0 = 0x5280_0000
_RET = 0xD65F_03C0


class HostPage(enum.IntEnum):
    """What the host page table holds for one page."""

    NONE = 0
    ZERO = 1
    ANON = 2


class HostMemory:
    """The anonymous private mapping behind one slot, page by page."""

    def __init__(self, size: int, page_size: int, backing: Backing) -> None:
        self.page_size = page_size
        self.pages = -(-size // page_size)
        first = HostPage.ANON if backing.prefill else HostPage.NONE
        self._state = bytearray([first]) * self.pages
        self._prefilled = bytearray([backing.prefill]) * self.pages
        self._bytes: dict[int, bytearray] = {}

    def state(self, page: int) -> HostPage:
        """What the host page table holds for the page."""
        return HostPage(self._state[page])

    def fault_in(self, page: int, *, write: bool) -> bool:
        """A host or get_user_pages access; True if it broke copy-on-write of the zero page.

        A read of an absent page maps the zero page; a write allocates. Only the copy fires the
        MMU notifier: nothing was mapped before the other two.
        """
        before = self._state[page]
        if write:
            self._state[page] = HostPage.ANON
            return before == HostPage.ZERO
        if before == HostPage.NONE:
            self._state[page] = HostPage.ZERO
        return False

    def drop(self, page: int) -> None:
        """MADV_DONTNEED: the page is gone, its next content is zero."""
        self._state[page] = HostPage.NONE
        self._prefilled[page] = 0
        self._bytes.pop(page, None)

    def read(self, offset: int, size: int) -> int:
        """The little-endian value at an offset; size bytes inside one page."""
        page, at = divmod(offset, self.page_size)
        content = self._bytes.get(page)
        if content is None:
            if not self._prefilled[page]:
                return 0
            word = prefill_word(page).to_bytes(8, "little")
            return int.from_bytes((word * 2)[at % 8 : at % 8 + size], "little")
        return int.from_bytes(content[at : at + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Store a little-endian value; size bytes inside one page."""
        page, at = divmod(offset, self.page_size)
        content = self._bytes.get(page)
        if content is None:
            word = prefill_word(page) if self._prefilled[page] else 0
            content = bytearray(word.to_bytes(8, "little") * (self.page_size // 8))
            self._bytes[page] = content
        content[at : at + size] = value.to_bytes(size, "little")


def prefill_word(page: int) -> int:
    """The 8 bytes that fill page number ``page``: ``movz w0, #page; ret``."""
    return (_RET << 32) | _MOVZ_W0 | (page & 0xFFFF) << 5


class Slot:
    """One memslot. ``dirty`` is the bitmap as a set of page offsets; None: no bitmap."""

    def __init__(self, gfn: int, memory: HostMemory, *, readonly: bool) -> None:
        self.gfn = gfn
        self.memory = memory
        self.readonly = readonly
        self.dirty: set[int] | None = None

    @property
    def pages(self) -> int:
        """npages."""
        return self.memory.pages

    @property
    def logging(self) -> bool:
        """``memslot_is_logging``: a dirty bitmap, and not read-only (all versions)."""
        return self.dirty is not None and not self.readonly

    def holds(self, gfn: int) -> bool:
        """True if the guest frame lies in the slot."""
        return self.gfn <= gfn < self.gfn + self.pages
