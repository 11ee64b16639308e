# SPDX-License-Identifier: GPL-2.0-only
"""What the host does to ranges of a slot's memory, in generated scenarios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from harness.generate.guest_focus import NONE, Focus
from harness.generate.guest_vm import ALIGN, BLOCK, PAGE, STEP, SketchSlot
from reference_model import scenario as sc
from reference_model.scenario import GuestOp

_ON_RANGES = (sc.Madvise, sc.Mprotect, sc.Remap, sc.ForkTouch, sc.PunchHole)


class HostSteps:
    """Draws such steps and adds them; ``page`` draws a page of a slot."""

    def __init__(
        self,
        random: Random,
        steps: list[GuestOp],
        page: Callable[[SketchSlot], int],
        focus: Focus = NONE,
    ) -> None:
        self._focus = focus
        self._random = random
        self._steps = steps
        self._page = page

    def draw(self, slot: SketchSlot) -> None:
        """One step on a range of the slot, or a few that belong together."""
        draws: list[tuple[int, Callable[[SketchSlot], None]]] = [
            (8, self._dontneed),
            (5, self._pageout),
            (4, self._mprotect),
            (2, self._remap),
            (2, self._fork),
            (2, self._free),
            (2, self._reclaim),
            (2, self._age),
            (1, self._advice),
        ]
        if slot.backing.kind in ("memfd", "shmem"):
            draws.append((6, self._punch_hole))
        if slot.backing.thp != "never":
            draws += [(4, self._collapse), (3, self._advice)]
        elif slot.is_device:
            draws += [(1, self._registration)]
        elif slot.backing.kind in ("anon", "zero", "memfd", "shmem"):
            draws.append((3, self._userfaultfd))
            if self._focus.wp > NONE.wp:
                draws.append((2, self._write_protection))
        factors = self._focus.host
        weights = [weight * factors.get(one.__name__.removeprefix("_"), 1) for weight, one in draws]
        before = len(self._steps)
        self._random.choices([draw for _, draw in draws], weights)[0](slot)
        if self._focus.reads and self._random.random() < self._focus.reads:
            self._look_at_edges(slot, self._steps[before:])

    def _look_at_edges(self, slot: SketchSlot, changes: Sequence[GuestOp]) -> None:
        """The guest at the first and last pages of a range that changed, and beside it."""
        ranges = [(op.gpa, op.size) for op in changes if isinstance(op, _ON_RANGES)]
        if not ranges:
            return
        gpa, size = self._random.choice(ranges)
        edges = [at for at in (gpa - PAGE, gpa, gpa + size - PAGE, gpa + size) if slot.holds(at)]
        for at in self._random.sample(edges, self._random.randint(1, len(edges))):
            self._steps.append(
                sc.Write(gpa=at, value=self._random.getrandbits(64))
                if self._random.random() < 0.35
                else sc.Read(gpa=at)
            )

    def _range(self, slot: SketchSlot, unit: int) -> tuple[int, int]:
        """(gpa, size) in whole units inside the slot."""
        parts = self._focus.parts if slot.backing.kind != "hugetlb" else 0
        if parts and self._random.random() < parts:
            return self._part(slot, min(unit, STEP))
        unit = min(unit, slot.size)
        first = self._page(slot) * PAGE // unit * unit
        size = self._random.choice((unit, unit, 2 * unit, 4 * unit, slot.size))
        return slot.gpa + first, min(size, slot.size - first)

    def _part(self, slot: SketchSlot, unit: int) -> tuple[int, int]:
        """From any unit on, or one where sixteen begin that the host may join, to any other."""
        first = min(self._page(slot) * PAGE // unit, slot.size // unit - 1)
        if self._random.random() < 0.4:
            first = first // 16 * 16
        count = self._random.choice((1, 2, 8, 15, 16, 17, 33, 100, 256, slot.size // unit))
        return slot.gpa + first * unit, min(count * unit, slot.size - first * unit)

    def _some_range(self, slot: SketchSlot) -> tuple[int, int]:
        """Of any unit: a page, whole pages of every granule, or a huge page."""
        if slot.backing.kind == "hugetlb":
            unit = slot.backing.page_size or BLOCK
            return self._range(slot, self._random.choice((unit, unit, unit, PAGE)))
        units = (PAGE, STEP, ALIGN)
        if slot.backing.thp != "never":
            units = (PAGE, ALIGN, BLOCK)
        return self._range(slot, self._random.choice(units))

    def _dontneed(self, slot: SketchSlot) -> None:
        gpa, size = self._some_range(slot)
        self._steps.append(sc.Madvise(gpa=gpa, size=size))

    def _free(self, slot: SketchSlot) -> None:
        gpa, size = self._some_range(slot)
        self._steps.append(sc.Madvise(gpa=gpa, size=size, advice="free"))

    def _reclaim(self, slot: SketchSlot) -> None:
        """What MADV_FREE took, some of it stored to since, meets reclaim."""
        gpa, size = self._some_range(slot)
        self._steps.append(sc.Madvise(gpa=gpa, size=size, advice="free"))
        if self._random.random() < 0.7:
            value = self._random.getrandbits(64)
            page = slot.gpa + self._page(slot) * PAGE
            self._steps.append(
                self._random.choice(
                    (
                        sc.HostWrite(gpa=page, value=value),
                        sc.Write(gpa=page, value=value),
                        sc.Read(gpa=page),
                    )
                )
            )
        if self._random.random() < 0.5:
            gpa, size = self._some_range(slot)
        self._steps.append(sc.Madvise(gpa=gpa, size=size, advice="pageout"))

    def _pageout(self, slot: SketchSlot) -> None:
        gpa, size = self._some_range(slot)
        if not self._focus.huge:
            size = min(size, ALIGN)
        self._steps.append(sc.Madvise(gpa=gpa, size=size, advice="pageout"))

    def _collapse(self, slot: SketchSlot) -> None:
        """A page goes and comes back before, so that there is something to collapse."""
        gpa = slot.gpa + self._page(slot) * PAGE
        self._steps.append(sc.Madvise(gpa=gpa, size=PAGE))
        if self._random.random() < 0.8:
            self._steps.append(sc.HostWrite(gpa=gpa, value=self._random.getrandbits(64)))
        self._steps.append(sc.Madvise(gpa=slot.gpa, size=slot.size, advice="collapse"))

    def _advice(self, slot: SketchSlot) -> None:
        gpa, size = self._some_range(slot)
        advice: sc.Advice = self._random.choice(("nohugepage", "hugepage"))
        self._steps.append(sc.Madvise(gpa=gpa, size=size, advice=advice))

    def _mprotect(self, slot: SketchSlot) -> None:
        gpa, size = self._some_range(slot)
        prot: sc.HostProt = self._random.choice(("r", "r", "rw", "rw", "none"))
        self._steps.append(sc.Mprotect(gpa=gpa, size=size, prot=prot))

    def _remap(self, slot: SketchSlot) -> None:
        gpa, size = self._range(slot, STEP)
        if self._random.random() < 0.3:
            self._steps.append(sc.Remap(gpa=gpa, size=size, to="none"))
        else:
            self._steps.append(sc.Remap(gpa=gpa, size=size))

    def _fork(self, slot: SketchSlot) -> None:
        if slot.backing.kind not in ("file_ro", "hugetlb"):
            gpa, size = self._range(slot, STEP)
            self._steps.append(sc.ForkTouch(gpa=gpa, size=size))

    def _age(self, slot: SketchSlot) -> None:
        gpa, size = self._range(slot, STEP)
        self._steps.append(sc.Age(gpa=gpa, size=min(size, ALIGN)))

    def _punch_hole(self, slot: SketchSlot) -> None:
        gpa, size = self._range(slot, STEP)
        self._steps.append(sc.PunchHole(gpa=gpa, size=size))

    def _registration(self, slot: SketchSlot) -> None:
        """What no userfaultfd is for."""
        gpa, size = self._range(slot, STEP)
        self._steps.append(sc.UffdRegister(gpa=gpa, size=size))

    def _userfaultfd(self, slot: SketchSlot) -> None:
        """A registration with what it is for, or one more step of it."""
        gpa, size = self._range(slot, STEP)
        if self._random.random() < 0.4:
            self._steps.append(sc.Madvise(gpa=gpa, size=size))
        shared = slot.backing.kind in ("memfd", "shmem")
        if self._random.random() < self._focus.wp:
            self._steps.append(sc.UffdRegister(gpa=gpa, size=size, mode=("wp",)))
            self._steps.append(sc.UffdWp(gpa=gpa, size=size))
            if self._random.random() < 0.5:
                self._steps.append(sc.UffdWp(gpa=gpa, size=STEP, protect=False))
            return
        mode: tuple[sc.UffdMode, ...] = ("missing",)
        if shared:
            mode = self._random.choice((("missing",), ("minor",), ("missing", "minor")))
        self._steps.append(sc.UffdRegister(gpa=gpa, size=size, mode=mode))
        self._steps.append(
            self._random.choice(
                (
                    sc.UffdCopy(gpa=gpa, size=STEP, value=self._random.getrandbits(64)),
                    sc.UffdZero(gpa=gpa, size=size),
                    sc.UffdContinue(gpa=gpa, size=STEP)
                    if shared
                    else sc.UffdCopy(gpa=gpa, size=size),
                )
            )
        )

    def _write_protection(self, slot: SketchSlot) -> None:
        """Pages that userfaultfd protects go, come back and are let in, and are stored to."""
        gpa, size = self._range(slot, STEP)
        modes: list[tuple[sc.UffdMode, ...]] = [("wp",), ("missing", "wp")]
        if slot.backing.kind in ("memfd", "shmem"):
            modes += [("minor", "wp"), ("missing", "minor", "wp")]
        self._steps.append(sc.UffdRegister(gpa=gpa, size=size, mode=self._random.choice(modes)))
        self._steps.append(sc.UffdWp(gpa=gpa, size=size))
        for _ in range(self._random.randint(1, 3)):
            at, many = self._random.choice(((gpa, size), (gpa, STEP), self._range(slot, STEP)))
            value = self._random.getrandbits(64)
            changes: tuple[GuestOp, ...] = (
                sc.Madvise(gpa=at, size=many),
                sc.Madvise(gpa=at, size=many),
                sc.Madvise(gpa=at, size=many, advice="pageout"),
                sc.UffdContinue(gpa=at, size=many),
                sc.UffdContinue(gpa=at, size=STEP),
                sc.UffdCopy(gpa=at, size=STEP, value=value),
                sc.UffdWp(gpa=at, size=many, protect=self._random.random() < 0.4),
                sc.UffdRegister(gpa=at, size=many, mode=self._random.choice(modes)),
                sc.Mprotect(gpa=at, size=many, prot=self._random.choice(("r", "rw"))),
                sc.ForkTouch(gpa=at, size=many),
                sc.PunchHole(gpa=at, size=many),
                sc.HostRead(gpa=at),
                sc.Read(gpa=at),
            )
            self._steps.append(self._random.choice(changes))
        at = gpa + self._random.randrange(size // PAGE) * PAGE
        self._steps.append(sc.Write(gpa=at, value=self._random.getrandbits(64)))
