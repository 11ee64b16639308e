# SPDX-License-Identifier: GPL-2.0-only
"""One table of the stage-2 tree: runs of equal entries instead of 512 descriptors.

A table of the kernel is an array of descriptors. Here it is a sorted list of what is not empty:
a :class:`Leaf` stands for any number of neighbouring leaves of one size, equal attributes and
output addresses that follow each other; a :class:`Note` for neighbouring invalid entries with one
owner value; a :class:`Link` for one table below. So 262,144 pages are 512 leaves in 512 tables,
and a walk over a terabyte of nothing costs nothing.

Indices count entries of this table; the root of concatenated pages is one table whose indices go
on across its pages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from msgspec import Struct


class Leaf(Struct, frozen=True, gc=False):
    """Entries ``first`` to ``stop - 1``: valid leaves; ``pa`` is the first one's output."""

    first: int
    stop: int
    attr: int
    pa: int


class Note(Struct, frozen=True, gc=False):
    """Invalid entries that carry an owner or type: ``value`` is the descriptor itself."""

    first: int
    stop: int
    value: int


class Link(Struct, frozen=True):
    """One entry that points to a table; ``stop`` is ``first + 1``."""

    first: int
    stop: int
    table: Table


Entry = Leaf | Note | Link


class Table:
    """One table page, or the concatenated pages of the root.

    ``counted`` mirrors the kernel's reference count less the page's own: the operations raise and
    lower it where the kernel calls get_page() and put_page(), and never derive it from the
    entries, so that the two can be checked against each other.
    """

    __slots__ = ("base", "counted", "entries", "firsts", "level", "shift")

    def __init__(self, level: int, shift: int, base: int) -> None:
        self.level = level
        self.shift = shift
        #: The IPA of entry 0.
        self.base = base
        self.counted = 0
        self.entries: list[Entry] = []
        self.firsts: list[int] = []

    def index(self, ipa: int) -> int:
        """The entry that covers ``ipa``."""
        return (ipa - self.base) >> self.shift

    def address(self, index: int) -> int:
        """The IPA where entry ``index`` begins."""
        return self.base + (index << self.shift)

    def position(self, index: int) -> int:
        """The place in ``entries`` of the first one that does not end at or before ``index``."""
        place = bisect_right(self.firsts, index)
        if place and self.entries[place - 1].stop > index:
            return place - 1
        return place

    def within(self, first: int, stop: int) -> list[Entry]:
        """What is not empty between two indices, whole runs even where they reach beyond."""
        return self.entries[self.position(first) : bisect_left(self.firsts, stop)]

    def at(self, index: int, stop: int) -> tuple[Entry | None, int]:
        """The entry at ``index`` (None: empty), and where it, or the gap, ends (≤ ``stop``)."""
        place = self.position(index)
        if place == len(self.entries):
            return None, stop
        entry = self.entries[place]
        if entry.first > index:
            return None, min(stop, entry.first)
        return entry, min(stop, entry.stop)

    def clear(self, first: int, stop: int) -> None:
        """Makes the entries from ``first`` to ``stop - 1`` empty."""
        self._splice(first, stop, [])

    def put(self, entry: Entry) -> None:
        """Writes ``entry`` over whatever its indices held, joined to equal neighbours."""
        self._splice(entry.first, entry.stop, [entry])

    def _splice(self, first: int, stop: int, fresh: list[Entry]) -> None:
        entries, firsts = self.entries, self.firsts
        start, end = self.position(first), bisect_left(firsts, stop)
        if start < end:
            head, tail = entries[start], entries[end - 1]
            if head.first < first:
                fresh.insert(0, self.cut(head, head.first, first))
            if tail.stop > stop:
                fresh.append(self.cut(tail, stop, tail.stop))
        if fresh:
            if start and entries[start - 1].stop == fresh[0].first:
                start -= 1
                fresh.insert(0, entries[start])
            if end < len(entries) and entries[end].first == fresh[-1].stop:
                fresh.append(entries[end])
                end += 1
            for place in range(len(fresh) - 1, 0, -1):
                if joined := self._join(fresh[place - 1], fresh[place]):
                    fresh[place - 1 : place + 1] = [joined]
        entries[start:end] = fresh
        firsts[start:end] = [entry.first for entry in fresh]

    def cut(self, entry: Entry, first: int, stop: int) -> Entry:
        """The part of a run from ``first`` to ``stop - 1``."""
        if isinstance(entry, Leaf):
            return Leaf(first, stop, entry.attr, entry.pa + ((first - entry.first) << self.shift))
        if isinstance(entry, Note):
            return Note(first, stop, entry.value)
        return entry

    def _join(self, left: Entry, right: Entry) -> Entry | None:
        if left.stop != right.first:
            return None
        if isinstance(left, Leaf) and isinstance(right, Leaf):
            follows = left.pa + ((left.stop - left.first) << self.shift) == right.pa
            if follows and left.attr == right.attr:
                return Leaf(left.first, right.stop, left.attr, left.pa)
        elif isinstance(left, Note) and isinstance(right, Note) and left.value == right.value:
            return Note(left.first, right.stop, left.value)
        return None

    def tables(self) -> Iterator[Table]:
        """The tables directly below, ascending."""
        for entry in self.entries:
            if isinstance(entry, Link):
                yield entry.table


def descendants(table: Table) -> Iterator[Table]:
    """Every table below ``table``, without it, parents first."""
    waiting = list(table.tables())
    while waiting:
        below = waiting.pop()
        yield below
        waiting.extend(below.tables())


def miscounted(root: Table) -> list[tuple[int, int, int, int]]:
    """``(ipa, level, count, expected)`` of the tables whose count is not 1 + counted entries.

    ``expected`` is taken from the entries alone; the pages of the root are counted as one.
    """
    wrong = []
    for table in (root, *descendants(root)):
        expected = 1 + sum(entry.stop - entry.first for entry in table.entries)
        if table.counted + 1 != expected:
            wrong.append((table.base, table.level, table.counted + 1, expected))
    return wrong
