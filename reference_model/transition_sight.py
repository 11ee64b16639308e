# SPDX-License-Identifier: GPL-2.0-only
"""What an operation is about to meet in the table: the "before" half of a transition.

Only looks; the model's own walkers do the work. A range is named by the first thing that its walk
meets, and by ``+more`` where something else follows.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from reference_model import pte
from reference_model import scenario as sc
from reference_model.geometry import LAST_LEVEL
from reference_model.pgtable import Entry, Leaf, Link, Note, Table, descendants
from reference_model.pgtable_map import annotation_value
from reference_model.pgtable_state import Stage2
from reference_model.scenario import PgtableOp

#: Nothing is looked at: the operation is refused, or there is nothing to look at.
NOTHING = "-"
#: A range is looked through this far for something that is not like its first part.
_LOOK = 64
_LEVEL_SHAPES = {3: "page", 2: "block2", 1: "block1"}


class Sight(Struct, frozen=True, order=True, gc=False):
    """What is there (``found``), how much is asked for (``shape``), and how (``asked``).

    ``found``, where map would put a leaf: ``hole``, ``owner`` (an annotated entry), ``same`` (the
    very leaf), ``perms``, ``sw``, ``sw+perms`` (only these differ), ``old`` (the access flag is
    clear), ``type`` (the memory type differs), ``output`` (another address), ``block`` (part of a
    larger leaf), ``table`` (smaller leaves), ``empty-table``; with ``pa beyond`` just ``leaf``.
    For the other operations: ``hole``, ``owner``, ``page``, ``block`` and its level, ``part`` of
    one, and what of the leaf matters to the operation. ``+more``: something else follows.

    ``shape``: ``empty`` (size 0), ``beyond`` (the IPA space), ``unaligned`` (an address or the
    size), and else, for map and annotate, ``page``, ``block2``, ``block1`` (one leaf of that
    level), ``range`` (several); for the other operations ``aligned``.

    ``asked``: the walk flags; ``pa beyond`` (the largest address); ``set`` or ``clear`` an owner;
    ``refused`` (arguments that are wrong whatever is there).

    Of what is odd already no more is said: flags and what follows only of aligned ranges, in
    bounds, with addresses in bounds.
    """

    found: str
    shape: str
    asked: str


def sight(state: Stage2, op: PgtableOp) -> Sight:
    """What ``op`` would meet in a table that it has not touched yet."""
    match op:
        case sc.Map():
            return _map(state, op)
        case sc.Annotate():
            return _annotate(state, op)
        case sc.Destroy():
            return Sight(_whole(state), NOTHING, "")
        case sc.Flush() if state.fwb:
            return Sight(NOTHING, NOTHING, "")
    ipa, size = _extent(state, op)
    asked = _flags(op.flags) if isinstance(op, sc.RelaxPerms) else ""
    shape = _shape(state, ipa, size)
    if shape in ("beyond", "empty"):
        return Sight(NOTHING, shape, "")
    visited = _visited(state.root, *state.walk_range(ipa, size))
    kinds = (_leaf_words(op, state, kind, leaf) for kind, leaf in visited)
    return _seen(kinds, shape, asked)


def is_empty(state: Stage2, start: int, end: int) -> bool:
    """Nothing is mapped and nothing annotated in [start, end), which are page-aligned."""
    return all(kind == "hole" for kind, _ in _visited(state.root, start, end))


# --- map and annotate ------------------------------------------------------------------------


class _Wanted:
    """The leaves that a map or annotate call asks for."""

    def __init__(self, state: Stage2, ipa: int, size: int) -> None:
        self.state = state
        self.start, self.end = state.walk_range(ipa, size)
        self.pa: int | None = None
        self.attr = 0
        self.value = 0
        #: The range ends behind the largest output address.
        self.beyond = False

    def output(self, addr: int) -> int | None:
        """The output address for ``addr``; None: an invalid entry is asked for."""
        if self.pa is None:
            return None
        limit = 1 << self.state.geometry.pa_bits
        pa = self.pa + addr - self.start
        if self.state.knobs.pa_beyond_clears and pa >= limit:
            return None
        return pa & (limit - 1)

    def fits(self, level: int, addr: int) -> bool:
        """A leaf of ``level`` can stand at ``addr`` (stage2_leaf_mapping_allowed)."""
        if level == LAST_LEVEL:
            return True
        geometry = self.state.geometry
        if level < geometry.block_level or self.pa is None:
            return False
        size = geometry.size(level)
        return not (addr | (self.output(addr) or 0)) & (size - 1) and self.end - addr >= size

    def meets(self, table: Table, addr: int, end: int) -> Iterator[str]:
        """What stands in the way, ascending; neighbours that are alike come as one."""
        while addr < end:
            index = table.index(addr)
            entry, stop = table.at(index, table.index(end - 1) + 1)
            if entry is None:
                yield "hole"
                addr = table.address(stop)
            elif self.fits(table.level, addr):
                yield self._word(table, index, entry)
                whole = (end - addr) >> table.shift
                addr = table.address(index + max(1, min(stop - index, whole)))
            elif isinstance(entry, Link):
                after = table.address(index + 1)
                yield from self.meets(entry.table, addr, min(end, after))
                addr = after
            else:
                yield "block"
                addr = table.address(index + 1)

    def _word(self, table: Table, index: int, entry: Entry) -> str:
        if isinstance(entry, Link):
            return "table" if entry.table.counted else "empty-table"
        if isinstance(entry, Note):
            return "same" if self.pa is None and entry.value == self.value else "owner"
        output = self.output(table.address(index))
        if output is None or self.beyond:
            return "leaf"
        if output != entry.pa + ((index - entry.first) << table.shift):
            return "output"
        return _difference(entry.attr ^ self.attr)


def _difference(bits: int) -> str:
    if bits & pte.MEMATTR:
        return "type"
    if bits & pte.AF:
        return "old"
    words = ["sw"] * bool(bits & pte.SW) + ["perms"] * bool(bits & pte.PERMS)
    return "+".join(words) or "same"


def _map(state: Stage2, op: sc.Map) -> Sight:
    attr = pte.leaf_attr(op.prot, op.sw, state.fwb)
    if attr < 0:
        return Sight(NOTHING, NOTHING, "refused")
    wanted = _Wanted(state, op.ipa, op.size)
    wanted.pa = op.pa & ~(state.geometry.page_size - 1)
    wanted.attr = attr
    wanted.beyond = wanted.pa + wanted.end - wanted.start > 1 << state.geometry.pa_bits
    asked = "pa beyond" if wanted.beyond else _flags(op.flags)
    return _met(state, wanted, asked, _unaligned(state, op.ipa | op.size | op.pa))


def _annotate(state: Stage2, op: sc.Annotate) -> Sight:
    value = annotation_value(state.knobs.annotate, op.owner)
    if value is None:
        return Sight(NOTHING, NOTHING, "refused")
    wanted = _Wanted(state, op.ipa, op.size)
    wanted.value = value
    asked = "set" if value else "clear"
    return _met(state, wanted, asked, _unaligned(state, op.ipa | op.size))


def _met(state: Stage2, wanted: _Wanted, asked: str, unaligned: bool) -> Sight:
    start, end = wanted.start, wanted.end
    if state.out_of_range(start, end):
        return Sight(NOTHING, "beyond", "")
    if start >= end:
        return Sight(NOTHING, "empty", "")
    shape = "unaligned" if unaligned else "range"
    if shape == "range":
        for level, name in _LEVEL_SHAPES.items():
            if end - start == state.geometry.size(level) and wanted.fits(level, start):
                shape = name
    return _seen(wanted.meets(state.root, start, end), shape, asked)


# --- the other operations ----------------------------------------------------------------------


def _extent(state: Stage2, op: PgtableOp) -> tuple[int, int]:
    """(ipa, size) that the walk looks at; operations on one leaf look at one page."""
    one_leaf: tuple[type[sc.Op], ...] = (sc.RelaxPerms, sc.MkYoung, sc.GetLeaf)
    if not state.knobs.age_whole_range:
        one_leaf = (*one_leaf, sc.MkOld, sc.IsYoung)
    size = state.geometry.page_size if isinstance(op, one_leaf) else getattr(op, "size", 0)
    return getattr(op, "ipa", 0), size


def _shape(state: Stage2, ipa: int, size: int) -> str:
    start, end = state.walk_range(ipa, size)
    if state.out_of_range(start, end):
        return "beyond"
    if start >= end:
        return "empty"
    return "unaligned" if _unaligned(state, ipa | size) else "aligned"


def _visited(table: Table, start: int, end: int) -> Iterator[tuple[str, Leaf | None]]:
    """(kind, leaf) of what a leaf walk meets, ascending; neighbours that are alike as one."""
    index, last = table.index(start), table.index(end - 1) + 1
    while index < last:
        entry, stop = table.at(index, last)
        if isinstance(entry, Link):
            below = max(start, entry.table.base)
            yield from _visited(entry.table, below, min(end, table.address(index + 1)))
        elif isinstance(entry, Leaf):
            if table.level == LAST_LEVEL:
                yield "page", entry
            elif table.address(index) < start or table.address(index + 1) > end:
                yield "part", entry
                stop = index + 1
            else:
                yield f"block{table.level}", entry
                stop = min(stop, max(table.index(end), index + 1))
        else:
            yield ("hole" if entry is None else "owner"), None
        index = stop


def _leaf_words(op: PgtableOp, state: Stage2, kind: str, leaf: Leaf | None) -> str:
    """``page writable`` and so on: the kind, and what of the leaf matters to ``op``."""
    if leaf is None:
        return kind
    attr = leaf.attr
    match op:
        case sc.Unmap() | sc.Flush():
            cached = attr & pte.MEMATTR == state.cacheable
            return f"{kind} {'cached' if cached else 'uncached'}"
        case sc.WrProtect():
            return f"{kind} {'writable' if attr & pte.WRITE else 'readonly'}"
        case sc.RelaxPerms():
            return f"{kind} {_lacking(attr, op.prot)}"
        case sc.MkYoung() | sc.MkOld() | sc.IsYoung():
            return f"{kind} {'young' if attr & pte.AF else 'old'}"
        case sc.Split() if kind != "page":
            plain = attr & pte.MEMATTR == state.cacheable and attr & pte.AF
            return f"{kind} {'plain' if plain else 'special'}"
    return kind


def _lacking(attr: int, prot: str) -> str:
    letters, _ = pte.permissions(prot)
    if "x" in letters and attr & pte.XN:
        return "lacks x"
    lacks = ("r" in letters and not attr & pte.READ) or ("w" in letters and not attr & pte.WRITE)
    return "lacks" if lacks else "granted"


def _whole(state: Stage2) -> str:
    """What destroy finds."""
    if not state.root.counted:
        return "empty"
    entries = [entry for t in (state.root, *descendants(state.root)) for entry in t.entries]
    words = ["leaves"] * any(isinstance(entry, Leaf) for entry in entries)
    words += ["owners"] * any(isinstance(entry, Note) for entry in entries)
    return "+".join(words) or "tables"


# --- words -----------------------------------------------------------------------------------


def _seen(words: Iterator[str], shape: str, asked: str) -> Sight:
    """The sight of what ``words`` name, one after the other."""
    first = next(words)
    if shape == "unaligned":
        return Sight(first.partition(" ")[0], shape, "pa beyond" if asked == "pa beyond" else "")
    if asked != "pa beyond":
        for _, word in zip(range(_LOOK), words, strict=False):
            if word != first:
                return Sight(f"{first}+more", shape, asked)
    return Sight(first, shape, asked)


def _flags(flags: tuple[str, ...]) -> str:
    return " ".join(sorted(set(flags)))


def _unaligned(state: Stage2, value: int) -> bool:
    return bool(value & (state.geometry.page_size - 1))
