# SPDX-License-Identifier: GPL-2.0-only
"""One step of a pgtable scenario, drawn with an eye on the table as it stands.

Addresses are drawn from where something begins, ends or changes; sizes from what a page, a block
and the next edge are; arguments from what is mapped there already, with at most one thing changed.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

import msgspec

from reference_model import scenario as sc
from reference_model.outcome import LeafRun
from reference_model.profiles import SemanticsProfile
from reference_model.scenario import PgtableOp, WalkFlag
from reference_model.transition_kitchen import PLENTY, tables_needed
from reference_model.transitions import Watcher

_Ranged: TypeAlias = sc.Unmap | sc.WrProtect | sc.Flush | sc.MkOld | sc.IsYoung
#: Of the splits of large blocks, those with about as many pages as it takes to the end: a GiB in
#: pages costs a kernel under TCG as much as hundreds of scenarios do.
_WHOLE_SPLITS = 0.01
_RANGES: tuple[type[_Ranged], ...] = (sc.Unmap, sc.WrProtect, sc.Flush, sc.MkOld, sc.IsYoung)


class Draw:
    """Draws operations for one scenario; the random numbers are the scenario's own."""

    def __init__(
        self, random: Random, watcher: Watcher, profile: SemanticsProfile, memcache: int | None
    ) -> None:
        self.random = random
        self.watcher = watcher
        self.knobs = profile.stage2
        self.geometry = watcher.state.geometry
        self.memcache = memcache
        shape = self.geometry
        self.page = shape.page_size
        self.block = shape.size(2)
        self.large = shape.size(max(shape.block_level, shape.start_level))
        self.limit = 1 << shape.ipa_bits
        self.bases = self._bases()
        #: Where memory is: an output address less its IPA.
        self.offset = random.choice((0, 1, 3, 64)) * self.large
        kinds = ("normal",) * 8 + ("device",) + (("nc",) if self.knobs.normal_nc else ())
        self.kinds = tuple("" if kind == "normal" else f"-{kind}" for kind in kinds)
        self._menu = self._weighed()

    def op(self) -> PgtableOp:
        """An operation that the profile's kernel has."""
        draws, weights = self._menu
        op = self.random.choices(draws, weights)[0]()
        return self._unaligned(op) if self._chance(0.06) else op

    def _bases(self) -> tuple[int, ...]:
        """Where a scenario's addresses lie: two places, aligned to the largest leaf."""
        shape = self.geometry
        root_page = shape.size(shape.start_level) * shape.entries
        choices = [
            0,
            self.large,
            2 * self.large,
            self.limit // 2,
            self.limit - 2 * self.large,
            min(root_page, self.limit - self.large),
            self.random.randrange(self.limit // self.large) * self.large,
        ]
        return tuple(self.random.sample(choices, 2))

    def _weighed(self) -> tuple[list[Callable[[], PgtableOp]], list[int]]:
        menu: list[tuple[int, Callable[[], PgtableOp]]] = [
            (24, self._map),
            (26, self._map_again),
            (9, lambda: self._ranged(sc.Unmap)),
            (6, lambda: self._ranged(sc.WrProtect)),
            (8, self._relax),
            (3, lambda: sc.MkYoung(ipa=self._spot())),
            (5, lambda: self._ranged(sc.MkOld)),
            (3, lambda: self._ranged(sc.IsYoung)),
            (2, lambda: self._ranged(sc.Flush)),
            (4, self._odd),
        ]
        if self.knobs.annotate != "none":
            menu.append((7, self._annotate))
        if self.knobs.split:
            menu.append((6, self._split))
        if self.knobs.get_leaf:
            menu.append((2, lambda: sc.GetLeaf(ipa=self._spot())))
        return [draw for _, draw in menu], [weight for weight, _ in menu]

    # --- where, and how much -----------------------------------------------------------------

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _run(self) -> LeafRun | None:
        runs = self.watcher.last.leaves
        return self.random.choice(runs) if runs else None

    def _spot(self) -> int:
        """A page: at, in, before or behind something, or near a base."""
        random = self.random
        run = self._run()
        notes = self.watcher.last.annotations or ()
        page = self.page
        if run is not None and self._chance(0.65):
            ipa, size, count = run[0], run[1], run[7]
            leaf = ipa + size * random.choice((0, 0, count - 1, random.randrange(count)))
            within = random.choice((0, 0, 0, size - page, size // 2, size, -page))
            spot = leaf + within // page * page
        elif notes and self._chance(0.3):
            ipa, size, _, count = random.choice(notes)
            spot = ipa + size * random.choice((-1, 0, 0, count - 1, count))
        else:
            edge = random.choice((0, 0, 0, page, self.block, self.block - page, self.large))
            spot = random.choice(self.bases) + edge + page * random.choice((0, 0, -1, 1, 7))
        return min(max(spot, 0), self.limit - page)

    def _size(self, ipa: int) -> int:
        """A size for a range at ``ipa``: pages, up to an edge, blocks."""
        random = self.random
        page, block = self.page, self.block
        edge = -ipa % block
        if edge == 0:
            sizes = (page, page, 2 * page, block, block, block, block + page, 2 * block)
        else:
            sizes = (page, page, page, 2 * page, 5 * page, edge, edge + page, edge + block)
        if ipa % self.large == 0 and self._chance(0.2):
            return self.large
        size = random.choice(sizes)
        if size > 64 * page and size % block and size - page > 64 * page and self._chance(0.5):
            return page * random.randrange(1, 9)
        return size

    # --- map -----------------------------------------------------------------------------------

    def _map(self) -> sc.Map:
        """Something new, or not; mostly where the scenario's memory is."""
        random = self.random
        ipa = self._spot()
        size = self._size(ipa)
        letters = random.choice(("rw",) * 6 + ("r", "r", "rwx", "rx", "", "w", "wx"))
        kind = random.choice(self.kinds)
        if "x" in letters and kind and self._chance(0.5):
            kind = ""
        pa = (ipa + self.offset) % (1 << self.geometry.pa_bits)
        if self._chance(0.14) and size < 4 * self.block:
            pa = self._other_output(pa, size)
        sw = self._sw() if self._chance(0.2) else 0
        return self._finish(sc.Map(ipa=ipa, size=size, pa=pa, prot=letters + kind, sw=sw))

    def _other_output(self, pa: int, size: int) -> int:
        limit = 1 << self.geometry.pa_bits
        last = limit - self.page
        choices = (
            pa + self.page, pa + self.page, pa + self.block, pa ^ self.large, pa + 0x400,
            last, limit - size, limit - size // 2 // self.page * self.page, limit, limit + pa,
            (1 << 63) + pa,
        )  # fmt: skip
        return max(self.random.choice(choices), 0)

    def _sw(self) -> int:
        return self.random.choice((1, 2, 4, 8, 3, 15)) if self.knobs.sw_bits else 0

    def _map_again(self) -> sc.Map:
        """What is mapped already, or a part of it or more than it, with at most one change."""
        run = self._run()
        if run is None:
            return self._map()
        random = self.random
        ipa, size, pa, prot, sw, _, kind, count = run
        first = random.choice((0, 0, random.randrange(count)))
        leaves = random.choice((1, 1, min(2, count - first), count - first))
        start, length = ipa + first * size, leaves * size
        if size > self.page and self._chance(0.3):
            start += random.choice((0, self.page, size // 2, size - self.page))
            length = random.choice((self.page, 2 * self.page))
        before = random.choice((0, 0, 0, self.page, self.block))
        before = min(before, start)
        length += before + random.choice((0, 0, 0, 0, self.page, 2 * self.page, self.block))
        start -= before
        output = max(pa + start - ipa, 0)
        change = random.choice(("", "", "", "perms", "perms", "sw", "sw perms", "kind", "pa"))
        if "perms" in change:
            letter = random.choice("rwx")
            prot = "".join(one for one in "rwx" if (one in prot) != (one == letter))
        if "sw" in change:
            sw ^= self._sw()
        if change == "kind":
            kind = random.choice(("normal", *(word[1:] for word in self.kinds if word)))
        if "x" in prot and kind != "normal":
            prot = prot.replace("x", "")
        if change == "pa":
            output += random.choice((self.page, size, self.block))
        length = min(length, 2 * self.large)
        if (start | output) % self.block and length > 4 * self.block:
            length = 4 * self.block  # in pages
        attr = "" if kind == "normal" else f"-{kind}"
        return self._finish(sc.Map(ipa=start, size=length, pa=output, prot=prot + attr, sw=sw))

    def _finish(self, op: sc.Map) -> sc.Map:
        flags = self._flags()
        return msgspec.structs.replace(op, flags=flags, memcache=self._cache(op))

    def _flags(self) -> tuple[WalkFlag, ...]:
        if self._chance(0.5):
            return ()
        return tuple(flag for flag in self.knobs.walk_flags if self._chance(0.5))  # type: ignore[misc]

    def _cache(self, op: sc.Map) -> int | msgspec.UnsetType | None:
        """Mostly plenty; else exactly enough, one page short, one page, none, or no cache."""
        if not self._chance(0.25):
            return msgspec.UNSET if self.memcache == PLENTY else PLENTY
        needed = tables_needed(self.watcher.state, op)
        return self.random.choice((needed, max(needed - 1, 0), max(needed - 1, 0), 1, 0, None))

    # --- the other operations --------------------------------------------------------------------

    def _ranged(self, kind: type[_Ranged]) -> _Ranged:
        ipa = self._spot()
        size = self._size(ipa)
        run = self._run()
        if run is not None and self._chance(0.2):
            ipa, size = run[0], run[1] * run[7]
        elif self._chance(0.06):
            half = self.limit // 2
            ipa, size = self.random.choice(((0, self.limit), (0, half), (half, half)))
        return kind(ipa=ipa, size=size)

    def _relax(self) -> sc.RelaxPerms:
        letters = self.random.choice(("rw", "rw", "rwx", "r", "rx", "x", "w", ""))
        return sc.RelaxPerms(
            ipa=self._spot(), prot=letters + self.random.choice(self.kinds), flags=self._flags()
        )

    def _annotate(self) -> sc.Annotate:
        ipa = self._spot()
        size = min(self._size(ipa), self.block + self.page)
        if self.knobs.annotate == "typed":
            owners: tuple[int, ...] = (
                2,
                3,
                2,
                3,
                0x12342,
                0xFFF_FFFF_FFFF_FFF3,
                4,
                15,
                0,
                1,
                1 << 60 | 2,
            )
        else:
            owners = (1, 1, 1, 1, 0, 0, 2, 255)
        return sc.Annotate(ipa=ipa, size=size, owner=self.random.choice(owners))

    def _split(self) -> sc.Split:
        ipa = self._spot()
        size = self._size(ipa)
        blocks = [run for run in self.watcher.last.leaves or () if run[1] > self.page]
        if blocks and self._chance(0.7):
            block = self.random.choice(blocks)
            ipa, size = block[0], block[1] * block[7]
        pages = self.random.choice((0, 1, 1, 1, 2, 3, PLENTY))
        if size > 4 * self.block and not self._chance(_WHOLE_SPLITS):
            pages = self.random.randrange(4)
        elif size > 4 * self.block:
            pages = self.geometry.entries + self.random.choice((0, 1, 2))
        return sc.Split(ipa=ipa, size=size, memcache=pages)

    def _odd(self) -> PgtableOp:
        """Sizes of 0, and ranges that reach or pass the end of the IPA space."""
        random = self.random
        page, limit = self.page, self.limit
        ipa, size = random.choice(
            (
                (self._spot(), 0),
                (limit, 0),
                (limit - page, page),
                (limit - page, 2 * page),
                (limit, page),
                (limit - self.block, self.block),
                (limit - self.block, self.block + 1),
                (limit + page, 0),
                (2 * limit, self.block),
                (self._spot(), limit),
                (0, limit + 1),
            )
        )
        if self._chance(0.5):
            pa = ipa % self.large + self.large
            return self._finish(sc.Map(ipa=ipa, size=size, pa=pa, prot="rw"))
        if self._chance(0.3):
            return sc.RelaxPerms(ipa=ipa, prot="rw", flags=self._flags())
        owner = 2 if self.knobs.annotate == "typed" else 1
        ops: list[PgtableOp] = [kind(ipa=ipa, size=size) for kind in _RANGES]
        if self.knobs.split:
            ops.append(sc.Split(ipa=ipa, size=size, memcache=1))
        if self.knobs.annotate != "none":
            ops.append(sc.Annotate(ipa=ipa, size=size, owner=owner))
        return random.choice(ops)

    def _unaligned(self, op: PgtableOp) -> PgtableOp:
        """The same, off by less than a page in one of its numbers."""
        keys = [key for key in ("ipa", "size", "pa") if hasattr(op, key)]
        key = self.random.choice(keys)
        if not keys:
            return op
        value = getattr(op, key)
        change = self.random.choice((1, 0x10, self.page // 2, self.page - 1))
        return msgspec.structs.replace(op, **{key: value + change})
