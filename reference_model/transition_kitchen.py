# SPDX-License-Identifier: GPL-2.0-only
"""Builds a recipe at a place of a table: the operations that fill its cells, and the one over them.

``Place.ipa`` and ``Place.pa`` are aligned to the largest leaf; one of its sizes is free (or may be
overwritten) on either side of the IPA.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from reference_model import scenario as sc
from reference_model.geometry import LAST_LEVEL
from reference_model.pgtable import Link, Table
from reference_model.pgtable_state import Stage2
from reference_model.scenario import PgtableOp
from reference_model.transition_recipes import Content, Recipe, rise

#: Table pages that suffice for any step but the largest: the language's default.
PLENTY = 64


class Place(Struct, frozen=True, gc=False):
    """Where a recipe is built: its cells meet at ``ipa``, which maps to ``pa``."""

    ipa: int
    pa: int


def scenario_cache(recipe: Recipe) -> int | msgspec.UnsetType | None:
    """The ``memcache`` that the scenario must have; UNSET: the recipe's operations have their own.

    annotate is the only operation that takes the scenario's.
    """
    if recipe.op != "annotate":
        return msgspec.UNSET
    return {"enough": PLENTY, "null": None, "zero": 0, "short": 1}[recipe.cache]


class Kitchen:
    """Builds one recipe in one table."""

    def __init__(self, recipe: Recipe, state: Stage2, place: Place) -> None:
        self.recipe = recipe
        self.state = state
        self.geometry = state.geometry
        self.place = place
        if "pa edge" in recipe.twist:
            # The largest output address is that of the last cell but one.
            last = self.span()[1] - self.geometry.size(recipe.cells[-1][0])
            edge = (1 << self.geometry.pa_bits) - last + place.ipa
            self.place = Place(place.ipa, edge)

    def span(self) -> tuple[int, int]:
        """[start, end) of the cells. The place is where the last of several begins; but where the
        first is part of a larger leaf that no other should be part of, it is where that ends.
        """
        cells = self.recipe.cells
        sizes = [self.geometry.size(level) for level, _ in cells]
        apart = len(cells) > 1 and rise(cells[0][1]) and not rise(cells[-1][1])
        start = self.place.ipa - sum(sizes[: 1 if apart else -1])
        return start, start + sum(sizes)

    # --- set-up ----------------------------------------------------------------------------

    def setup(self) -> Iterator[PgtableOp]:
        """The operations that fill the cells; each is to be performed before the next is taken."""
        addr, _ = self.span()
        for number, (level, what) in enumerate(self.recipe.cells):
            beside = number < self.recipe.tabled
            if beside and level - rise(what) > self.geometry.start_level:
                yield self._neighbour(level - rise(what), addr)
            yield from self._fill(level, what, addr)
            addr += self.geometry.size(level)

    def _neighbour(self, level: int, addr: int) -> sc.Map:
        """A page that no cell meets, in the same table of ``level``."""
        size = self.geometry.size(level)
        table = size * self.geometry.entries
        away = table // 2
        other = addr + away if addr % table < away else addr - away
        return self._map(other, self.geometry.page_size)

    def _fill(self, level: int, what: Content, addr: int) -> Iterator[PgtableOp]:
        size, page = self.geometry.size(level), self.geometry.page_size
        if what == "owner":
            yield self._map(addr, page)  # makes the tables from a cache of its own
            yield sc.Annotate(ipa=addr, size=size, owner=self.owner)
        elif what == "table":
            yield self._map(addr + size // 2, page)
        elif what == "failed":
            yield self._stopped(addr, 1)
        elif what == "empty-table":
            yield self._empty_table(level, addr)
        elif rise(what):
            block = self.geometry.size(level - rise(what))
            kind = {"in perms block": "perms", "in type block": "type", "in old block": "old"}
            yield from self._leaf(kind.get(what, "same"), addr & ~(block - 1), block)
        elif what != "hole":
            yield from self._leaf(what, addr, size)

    def _leaf(self, what: str, addr: int, size: int) -> Iterator[PgtableOp]:
        """One leaf of ``size``; its output is cut to what such a leaf can have."""
        prot = {"perms": "r", "exec": "rwx", "sw+perms": "r", "type": "rw-device"}.get(what, "rw")
        sw = {"sw": 1, "sw+perms": 6}.get(what, 0)
        pa = (self.output(addr) & ~(size - 1)) + (size if what == "output" else 0)
        yield sc.Map(ipa=addr, size=size, pa=pa, prot=prot, sw=sw, memcache=PLENTY)
        if what == "old":
            yield sc.MkOld(ipa=addr, size=size)

    def _empty_table(self, level: int, addr: int) -> sc.Map:
        """A page whose output is out of range, or that lacks a table: the tables above stay."""
        page = self.geometry.page_size
        if level == LAST_LEVEL - 1:
            # Where such an address clears, the walk has made all tables for nothing.
            beyond = 1 << self.geometry.pa_bits
            return sc.Map(ipa=addr, size=page, pa=beyond, prot="rw", memcache=PLENTY)
        return self._stopped(addr, LAST_LEVEL - level - 1)

    def _stopped(self, addr: int, missing: int) -> sc.Map:
        """A page for whose last ``missing`` tables there are no pages."""
        wanted = self._map(addr, self.geometry.page_size)
        pages = max(tables_needed(self.state, wanted) - missing, 0)
        return msgspec.structs.replace(wanted, memcache=pages)

    def output(self, addr: int) -> int:
        """The output address that the recipe gives an IPA."""
        return self.place.pa + addr - self.place.ipa

    @property
    def owner(self) -> int:
        """An owner that this kernel takes."""
        return 2 if self.state.knobs.annotate == "typed" else 1

    def _map(self, addr: int, size: int) -> sc.Map:
        return sc.Map(ipa=addr, size=size, pa=self.output(addr), prot="rw", memcache=PLENTY)

    # --- the operation itself ----------------------------------------------------------------

    def request(self) -> PgtableOp:
        """The operation over the cells, which :meth:`setup` has filled."""
        recipe = self.recipe
        ipa, end = self.span()
        size, page = end - ipa, self.geometry.page_size
        pa = self.output(ipa)
        if "pa beyond" in recipe.twist:
            pa = 1 << self.geometry.pa_bits
        elif recipe.twist == "beyond":
            ipa, size = 1 << self.geometry.ipa_bits, page
        elif recipe.twist == "empty":
            size = 0
        if "unaligned" in recipe.twist:
            ipa, size, pa = ipa + page // 2, size - page // 4, pa + page // 4
        match recipe.op:
            case "map":
                return self._request_map(ipa, size, pa)
            case "annotate":
                # Too large an id, or type LOCKED; another owner than the one that is there.
                odd = {"clear": 0, "refused": 0x21, "other": self.owner + 1}
                owner = odd.get(recipe.twist.partition(" ")[0], self.owner)
                return sc.Annotate(ipa=ipa, size=size, owner=owner)
            case "relax_perms":
                prot = "rwx" if recipe.twist == "rwx" else "rw"
                return sc.RelaxPerms(ipa=ipa, prot=prot, flags=recipe.flags)
            case "split":
                pages = {"enough": 2 * self.geometry.entries, "short": 1}.get(recipe.cache, 0)
                return sc.Split(ipa=ipa, size=size, memcache=pages)
            case "mkyoung":
                return sc.MkYoung(ipa=ipa)
            case "get_leaf":
                return sc.GetLeaf(ipa=ipa)
            case "destroy":
                return sc.Destroy()
        return _RANGE_OPS[recipe.op](ipa=ipa, size=size)

    def _request_map(self, ipa: int, size: int, pa: int) -> sc.Map:
        recipe = self.recipe
        prot = "rwx-device" if recipe.twist == "refused" else "rw"
        pages: int | None = PLENTY
        if recipe.cache == "short":
            plain = sc.Map(ipa=ipa, size=size, pa=pa, prot=prot)
            pages = max(tables_needed(self.state, plain) - 1, 0)
        elif recipe.cache != "enough":
            pages = 0 if recipe.cache == "zero" else None
        return sc.Map(
            ipa=ipa, size=size, pa=pa, prot=prot, flags=recipe.flags, memcache=pages
        )  # fmt: skip


_RANGE_OPS: dict[str, type[sc.Unmap | sc.WrProtect | sc.Flush | sc.MkOld | sc.IsYoung]] = {
    "unmap": sc.Unmap,
    "wrprotect": sc.WrProtect,
    "flush": sc.Flush,
    "mkold": sc.MkOld,
    "is_young": sc.IsYoung,
}


def tables_needed(state: Stage2, op: sc.Map | sc.Annotate) -> int:
    """Table pages that the walk takes if nothing stops it and the cache lasts."""
    start, end = state.walk_range(op.ipa, op.size)
    if state.out_of_range(start, end) or start >= end:
        return 0
    return _Needs(state, op, start, end).count(state.root, state.root.level, start, end)


class _Needs:
    """The descent of one map or annotate call, counted and not performed."""

    def __init__(self, state: Stage2, op: sc.Map | sc.Annotate, start: int, end: int) -> None:
        self.geometry = state.geometry
        self.end = end
        #: Output less input address; None: only pages are asked for.
        self.offset: int | None = None
        if isinstance(op, sc.Map):
            pa = op.pa & ~(self.geometry.page_size - 1)
            cleared = state.knobs.pa_beyond_clears and pa >> self.geometry.pa_bits
            self.offset = 0 if cleared else pa - start

    def count(self, table: Table | None, level: int, addr: int, end: int) -> int:
        """For [addr, end) in a table of ``level``; ``table`` None: one that is yet to be made."""
        if level == LAST_LEVEL:
            return 0
        size = self.geometry.size(level)
        total = 0
        while addr < end:
            after = (addr & ~(size - 1)) + size
            if not self._is_leaf(level, addr, size):
                below = self._below(table, addr)
                total += 0 if below else 1
                total += self.count(below, level + 1, addr, min(end, after))
            addr = after
        return total

    def _is_leaf(self, level: int, addr: int, size: int) -> bool:
        if self.offset is None or level < self.geometry.block_level:
            return False
        return not (addr | (addr + self.offset)) & (size - 1) and self.end - addr >= size

    @staticmethod
    def _below(table: Table | None, addr: int) -> Table | None:
        if table is None:
            return None
        index = table.index(addr)
        entry, _ = table.at(index, index + 1)
        return entry.table if isinstance(entry, Link) else None
