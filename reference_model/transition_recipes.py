# SPDX-License-Identifier: GPL-2.0-only
"""Small cases that between them reach every transition: what is put where, then one operation.

A :class:`Recipe` names one or two cells side by side, what each holds, and the operation over
them. It is built at a :class:`Place` of any table, so that the same case can stand alone (to find
out which transitions exist) or in the middle of a scenario (to exercise them on a kernel).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations, product
from typing import Literal, TypeAlias, cast

from msgspec import Struct

from reference_model.geometry import LAST_LEVEL, Geometry
from reference_model.scenario import WalkFlag
from reference_model.stage2_knobs import Stage2Knobs

#: What a cell can hold. The leaf that map asks for is ``rw``, Normal, software bits 0; ``same`` is
#: that leaf, the next words are what differs from it. ``in block``: the cell is part of the block
#: one level up, of the two levels up for ``in block1``. ``empty table``: an empty table hangs
#: where the leaf would be; ``failed``: a map came so far and lacked the last table.
Content = Literal[
    "hole", "same", "perms", "exec", "sw", "sw+perms", "old", "type", "output", "owner",
    "in block", "in perms block", "in type block", "in old block", "in block1",
    "table", "empty-table", "failed",
]  # fmt: skip
#: Pages in the cache: plenty, one too few, none, no cache.
Cache = Literal["enough", "short", "zero", "null"]
#: (level of the leaf, what is there), ascending and side by side.
Cells: TypeAlias = tuple[tuple[int, Content], ...]


class Recipe(Struct, frozen=True, gc=False):
    """One case. ``cells``: (level of the leaf, what is there), ascending, at most three.

    ``tabled``: in the tables of so many cells stand other leaves, so that these tables exist
    before and survive.
    ``twist``: what is odd about the arguments, by operation; "" where nothing is.
    """

    op: str
    cells: Cells
    tabled: int = 0
    flags: tuple[WalkFlag, ...] = ()
    cache: Cache = "enough"
    twist: str = ""


def rise(what: Content) -> int:
    """How many levels above its cell the leaf stands that a cell is part of; 0: it is no part."""
    if what == "in block1":
        return 2
    return 1 if what.startswith("in ") else 0


def recipes(geometry: Geometry, knobs: Stage2Knobs) -> Iterator[Recipe]:
    """Every case for a table of this geometry under these knobs; the order is fixed."""
    menu = _Menu(geometry, knobs)
    yield from menu.maps()
    if knobs.annotate != "none":
        yield from menu.annotates()
    if knobs.split:
        yield from menu.splits()
    yield from menu.ranges()
    yield from menu.leaves()


_CACHES: tuple[Cache, ...] = ("enough", "short", "zero", "null")
_SCARCE: tuple[Cache, ...] = ("short", "null")


_ALL = 9
_PAGE = LAST_LEVEL
_BLOCK = LAST_LEVEL - 1
_ODD = ("unaligned", "pa beyond", "pa beyond unaligned", "pa edge", "pa edge unaligned")
#: Those in which a leaf can stop the walk, for a kernel that needs a flag for that, or to go on.
_ODD_FLAGGED = ("unaligned", "pa edge", "pa edge unaligned")
_MET_BY_MAP: tuple[Content, ...] = (
    "hole", "same", "perms", "sw", "sw+perms", "old", "type", "output", "owner",
    "in block", "in block1", "table", "empty-table",
)  # fmt: skip
#: What of a leaf matters to the other operations.
_MET_BY: dict[str, tuple[Content, ...]] = {
    "unmap": ("type", "in type block"),
    "flush": ("type", "in type block"),
    "wrprotect": ("perms", "in perms block"),
    "mkold": ("old", "in old block"),
    "is_young": ("old", "in old block"),
    "mkyoung": ("old", "in old block"),
    "relax_perms": ("perms", "exec", "in perms block"),
    "get_leaf": (),
}
_MET_BY_ALL: tuple[Content, ...] = (
    "hole", "same", "owner", "in block", "in block1", "table", "empty-table",
)  # fmt: skip
_RANGE_OPS = ("unmap", "wrprotect", "flush", "mkold", "is_young")
_LEAF_OPS = ("mkyoung", "relax_perms", "get_leaf")


class _Menu:
    """The recipes of one kernel and geometry, operation by operation."""

    def __init__(self, geometry: Geometry, knobs: Stage2Knobs) -> None:
        self.knobs = knobs
        top = max(geometry.block_level, geometry.start_level)
        #: Levels with leaves, pages first.
        self.levels = tuple(range(_PAGE, top - 1, -1))
        flags = cast("tuple[WalkFlag, ...]", knobs.walk_flags)
        #: Every set of walk flags, none first.
        self.flags = tuple(
            chain.from_iterable(combinations(flags, count) for count in range(len(flags) + 1))
        )

    # --- map ---------------------------------------------------------------------------------

    def maps(self) -> Iterator[Recipe]:
        """kvm_pgtable_stage2_map()."""
        for cells, tabled, cache in self._map_cases():
            for flags in self.flags:
                yield Recipe("map", cells, tabled, flags, cache)
        # Something, then -EAGAIN or not, then the end of the output addresses.
        late: list[Cells] = [
            ((level, what), (level, "same"), (_PAGE, "hole"))
            for level in (_PAGE, _BLOCK)
            for what in self._met_by_map(level)
        ]
        odd = [*self._map_cases(), *((cells, _ALL, _CACHES[0]) for cells in late)]
        for cells, tabled, cache in odd:
            for twist in _ODD:
                yield Recipe("map", cells, tabled, (), cache, twist)
            for twist in _ODD_FLAGGED if self.knobs.walk_flags else ():
                yield Recipe("map", cells, tabled, self.flags[-1], cache, twist)
        for twist in ("empty", "beyond", "refused"):
            yield Recipe("map", ((_PAGE, "hole"),), twist=twist)

    def _map_cases(self) -> Iterator[tuple[Cells, int, Cache]]:
        """(cells, tabled, cache): each thing that map can meet, alone and before each effect."""
        for cells in self._singles():
            yield cells, _ALL, "enough"
            for cache in ("enough", "short", "null", "zero"):
                yield cells, 0, cache
        for level in (_PAGE, _BLOCK):
            for what in self._met_by_map(level):
                first = (level, what)
                follows: tuple[Content, ...] = ("hole", "same", "perms", "output", what)
                for second in follows:
                    if self._has(_PAGE, second):
                        yield (first, (_PAGE, second)), 0, "enough"
                needy: tuple[Content, ...] = ("hole", "in block")
                for second, cache in product(needy, _SCARCE):
                    yield (first, (_PAGE, second)), 0, cache
                if level == _BLOCK:
                    yield (first, first), 0, "enough"
        for what in self._met_by_map(_PAGE):
            # One that needs no table, then one that does.
            for cache in ("enough", *_SCARCE):
                yield ((_PAGE, what), (_PAGE, "hole"), (_PAGE, "in block")), 0, cache
        holes: tuple[Content, ...] = ("hole", "in block")
        for first_hole, second_hole, cache in product(holes, holes, _CACHES):
            for tabled in (0, 1):
                yield ((_PAGE, first_hole), (_PAGE, second_hole)), tabled, cache

    def _singles(self) -> Iterator[Cells]:
        for level in self.levels:
            for what in self._met_by_map(level):
                yield ((level, what),)

    def _met_by_map(self, level: int) -> Iterator[Content]:
        return (what for what in _MET_BY_MAP if self._has(level, what))

    # --- annotate and split --------------------------------------------------------------------

    def annotates(self) -> Iterator[Recipe]:
        """set_owner() and annotate()."""
        met: tuple[Content, ...] = ("hole", "owner", "same", "in block", "in block1")
        whats = [what for what in met if self._has(_PAGE, what)]
        other = "clear" if self.knobs.annotate == "owner_id" else "other"
        twists = ("", other, "unaligned", f"{other} unaligned")
        for twist, cache in product(twists, _CACHES):
            yield Recipe("annotate", ((_PAGE, "hole"),) * 2, 1, (), cache, twist)
            for first in whats:
                for tabled in (0, _ALL):
                    yield Recipe("annotate", ((_PAGE, first),), tabled, (), cache, twist)
                for second in whats:
                    pair: Cells = ((_PAGE, first), (_PAGE, second))
                    yield Recipe("annotate", pair, 0, (), cache, twist)
                three: Cells = ((_PAGE, first), (_PAGE, "same"), (_PAGE, "in block"))
                yield Recipe("annotate", three, 0, (), cache, twist)
        for twist in ("empty", "beyond", "refused"):
            yield Recipe("annotate", ((_PAGE, "hole"),), twist=twist)

    def splits(self) -> Iterator[Recipe]:
        """kvm_pgtable_stage2_split()."""
        whole: tuple[Content, ...] = ("hole", "same", "type", "old", "table")
        parts: tuple[Content, ...] = (
            "hole", "same", "owner", "in block", "in type block", "in block1"
        )  # fmt: skip
        cells = [(level, what) for level in self.levels[1:] for what in whole]
        cells += [(_PAGE, what) for what in parts if self._has(_PAGE, what)]
        block: tuple[int, Content] = (_BLOCK, "same")
        caches: tuple[Cache, ...] = ("enough", "short", "zero")
        for cache, twist in product(caches, ("", "unaligned")):
            for first in cells:
                yield Recipe("split", (first,), 0, (), cache, twist)
                if first[0] >= _BLOCK:
                    yield Recipe("split", (first, block), 0, (), cache, twist)
                    yield Recipe("split", (first, (_PAGE, "hole")), 0, (), cache, twist)
                    yield Recipe("split", (first, block, block), 0, (), cache, twist)
                    yield Recipe("split", (first, block, (_PAGE, "hole")), 0, (), cache, twist)
                    yield Recipe("split", (first, first), 0, (), cache, twist)
        for twist in ("empty", "beyond"):
            yield Recipe("split", ((_PAGE, "hole"),), twist=twist)

    # --- the rest --------------------------------------------------------------------------------

    def ranges(self) -> Iterator[Recipe]:
        """Operations on what a range holds that take no table."""
        for op in _RANGE_OPS:
            cells = list(self._met_by(op))
            follows: tuple[Content, ...] = ("hole", "same", _MET_BY[op][0])
            for first, twist, tabled in product(cells, ("", "unaligned"), (0, _ALL)):
                yield Recipe(op, (first,), tabled, twist=twist)
                for second in follows:
                    yield Recipe(op, (first, (_PAGE, second)), tabled, twist=twist)
            yield Recipe(op, ((_PAGE, "hole"),), twist="empty")
            if op not in ("mkold", "is_young") or not self.knobs.age_whole_range:
                yield Recipe(op, ((_PAGE, "hole"),), twist="beyond")

    def leaves(self) -> Iterator[Recipe]:
        """Operations on one leaf, and destroy."""
        for op in _LEAF_OPS:
            if op == "get_leaf" and not self.knobs.get_leaf:
                continue
            twists = ("", "unaligned", "beyond") + (("rwx",) if op == "relax_perms" else ())
            all_flags = self.flags if op == "relax_perms" else ((),)
            for cell, flags, twist in product(self._met_by(op), all_flags, twists):
                if cell[0] == _PAGE:
                    yield Recipe(op, (cell,), 0, flags, "enough", twist)
        ends: list[tuple[int, Content]] = [(_PAGE, "hole"), (_PAGE, "same")]
        if self._has(_PAGE, "owner"):
            ends.append((_PAGE, "owner"))
        for pair in product(ends, ends):
            yield Recipe("destroy", pair)
        for cell in self._met_by("unmap"):
            yield Recipe("destroy", (cell,))
        for op in ("unmap", "destroy"):
            yield Recipe(op, ((_PAGE, "failed"),))

    def _met_by(self, op: str) -> Iterator[tuple[int, Content]]:
        for level in self.levels:
            for what in (*_MET_BY_ALL, *_MET_BY[op]):
                if self._has(level, what):
                    yield level, what

    def _has(self, level: int, what: Content) -> bool:
        """This kernel and geometry can have a cell of ``level`` that holds ``what``."""
        if what == "owner":
            return level == _PAGE and self.knobs.annotate != "none"
        if what == "table":
            return level != _PAGE
        if what == "empty-table":
            # Of pages only where clearing makes one; of blocks where there are two levels of them.
            return level == _BLOCK - 1 or (level == _BLOCK and self.knobs.pa_beyond_clears)
        if what in ("sw", "sw+perms"):
            return self.knobs.sw_bits
        return not rise(what) or level - rise(what) in self.levels
