# SPDX-License-Identifier: GPL-2.0-only
"""Steps that mean something only one after another, in generated guest scenarios.

Most steps are drawn one by one; what takes four of them in a row, on the same pages, would hardly
ever come of that: a round of a live migration, a block that is broken and comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from harness.generate.guest_vm import BLOCK, PAGE, STEP, WORD_PAGES, ZVA_BLOCK, SketchSlot
from reference_model import scenario as sc
from reference_model.scenario import GuestOp

#: In each page, where rounds do not store: what prefill left there can be called. A block of DC
#: ZVA begins there, so that no QEMU keeps it when the page is cleared (``zva_keeps_code``).
_CODE = ZVA_BLOCK


class Rounds:
    """Draws them and adds their steps; ``page`` draws a page of a slot."""

    def __init__(
        self,
        random: Random,
        vm: sc.VmConfig,
        steps: list[GuestOp],
        page: Callable[[SketchSlot], int],
    ) -> None:
        self._random = random
        self._vm = vm
        self._steps = steps
        self._page = page

    def draw(self, slot: SketchSlot) -> None:
        """One of those that the slot is for; none for a device's memory."""
        if slot.is_device:
            return
        draws: list[tuple[int, Callable[[SketchSlot], None]]] = [
            (2 if slot.is_large else 1, self._aged)
        ]
        if "log_dirty" in slot.flags and "readonly" not in slot.flags:
            draws.append((8, self._ring if self._vm.dirty_ring else self._migration))
            draws.append((2, self._moved))
        if slot.backing.kind in ("memfd", "shmem"):
            draws.append((5, self._postcopy))
        if slot.backing.thp != "never" and "log_dirty" not in slot.flags:
            draws.append((6, self._block_and_back))
        if "readonly" not in slot.flags:
            draws.append((12 if slot.is_large else 4, self.logged))
        weights = [weight for weight, _ in draws]
        self._random.choices([draw for _, draw in draws], weights)[0](slot)

    # --- what they are made of -----------------------------------------------------------------

    def _vcpu(self) -> int:
        return self._random.randrange(self._vm.vcpus)

    def _store(self, gpa: int, vcpu: int | None = None) -> None:
        value = self._random.getrandbits(64)
        by = self._vcpu() if vcpu is None else vcpu
        self._steps.append(sc.Write(gpa=gpa, value=value, vcpu=by))

    def _pages(self, slot: SketchSlot) -> list[int]:
        """A few pages: alone, neighbours, or the edges of a word of the bitmap."""
        pages = slot.size // PAGE
        word = self._random.randrange(-(-pages // WORD_PAGES)) * WORD_PAGES
        last = min(word + WORD_PAGES, pages) - 1
        first = self._page(slot)
        drawn = self._random.choice(
            (
                (first, first + 1),
                (first, first + 1, first + 2),
                (first, first + WORD_PAGES),
                (last,),
                (word, last),
                (pages - 1,),
            )
        )
        return sorted({min(page, pages - 1) for page in drawn})

    # --- rounds ----------------------------------------------------------------------------------

    def _migration(self, slot: SketchSlot) -> None:
        """Pages are stored to, reported and protected; stored to again, and reported again."""
        pages = self._pages(slot)
        for page in pages:
            self._store(slot.gpa + page * PAGE)
        self._steps.append(sc.DirtyGet(slot=slot.ident))
        if self._vm.manual_protect:
            self._clear(slot, pages)
        for page in reversed(pages[-2:]):
            self._store(slot.gpa + page * PAGE + 8)
        self._steps.append(sc.DirtyGet(slot=slot.ident))

    def _ring(self, slot: SketchSlot) -> None:
        """The same with a ring: what was taken from it is protected and told once more."""
        pages = self._pages(slot)
        if self._random.random() < 0.4:
            pages.reverse()
        vcpu = self._vcpu() if self._random.random() < 0.6 else None
        for again in (0, 8):
            for page in pages:
                self._store(slot.gpa + page * PAGE + again, vcpu)
            count = None if again else self._random.choice((None, None, 1))
            self._steps.append(sc.RingReset(count=count))

    def _aged(self, slot: SketchSlot) -> None:
        """A page in use is aged, protected or both, and used again; or all of a block is."""
        gpa = slot.gpa + self._page(slot) * PAGE // STEP * STEP
        size = min(STEP, slot.size)
        self._steps.append(sc.Read(gpa=gpa, vcpu=self._vcpu()))
        self._store(gpa)
        block = _host_block(slot)
        if block is not None:
            self._store(block + self._random.randrange(1, BLOCK // PAGE) * PAGE)
            self._store(block)
            gpa, size = block, BLOCK
        if "log_dirty" in slot.flags and self._random.random() < 0.6:
            self._steps.append(sc.DirtyGet(slot=slot.ident))
        self._steps.append(sc.Age(gpa=gpa, size=size))
        again: list[GuestOp] = [
            sc.Write(gpa=gpa, value=self._random.getrandbits(64), vcpu=self._vcpu()),
            sc.Read(gpa=gpa, vcpu=self._vcpu()),
            sc.Exec(gpa=gpa + _CODE, vcpu=self._vcpu()),
        ]
        self._steps += self._random.sample(again, self._random.choice((1, 2)))

    def _postcopy(self, slot: SketchSlot) -> None:
        """Pages of a file whose entries are gone wait, are let in, and are used."""
        size = min(self._random.choice((STEP, 4 * STEP, slot.size)), slot.size)
        gpa = slot.gpa + self._page(slot) * PAGE // STEP * STEP
        gpa = min(gpa, slot.gpa + slot.size - size)
        self._steps.append(sc.Madvise(gpa=gpa, size=size))
        near = gpa + self._random.randrange(size // PAGE) * PAGE
        if self._random.random() < 0.4:
            self._steps.append(
                self._random.choice((sc.Read(gpa=near), sc.Write(gpa=near, value=1)))
            )
        modes: tuple[tuple[sc.UffdMode, ...], ...] = (("minor",), ("minor",), ("missing", "minor"))
        self._steps.append(sc.UffdRegister(gpa=gpa, size=size, mode=self._random.choice(modes)))
        if self._random.random() < 0.5:
            self._steps.append(sc.Read(gpa=near, vcpu=self._vcpu()))
        at = gpa + self._random.randrange(size // STEP) * STEP
        self._steps.append(sc.UffdContinue(gpa=at, size=self._random.choice((STEP, STEP, size))))
        self._store(at)
        self._steps.append(sc.Read(gpa=near, vcpu=self._vcpu()))

    def logged(self, slot: SketchSlot) -> None:
        """Logging goes on over what is mapped, which is stored to page by page, and off again."""
        page = slot.gpa + self._page(slot) * PAGE
        if "log_dirty" in slot.flags:
            self._steps.append(sc.SlotFlags(slot=slot.ident))
        used: tuple[GuestOp, ...] = (
            sc.Write(gpa=page, value=self._random.getrandbits(64), vcpu=self._vcpu()),
            sc.Read(gpa=page, vcpu=self._vcpu()),
            sc.Exec(gpa=page + _CODE, vcpu=self._vcpu()),
        )
        self._steps += self._random.sample(used, self._random.choice((1, 1, 2)))
        for block in range(BLOCK, slot.size, BLOCK):
            self._store(slot.gpa + block)
        self._steps.append(sc.SlotFlags(slot=slot.ident, flags=("log_dirty",)))
        slot.flags = ("log_dirty",)
        if self._random.random() < 0.4:
            self._steps.append(sc.Read(gpa=page, vcpu=self._vcpu()))
        pages = self._pages(slot)[-2:]
        if not self._vm.dirty_ring and self._vm.manual_protect and self._random.random() < 0.5:
            self._clear(slot, pages[-1:])
        for each in pages:
            self._store(slot.gpa + each * PAGE)
        self._store(page)
        whole = _host_block(slot)
        if whole is not None and self._random.random() < 0.4:
            # Pages, and for the host one huge page.
            self._steps.append(sc.Age(gpa=whole, size=BLOCK))
        if not self._vm.dirty_ring:
            self._steps.append(sc.DirtyGet(slot=slot.ident))
            if self._vm.manual_protect:
                self._steps.append(sc.DirtyClear(slot=slot.ident))
        if self._random.random() < 0.5:
            self._steps.append(sc.SlotFlags(slot=slot.ident))
            slot.flags = ()
        self._store(page + 8)

    def _clear(self, slot: SketchSlot, pages: list[int]) -> None:
        """CLEAR_DIRTY_LOG from the word on that the first of these pages is in."""
        first = pages[0] // WORD_PAGES * WORD_PAGES
        many = self._random.choice((None, None, WORD_PAGES))
        if many is not None:
            many = min(many, slot.size // PAGE - first)
        some = tuple(pages) if self._random.random() < 0.7 else None
        self._steps.append(
            sc.DirtyClear(slot=slot.ident, first_page=first, num_pages=many, pages=some)
        )

    def _moved(self, slot: SketchSlot) -> None:
        """A logged slot goes elsewhere: what was stored to before is still reported."""
        offset = self._page(slot) * PAGE
        self._store(slot.gpa + offset)
        self._steps.append(sc.SlotMove(slot=slot.ident, gpa=slot.gpa + slot.size))
        self._steps.append(sc.DirtyGet(slot=slot.ident))
        self._store(slot.gpa + slot.size + offset)
        self._steps.append(sc.SlotMove(slot=slot.ident, gpa=slot.gpa))
        self._steps.append(sc.Read(gpa=slot.gpa + offset, vcpu=self._vcpu()))

    def _block_and_back(self, slot: SketchSlot) -> None:
        """A block is used, a page of it replaced, and all of it made a block again."""
        blocks = max(slot.size // BLOCK, 1)
        gpa = slot.gpa + self._random.randrange(blocks) * BLOCK
        page = gpa + self._random.randrange(min(BLOCK, slot.size) // PAGE) * PAGE
        self._store(page)
        self._steps.append(sc.Madvise(gpa=page, size=PAGE))
        self._steps.append(
            self._random.choice(
                (
                    sc.HostWrite(gpa=page, value=self._random.getrandbits(64)),
                    sc.Write(gpa=page, value=self._random.getrandbits(64)),
                )
            )
        )
        self._steps.append(sc.Madvise(gpa=slot.gpa, size=slot.size, advice="collapse"))
        self._steps.append(sc.Read(gpa=page, vcpu=self._vcpu()))
        self._store(gpa)


def _host_block(slot: SketchSlot) -> int | None:
    """Where the slot holds a whole huge page of the host, which is aged at once; None: nowhere."""
    before = -slot.backing.offset % BLOCK
    return slot.gpa + before if slot.is_large and slot.size >= before + BLOCK else None
