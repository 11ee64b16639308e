# SPDX-License-Identifier: GPL-2.0-only
"""Bytes in pieces of any size to whole lines of text."""

from __future__ import annotations

#: A line longer than this is cut in two: 64 MiB, above the largest record there can be (a step of
#: a page table with some hundred thousand leaf runs).
MAX_LINE = 64 << 20


class LineBuffer:
    """Collects bytes and gives back complete lines; never raises on what a target sends."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max = max_line
        self._pieces: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> list[str]:
        """Lines completed by these bytes, without their line ends (LF or CR LF)."""
        head, newline, tail = data.rpartition(b"\n")
        if not newline:
            self._hold(data)
            return self._cut() if self._held > self._max else []
        whole = b"".join((*self._pieces, head))
        self._pieces.clear()
        self._held = 0
        self._hold(tail)
        return [_text(line) for line in whole.split(b"\n")]

    def rest(self) -> list[str]:
        """What is left when no more comes: at most one line, which had no end."""
        return self._cut() if self._held else []

    def _hold(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)
            self._held += len(data)

    def _cut(self) -> list[str]:
        whole = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        return [_text(whole)]


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", errors="replace")
