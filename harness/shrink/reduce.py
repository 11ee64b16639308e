# SPDX-License-Identifier: GPL-2.0-only
"""The reducer: edits tried in batches, those that keep what is to be shown are kept.

The key insight: asking a kernel costs a compile and a session however many scenarios are in it.
So every edit of a pass is tried at once, alone; then those that held are tried together, the
first one, the first two, and so on, and the most that still hold at once are taken. Two batches do
the work of many rounds, and no single answer is trusted for more than what was asked.

Deterministic: candidates and their order depend on the scenario alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from harness.shrink.edits import PASSES, Edit, Pass, Path, Tree, apply, cost, to_scenario, to_tree
from reference_model.scenario import Scenario


class Oracle(Protocol):
    """Says which candidates show what is to be shown.

    ``batch``: how many it is best asked at once. ``greedy``: an answer of yes is so dear that the
    rest need not be asked after it (each kills the kernel).
    """

    batch: int
    greedy: bool

    def shows(self, candidates: Sequence[Scenario]) -> list[bool]:
        """One answer a candidate; one that cannot be run does not show it."""


class Reduction(Struct, frozen=True, kw_only=True):
    """The smallest scenario found, and what it took.

    ``finished`` is False where the limit of tries came first: there may be a smaller one.
    """

    scenario: Scenario
    tried: int
    batches: int
    finished: bool


class _SpentError(Exception):
    """No tries are left."""


def reduce_scenario(start: Scenario, oracle: Oracle, *, tries: int = 20_000) -> Reduction:
    """The smallest scenario that the oracle says shows the same as ``start``.

    No single edit of :data:`harness.shrink.edits.PASSES` makes the result cheaper and keeps it
    shown, unless ``tries`` candidates were asked before that was known. ``start`` itself is not
    asked about: the caller has seen it.
    """
    reducer = _Reducer(to_tree(start), oracle, tries)
    finished = True
    try:
        while reducer.round():
            pass
    except _SpentError:
        finished = False
    scenario = to_scenario(reducer.tree)
    assert scenario is not None
    return Reduction(
        scenario=scenario, tried=reducer.tried, batches=reducer.batches, finished=finished
    )


class _Reducer:
    def __init__(self, tree: Tree, oracle: Oracle, tries: int) -> None:
        self.tree = tree
        self.tried = 0
        self.batches = 0
        self._oracle = oracle
        self._tries = tries
        self._known: set[bytes] = set()

    def round(self) -> bool:
        """Each pass until it gives nothing; whether any of them gave something."""
        before = cost(self.tree)
        for make in PASSES:
            while self._try(make):
                pass
        return cost(self.tree) < before

    def _try(self, make: Pass) -> bool:
        cheaper = self._cheaper(make(self.tree))
        if make is PASSES[0] or self._oracle.greedy:
            # Runs of steps exclude each other: the first that holds leaves the fewest steps.
            hit = next(self._holding(cheaper, stop=True), None)
            if hit is not None:
                self.tree = _plain(apply(self.tree, dict(hit)))
            return hit is not None
        held = list(self._holding(cheaper, stop=False))
        if not held:
            return False
        self._take_together(held)
        return True

    def _cheaper(self, edits: Iterable[Edit]) -> list[Edit]:
        """Edits that make a cheaper scenario which was not asked about yet, cheapest first."""
        now = cost(self.tree)
        out: list[tuple[tuple[int, ...], int, Edit]] = []
        for number, edit in enumerate(edits):
            tree = apply(self.tree, dict(edit))
            price = cost(tree)
            if price < now:
                out.append((price, number, edit))
        return [edit for _, _, edit in sorted(out, key=lambda one: one[:2])]

    def _take_together(self, held: list[Edit]) -> None:
        """The most of ``held``, from the first on, that hold at once: all, or the first few."""
        grown: list[dict[Path, object]] = []
        merged: dict[Path, object] = {}
        for edit in held:
            merged = dict(edit) | merged
            grown.append(dict(merged))
        trees = [apply(self.tree, edits) for edits in grown]
        now = cost(self.tree)
        useful = [tree for tree in trees if cost(tree) < now]
        best = trees[0]
        for tree, shown in zip(useful, self._ask(useful, fresh=False), strict=True):
            if shown and cost(tree) < cost(best):
                best = tree
        self.tree = _plain(best)

    def _holding(self, edits: Sequence[Edit], *, stop: bool) -> Iterator[Edit]:
        size = self._oracle.batch
        for at in range(0, len(edits), size):
            some = edits[at : at + size]
            answers = self._ask([apply(self.tree, dict(edit)) for edit in some], fresh=True)
            for edit, shown in zip(some, answers, strict=True):
                if shown:
                    yield edit
                    if stop:
                        return

    def _ask(self, trees: Sequence[Tree], *, fresh: bool) -> list[bool]:
        """One answer a tree; with ``fresh``, one that was refused before is not asked again."""
        answers = [False] * len(trees)
        asked: list[tuple[int, bytes, Scenario]] = []
        for at, tree in enumerate(trees):
            scenario = to_scenario(tree)
            if scenario is None:
                continue
            name = _name(tree)
            if fresh and name in self._known:
                continue
            asked.append((at, name, scenario))
        if not asked:
            return answers
        if self.tried + len(asked) > self._tries:
            raise _SpentError
        self.tried += len(asked)
        self.batches += 1
        shown = self._oracle.shows([scenario for _, _, scenario in asked])
        for (at, name, _), yes in zip(asked, shown, strict=True):
            answers[at] = yes
            if not yes:
                self._known.add(name)
        return answers


def _plain(tree: Tree) -> Tree:
    """Without keys that say what stands there anyway."""
    scenario = to_scenario(tree)
    assert scenario is not None
    return to_tree(scenario)


def _name(tree: Tree) -> bytes:
    return msgspec.json.encode(tree, order="deterministic")
