# SPDX-License-Identifier: GPL-2.0-only
"""Leaf runs of an observation as a map from IPA to translation, and two of them side by side."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from reference_model.outcome import AnnotationRun, LeafRun


class Piece(Struct, frozen=True):
    """[start, stop) of which both sides say one thing each; None: nothing is mapped there."""

    start: int
    stop: int
    before: LeafRun | None
    after: LeafRun | None

    @property
    def same(self) -> bool:
        """Both sides translate alike: size, output, permissions, flags and memory type."""
        if self.before is None or self.after is None:
            return self.before is self.after
        return (
            self.before[1] == self.after[1]
            and self.same_output
            and self.before[3:7] == self.after[3:7]
        )

    @property
    def same_output(self) -> bool:
        """Both sides are mapped, to the same output address."""
        if self.before is None or self.after is None:
            return False
        return output(self.before, self.start) == output(self.after, self.start)


def output(run: LeafRun, ipa: int) -> int:
    """Where ``ipa``, inside the run, goes."""
    return run[2] + ipa - run[0]


def run_end(run: LeafRun) -> int:
    """The IPA behind the run."""
    return run[0] + run[1] * run[7]


def pieces(
    before: Sequence[LeafRun], after: Sequence[LeafRun], start: int, stop: int
) -> Iterator[Piece]:
    """Covers [start, stop), ascending; cut where a run of either side begins or ends."""
    if start >= stop:
        return
    sides = (_overlapping(before, start, stop), _overlapping(after, start, stop))
    cuts = {start, stop}
    for side in sides:
        for run in side:
            cuts.add(max(start, run[0]))
            cuts.add(min(stop, run_end(run)))
    points = sorted(cuts)
    cursors = [0, 0]
    for low, high in pairwise(points):
        found: list[LeafRun | None] = [None, None]
        for number, side in enumerate(sides):
            while cursors[number] < len(side) and run_end(side[cursors[number]]) <= low:
                cursors[number] += 1
            if cursors[number] < len(side) and side[cursors[number]][0] <= low:
                found[number] = side[cursors[number]]
        yield Piece(low, high, found[0], found[1])


def _overlapping(runs: Sequence[LeafRun], start: int, stop: int) -> Sequence[LeafRun]:
    first = bisect_right(runs, start, key=lambda run: run[0])
    if first and run_end(runs[first - 1]) > start:
        first -= 1
    last = first
    while last < len(runs) and runs[last][0] < stop:
        last += 1
    return runs[first:last]


def leaf_bounds(runs: Sequence[LeafRun], start: int, stop: int) -> tuple[int, int]:
    """[start, stop) grown to whole leaves at both ends; an empty range meets no leaf."""
    if start >= stop:
        return start, stop
    for run in _overlapping(runs, start, stop):
        if run[0] < start < run_end(run):
            start -= (start - run[0]) % run[1]
        if run[0] < stop < run_end(run):
            stop += -(stop - run[0]) % run[1]
    return start, stop


def annotated(runs: Sequence[AnnotationRun], start: int, stop: int) -> list[AnnotationRun]:
    """The parts of annotation runs inside [start, stop), which ends where entries end."""
    parts = []
    for ipa, size, value, count in runs:
        low, high = max(ipa, start), min(ipa + size * count, stop)
        if low < high:
            parts.append((low, size, value, (high - low) // size))
    return parts
