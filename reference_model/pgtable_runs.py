# SPDX-License-Identifier: GPL-2.0-only
"""The leaves and owners of a table as maximal runs, kept up to date step by step.

Only the part of the address space that a step changed is read from the tree again; the runs on
both sides of it are kept, cut or joined at its edges. A step that changed nothing shows the very
tuple that the step before showed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from reference_model import pte
from reference_model.outcome import AnnotationRun, LeafRun
from reference_model.pgtable import Leaf, Link, Note, Table


class Runs:
    """All leaf runs and all annotation runs of one table."""

    def __init__(self, fwb: bool) -> None:
        self._fwb = fwb
        self._leaves: list[LeafRun] = []
        self._notes: list[AnnotationRun] = []
        self.leaves: tuple[LeafRun, ...] = ()
        self.annotations: tuple[AnnotationRun, ...] = ()

    def refresh(self, table: Table, low: int, high: int) -> None:
        """Reads the IPA range [low, high) again, all of which lies in ``table``.

        Both ends are where leaves begin or end.
        """
        if low >= high:
            return
        leaves: list[LeafRun] = []
        notes: list[AnnotationRun] = []
        self._gather(table, low, high, leaves, notes)
        _splice_leaves(self._leaves, low, high, leaves)
        self.leaves = tuple(self._leaves)
        if notes or self._notes:
            _splice_notes(self._notes, low, high, notes)
            self.annotations = tuple(self._notes)

    def _gather(
        self,
        table: Table,
        low: int,
        high: int,
        leaves: list[LeafRun],
        notes: list[AnnotationRun],
    ) -> None:
        begin, end = table.index(low), table.index(high - 1) + 1
        for entry in table.within(begin, end):
            if isinstance(entry, Link):
                below = entry.table
                last = min(high, table.address(entry.stop))
                self._gather(below, max(low, below.base), last, leaves, notes)
                continue
            first, stop = max(begin, entry.first), min(end, entry.stop)
            size = 1 << table.shift
            ipa = table.address(first)
            if isinstance(entry, Note):
                _add_note(notes, (ipa, size, entry.value, stop - first))
                continue
            _add_leaf(leaves, self._run(entry, ipa, size, first, stop))

    def _run(self, leaf: Leaf, ipa: int, size: int, first: int, stop: int) -> LeafRun:
        prot, sw, af, kind = pte.words(leaf.attr, self._fwb)
        pa = leaf.pa + (first - leaf.first) * size
        return (ipa, size, pa, prot, sw, af, kind, stop - first)


def _add_leaf(runs: list[LeafRun], run: LeafRun) -> None:
    """Appends a run, joined to the last one where the two are one."""
    if runs:
        last = runs[-1]
        length = last[1] * last[7]
        follows = last[0] + length == run[0] and last[2] + length == run[2] and last[1] == run[1]
        if follows and last[3:7] == run[3:7]:
            runs[-1] = (*last[:7], last[7] + run[7])
            return
    runs.append(run)


def _add_note(runs: list[AnnotationRun], run: AnnotationRun) -> None:
    if runs:
        last = runs[-1]
        if last[0] + last[1] * last[3] == run[0] and last[1:3] == run[1:3]:
            runs[-1] = (*last[:3], last[3] + run[3])
            return
    runs.append(run)


def _splice_leaves(runs: list[LeafRun], low: int, high: int, fresh: list[LeafRun]) -> None:
    """Puts ``fresh`` in the place of all that ``runs`` says of [low, high)."""
    first, stop = bisect_right(runs, (low,)), bisect_left(runs, (high,))
    whole: list[LeafRun] = []
    if first:
        first -= 1
        ipa, size, pa, prot, sw, af, kind, count = runs[first]
        kept = min(count, (low - ipa) // size)
        whole.append((ipa, size, pa, prot, sw, af, kind, kept))
    for run in fresh:
        _add_leaf(whole, run)
    if stop:
        ipa, size, pa, prot, sw, af, kind, count = runs[stop - 1]
        gone = (high - ipa) // size
        if gone < count:
            tail = (high, size, pa + gone * size, prot, sw, af, kind, count - gone)
            _add_leaf(whole, tail)
    if stop < len(runs):
        _add_leaf(whole, runs[stop])
        stop += 1
    runs[first:stop] = whole


def _splice_notes(
    runs: list[AnnotationRun], low: int, high: int, fresh: list[AnnotationRun]
) -> None:
    first, stop = bisect_right(runs, (low,)), bisect_left(runs, (high,))
    whole: list[AnnotationRun] = []
    if first:
        first -= 1
        ipa, size, value, count = runs[first]
        whole.append((ipa, size, value, min(count, (low - ipa) // size)))
    for run in fresh:
        _add_note(whole, run)
    if stop:
        ipa, size, value, count = runs[stop - 1]
        gone = (high - ipa) // size
        if gone < count:
            _add_note(whole, (high, size, value, count - gone))
    if stop < len(runs):
        _add_note(whole, runs[stop])
        stop += 1
    runs[first:stop] = whole
