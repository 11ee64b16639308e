# SPDX-License-Identifier: GPL-2.0-only
"""One table of runs against a plain array of entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reference_model.pgtable import Entry, Leaf, Link, Note, Table, miscounted

SHIFT = 12
ENTRIES = 24
Plain = dict[int, tuple[str, int, int]]


@st.composite
def edits(draw: st.DrawFn) -> list[Entry | tuple[int, int]]:
    out: list[Entry | tuple[int, int]] = []
    for _ in range(draw(st.integers(0, 12))):
        first = draw(st.integers(0, ENTRIES - 1))
        stop = draw(st.integers(first + 1, ENTRIES))
        kind = draw(st.sampled_from(["leaf", "note", "link", "clear"]))
        if kind == "leaf":
            pa = (first + draw(st.integers(0, 2))) << SHIFT
            out.append(Leaf(first, stop, draw(st.integers(1, 2)), pa))
        elif kind == "note":
            out.append(Note(first, stop, draw(st.integers(1, 2))))
        elif kind == "link":
            out.append(Link(first, first + 1, Table(3, SHIFT, first << SHIFT)))
        else:
            out.append((first, stop))
    return out


def _plain(entry: Entry, index: int) -> tuple[str, int, int]:
    if isinstance(entry, Leaf):
        return "leaf", entry.attr, entry.pa + ((index - entry.first) << SHIFT)
    if isinstance(entry, Note):
        return "note", entry.value, 0
    return "link", id(entry.table), 0


def _apply(changes: list[Entry | tuple[int, int]]) -> tuple[Table, Plain]:
    table, plain = Table(2, SHIFT, 0), Plain()
    for change in changes:
        if isinstance(change, tuple):
            table.clear(*change)
            for index in range(*change):
                plain.pop(index, None)
        else:
            table.put(change)
            for index in range(change.first, change.stop):
                plain[index] = _plain(change, index)
    return table, plain


@given(edits())
def test_edits_are_those_of_an_array(changes: list[Entry | tuple[int, int]]) -> None:
    table, plain = _apply(changes)
    for index in range(ENTRIES):
        entry, stop = table.at(index, ENTRIES)
        found = None if entry is None else _plain(entry, index)
        assert found == plain.get(index)
        assert index < stop <= ENTRIES
    assert table.firsts == [entry.first for entry in table.entries]


@given(edits())
def test_runs_are_maximal_and_ascending(changes: list[Entry | tuple[int, int]]) -> None:
    table, _ = _apply(changes)
    for left, right in zip(table.entries, table.entries[1:], strict=False):
        assert left.stop <= right.first
        if left.stop == right.first and type(left) is type(right) is not Link:
            one_on = _plain(left, left.stop) == _plain(right, right.first)
            assert not one_on


@given(edits(), st.integers(0, ENTRIES - 1), st.integers(1, ENTRIES))
def test_within_finds_what_overlaps(
    changes: list[Entry | tuple[int, int]], first: int, stop: int
) -> None:
    table, _ = _apply(changes)
    expected = [entry for entry in table.entries if entry.first < stop and entry.stop > first]
    if first < stop:
        assert table.within(first, stop) == expected


def test_a_wrong_count_is_told_with_its_table() -> None:
    root, child = Table(2, 21, 0), Table(3, SHIFT, 2 << 21)
    root.put(Link(2, 3, child))
    root.counted = 1
    child.put(Leaf(0, 4, 1, 0))
    child.counted = 3
    assert miscounted(root) == [(2 << 21, 3, 4, 5)]
