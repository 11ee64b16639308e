# SPDX-License-Identifier: GPL-2.0-only
"""What the pages behind a slot hold, byte by byte; only what differs from how it began is kept.

Pages are numbered from the slot's start. Offsets and sizes are bytes.
"""

from __future__ import annotations

_MOVZ_W0 = 0x5280_0000
_RET = 0xD65F_03C0


class HostContent:
    """Pages of zeroes, or of :func:`prefill_word` each."""

    def __init__(self, page_size: int, first: int, count: int, *, prefilled: bool) -> None:
        self.page_size = page_size
        self._start = first
        self._prefilled = bytearray([prefilled]) * count
        self._bytes: dict[int, bytearray] = {}

    def holds_zeroes(self, page: int) -> bool:
        """True for a page without a byte that is set."""
        content = self._bytes.get(page)
        return not any(content) if content is not None else not self._prefilled[page - self._start]

    def erase(self, page: int) -> None:
        """The content is gone: the next one is zero."""
        self._prefilled[page - self._start] = 0
        self._bytes.pop(page, None)

    def set_words(self, page: int, word: int) -> None:
        """The page holds 8 bytes over and over."""
        self._bytes[page] = bytearray(word.to_bytes(8, "little") * (self.page_size // 8))

    def content(self) -> tuple[object, ...]:
        """All of it, to tell two states apart."""
        pages = sorted((page, bytes(data)) for page, data in self._bytes.items())
        return bytes(self._prefilled), tuple(pages)

    def read(self, offset: int, size: int) -> int:
        """The little-endian value at an offset; size bytes inside one page."""
        page, at = divmod(offset, self.page_size)
        content = self._bytes.get(page)
        if content is None:
            if not self._prefilled[page - self._start]:
                return 0
            word = prefill_word(page).to_bytes(8, "little")
            return int.from_bytes((word * 2)[at % 8 : at % 8 + size], "little")
        return int.from_bytes(content[at : at + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Store a little-endian value; size bytes inside one page."""
        self.write_bytes(offset, value.to_bytes(size, "little"))

    def write_bytes(self, offset: int, data: bytes) -> None:
        """Store bytes inside one page."""
        page, at = divmod(offset, self.page_size)
        content = self._bytes.get(page)
        if content is None:
            word = prefill_word(page) if self._prefilled[page - self._start] else 0
            content = bytearray(word.to_bytes(8, "little") * (self.page_size // 8))
            self._bytes[page] = content
        content[at : at + len(data)] = data


def prefill_word(page: int) -> int:
    """The 8 bytes that fill page number ``page``: ``movz w0, #page; ret``."""
    return (_RET << 32) | _MOVZ_W0 | (page & 0xFFFF) << 5
