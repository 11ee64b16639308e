# SPDX-License-Identifier: GPL-2.0-only
"""A VM's stage 2 as its guest can tell: leaves of any size, and which last-level tables exist.

Guest frames (gfn) are units of the host's page size. The page-table API in full is
:mod:`reference_model.pgtable`; the fault path uses few of its ways, and here are only these.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from reference_model.geometry import geometry
from reference_model.outcome import LeafRun
from reference_model.profiles import Environment
from reference_model.scenario import RESERVED_GPA


class Leaf(Struct, frozen=True):
    """One leaf: its size in pages, permissions beyond read (which each has), access flag, type."""

    pages: int
    w: bool
    x: bool
    af: bool = True
    device: bool = False


class Stage2:
    """The leaves by first guest frame, aligned to their size."""

    def __init__(self, env: Environment, ipa_bits: int) -> None:
        self.env = env
        shape = geometry(env.page_shift, ipa_bits, lpa2=env.lpa2)
        #: Leaf sizes in pages, ascending: the page, and the blocks that this table can hold.
        self.sizes = tuple(
            shape.size(level) >> env.page_shift
            for level in range(3, max(shape.block_level, shape.start_level) - 1, -1)
        )
        # One table page holds PAGE_SIZE / 8 entries.
        self._table_shift = env.page_shift - 3
        self._leaves: dict[int, Leaf] = {}
        self._tables: dict[int, int] = {}
        self._runs: tuple[LeafRun, ...] | None = None
        # The runtime's own pages stay mapped: their tables never go away.
        self._tables[self._table(RESERVED_GPA.start >> env.page_shift)] = 1

    def copied(self) -> Stage2:
        """The same table, to go another way from here on."""
        other = copy.copy(self)
        other._leaves = self._leaves.copy()
        other._tables = self._tables.copy()
        return other

    def find(self, gfn: int) -> tuple[int, Leaf] | None:
        """The leaf that maps a guest frame, with its first guest frame."""
        for pages in self.sizes:
            base = gfn & -pages
            leaf = self._leaves.get(base)
            if leaf is not None and leaf.pages == pages:
                return base, leaf
        return None

    def map(self, gfn: int, pages: int, *, w: bool, x: bool, device: bool = False) -> None:
        """kvm_pgtable_stage2_map of ``pages`` at an aligned gfn.

        A block that is only part of it goes as a whole, and so does a table that it covers.
        """
        size = max(size for size in self.sizes if size <= pages)
        self.unmap(gfn, pages)
        for base in range(gfn, gfn + pages, size):
            self._put(base, Leaf(size, w, x, device=device))

    def relax(self, gfn: int, *, w: bool, x: bool) -> None:
        """kvm_pgtable_stage2_relax_perms: adds permissions to the leaf that is there."""
        found = self.find(gfn)
        assert found is not None
        base, leaf = found
        self._leaves[base] = replace(leaf, w=leaf.w or w, x=leaf.x or x)
        self._runs = None

    def has_table(self, gfn: int) -> bool:
        """True if a page's leaf can be installed without allocating a table page."""
        return self._tables.get(self._table(gfn), 0) > 0

    def unmap(self, first: int, count: int) -> None:
        """kvm_pgtable_stage2_unmap: every leaf that the range meets, and emptied tables."""
        for base in self._meeting(first, count):
            self._runs = None
            leaf = self._leaves.pop(base)
            if leaf.pages == 1:
                table = self._table(base)
                self._tables[table] -= 1
                if not self._tables[table]:
                    del self._tables[table]

    def wrprotect(self, first: int, count: int) -> None:
        """kvm_pgtable_stage2_wrprotect over a range, holes notwithstanding."""
        for base in self._meeting(first, count):
            if self._leaves[base].w:
                self._runs = None
                self._leaves[base] = replace(self._leaves[base], w=False)

    def split(self, first: int, count: int, chunk: int) -> None:
        """kvm_mmu_split_huge_pages: the blocks that a range meets, down to pages.

        A chunk (in pages) smaller than a block of level 1 leaves room for fewer tables than that
        block needs: it becomes blocks of level 2, and only those that the range meets pages.
        """
        pmd = 1 << self._table_shift
        for base in self._meeting(first, count):
            leaf = self._leaves[base]
            if leaf.pages > pmd and chunk < leaf.pages:
                self._break(base, pmd)
        for base in self._meeting(first, count):
            if self._leaves[base].pages > 1:
                self._break(base, 1)

    def _break(self, base: int, size: int) -> None:
        leaf = self._leaves.pop(base)
        for gfn in range(base, base + leaf.pages, size):
            # kvm_pgtable_stage2_create_unlinked makes new leaves, whose access flag is set.
            self._put(gfn, Leaf(size, leaf.w, leaf.x))

    def set_young(self, gfn: int, *, young: bool) -> bool:
        """Sets the access flag of the leaf at gfn; True if it changed."""
        found = self.find(gfn)
        if found is None or found[1].af == young:
            return False
        self._leaves[found[0]] = replace(found[1], af=young)
        self._runs = None
        return True

    def runs(self, most: int | None = None) -> tuple[LeafRun, ...] | None:
        """The ``leaves`` channel: maximal runs of equal leaves, physical addresses left at 0.

        None where there are more than ``most``.
        """
        if self._runs is None:
            runs = self._folded(most)
            if runs is None:
                return None
            self._runs = runs
        return self._runs

    def _folded(self, most: int | None) -> tuple[LeafRun, ...] | None:
        shift = self.env.page_shift
        out: list[LeafRun] = []
        last: tuple[int, Leaf] | None = None
        for base in sorted(self._leaves):
            leaf = self._leaves[base]
            if last is not None and last[1] == leaf and base == last[0] + leaf.pages:
                out[-1] = (*out[-1][:-1], out[-1][-1] + 1)
            else:
                prot = "r" + ("w" if leaf.w else "") + ("x" if leaf.x else "")
                kind = "device" if leaf.device else "normal"
                out.append((base << shift, leaf.pages << shift, 0, prot, 0, leaf.af, kind, 1))
                if most is not None and len(out) > most:
                    return None
            last = (base, leaf)
        return tuple(out)

    def _put(self, base: int, leaf: Leaf) -> None:
        self._leaves[base] = leaf
        self._runs = None
        if leaf.pages == 1:
            table = self._table(base)
            self._tables[table] = self._tables.get(table, 0) + 1

    def _table(self, gfn: int) -> int:
        return gfn >> self._table_shift

    def _meeting(self, first: int, count: int) -> list[int]:
        if count <= 0:
            return []
        if count <= len(self._leaves):
            return sorted(set(self._found(first, count)))
        return sorted(
            base
            for base, leaf in self._leaves.items()
            if base < first + count and first < base + leaf.pages
        )

    def _found(self, first: int, count: int) -> Iterator[int]:
        for gfn in range(first, first + count):
            found = self.find(gfn)
            if found is not None:
                yield found[0]
