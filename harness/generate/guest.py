# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the guest suite: a seeded walk that prefers boundaries.

The walk keeps a sketch of the VM so that most steps mean something; about one in twenty asks the
kernel for what it must refuse. What the model cannot follow (code that was overwritten, say) is
left out again: every scenario can be predicted in every profile.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from harness.generate.guest_focus import Focus, drawn, focus_named
from harness.generate.guest_host import HostSteps
from harness.generate.guest_rounds import Rounds
from harness.generate.guest_vm import (
    ALIGN,
    PAGE,
    WORD_PAGES,
    ZVA_BLOCK,
    SketchSlot,
    draw_base,
    draw_slot,
    draw_vm,
)
from harness.generate.predictable import predictable
from reference_model import scenario as sc
from reference_model.memory import prefill_word
from reference_model.scenario import GuestOp, GuestScenario

#: How often what is refused, or otherwise out of the ordinary, is tried.
_RARE = 0.08


def generate_guest(seed: int, index: int, focus: str = "") -> GuestScenario:
    """Scenario number ``index`` of a seed; UsageError where there is no such focus."""
    # String seeds are hashed with SHA-512 by random.seed: the same on every Python.
    name = f"guest-{focus}" if focus else "guest"
    random = Random(f"{name}:{seed}:{index}")  # noqa: S311 - repeatable, not secret
    walk = _Walk(random, drawn(focus_named(focus), random))
    return predictable(walk.scenario(f"{name}-s{seed}-{index:05d}"))


class _Walk:
    """One scenario in the making: its steps so far, and what they left of the VM."""

    def __init__(self, random: Random, focus: Focus) -> None:
        self.random = random
        self.focus = focus
        self.steps: list[GuestOp] = []
        self.slots: dict[int, SketchSlot] = {}
        self.recent: list[int] = []
        self.vm = draw_vm(random, focus)
        #: Where the guest can find stage-1 tables of its own.
        self.tables: int | None = None
        self.host = HostSteps(random, self.steps, self._page, focus)
        self.rounds = Rounds(random, self.vm, self.steps, self._page)

    def scenario(self, ident: str) -> GuestScenario:
        """All of it; to be called once."""
        self._slot_add()
        for slot in list(self.slots.values()):
            # What splits blocks has some to split.
            if self.vm.eager_split and slot.is_large and "readonly" not in slot.flags:
                self.rounds.logged(slot)
        actions: list[tuple[int, Callable[[], None]]] = [
            (22, self._write),
            (16, self._read),
            (7, self._exec),
            (3, self._cas),
            (2, self._dc_zva),
            (2, self._dc_civac),
            (3, self._tables),
            (12, self._dirty),
            (8, self._dirty_clear),
            (6, self._slot_flags),
            (4, self._slot_add),
            (3, self._slot_move),
            (2, self._slot_delete),
            (6, self._host_write),
            (4, self._host_read),
            (10, self._on_range),
            (7, self._round),
            (5, self._hole),
            (2, self._beyond),
        ]
        weights = [weight * self._factor(action) for weight, action in actions]
        length = self.random.randint(*self.focus.length)
        while len(self.steps) < length:
            self.random.choices([action for _, action in actions], weights)[0]()
        return GuestScenario(schema=1, id=ident, vm=self.vm, steps=tuple(self.steps))

    def _factor(self, action: Callable[[], None]) -> float:
        return self.focus.actions.get(action.__name__.removeprefix("_"), 1)

    # --- choices -----------------------------------------------------------------------------

    def _vcpu(self) -> int:
        return self.random.randrange(self.vm.vcpus)

    def _some_slot(self) -> SketchSlot | None:
        return self.random.choice(list(self.slots.values())) if self.slots else None

    def _page(self, slot: SketchSlot) -> int:
        """A page of the slot: edges, word boundaries of the bitmap, or one touched before."""
        pages = slot.size // PAGE
        near = [gpa for gpa in self.recent if slot.holds(gpa)]
        if near and self.random.random() < 0.6:
            page = (self.random.choice(near) - slot.gpa) // PAGE
            return min(max(page + self.random.choice((0, 0, 0, 1, -1)), 0), pages - 1)
        edges = [0, pages - 1, WORD_PAGES - 1, WORD_PAGES, pages // 2]
        page = self.random.choice([*edges, self.random.randrange(pages)])
        return min(page, pages - 1)

    def _address(self, slot: SketchSlot, size: int) -> int:
        gpa = slot.gpa + self._page(slot) * PAGE
        self.recent.append(gpa)
        del self.recent[:-8]
        within = self.random.choice((0, 0, 8, PAGE - 8, self.random.randrange(PAGE)))
        if self._rarely():
            return gpa + min(within, PAGE - size)  # not aligned, inside the page
        return gpa + within // size * size

    def _size(self) -> sc.AccessSize:
        sizes: tuple[sc.AccessSize, ...] = (8, 8, 8, 4, 2, 1)
        return self.random.choice(sizes)

    def _form(self, size: int) -> sc.AccessForm:
        forms: tuple[sc.AccessForm, ...] = ("plain",) * 9 + ("writeback", "simd")
        return self.random.choice((*forms, "pair") if size == 8 else forms)

    def _through(self) -> int | None:
        """Tables of the guest's own for one access in four, where there are any."""
        return self.tables if self.tables is not None and self.random.random() < 0.25 else None

    def _rarely(self) -> bool:
        return self.random.random() < _RARE

    # --- guest -------------------------------------------------------------------------------

    def _write(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        size = self._size()
        gpa = self._address(slot, size)
        value = self.random.getrandbits(8 * size)
        if size == 8 and gpa % 8 == 0 and self.random.random() < 0.25:
            # Freshly written code, called at once or later.
            value = prefill_word(self.random.getrandbits(16))
        self.steps.append(
            sc.Write(
                gpa=gpa,
                value=value,
                size=size,
                vcpu=self._vcpu(),
                form=self._form(size),
                tables=self._through(),
            )
        )

    def _read(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        size = self._size()
        self.steps.append(
            sc.Read(
                gpa=self._address(slot, size),
                size=size,
                vcpu=self._vcpu(),
                form=self._form(size),
                tables=self._through(),
            )
        )

    def _exec(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        # Zeroes are called where a block of DC ZVA begins, which no QEMU takes for what was there.
        known = slot.backing.prefill or slot.backing.kind == "file_ro"
        gpa = self._address(slot, 8) & (-8 if known else -ZVA_BLOCK)
        self.steps.append(sc.Exec(gpa=gpa, vcpu=self._vcpu(), tables=self._through()))

    def _cas(self) -> None:
        slot = self._some_slot()
        if slot is None or not self.vm.stage1 or slot.is_device:
            return
        gpa = self._address(slot, 8) & -8
        page = (gpa - slot.gpa) // PAGE
        expected = prefill_word(page) if self.random.random() < 0.7 else 0
        self.steps.append(
            sc.Cas(gpa=gpa, expected=expected, value=self.random.getrandbits(64), vcpu=self._vcpu())
        )

    def _dc_zva(self) -> None:
        slot = self._some_slot()
        if slot is None or not self.vm.stage1 or slot.is_device:
            return
        gpa = self._address(slot, 8) & -ZVA_BLOCK
        self.steps.append(sc.DcZva(gpa=gpa, vcpu=self._vcpu()))

    def _dc_civac(self) -> None:
        slot = self._some_slot()
        if slot is not None and self.vm.stage1 and not slot.is_device:
            self.steps.append(sc.DcCivac(gpa=self._address(slot, 8) & -8, vcpu=self._vcpu()))

    def _tables(self) -> None:
        """Tables for the guest, then a translation through them."""
        slot = self._some_slot()
        if slot is None or not self.vm.stage1 or slot.is_large or slot.is_device:
            return
        if self.tables is None or self._rarely():
            gpa = slot.gpa + self.random.randrange(slot.size // (2 * PAGE)) * 2 * PAGE
            self.steps.append(sc.Stage1Tables(gpa=gpa, af=self.random.random() < 0.8))
            self.tables = gpa
        gpa = self._address(slot, 8)
        self.steps.append(
            sc.At(gpa=gpa, vcpu=self._vcpu(), write=self.random.random() < 0.3, tables=self.tables)
        )

    def _hole(self) -> None:
        taken = [(slot.gpa, slot.size) for slot in self.slots.values()]
        around = [base - PAGE for base, _ in taken] + [base + size for base, size in taken]
        gpa = self.random.choice([*around, 0x5000_0000])
        if gpa < 0 or any(base <= gpa < base + size for base, size in taken):
            return
        size = self._size()
        gpa += self.random.choice((0, 8, 0x9A8, PAGE - 8))
        self.steps.append(
            self.random.choice(
                (
                    sc.Read(gpa=gpa, size=size, vcpu=self._vcpu(), form=self._form(size)),
                    sc.Write(
                        gpa=gpa,
                        value=self.random.getrandbits(8 * size),
                        size=size,
                        vcpu=self._vcpu(),
                        form=self._form(size),
                    ),
                    sc.Exec(gpa=gpa, vcpu=self._vcpu()),
                    sc.DcCivac(gpa=gpa, vcpu=self._vcpu()),
                    sc.Read(gpa=0x4000_0000, tables=gpa & -PAGE, vcpu=self._vcpu()),
                    sc.Exec(gpa=0x4000_0000, tables=gpa & -PAGE, vcpu=self._vcpu()),
                )[: 6 if self.vm.stage1 and self.random.random() < 0.3 else 3]
            )
        )

    def _beyond(self) -> None:
        gpa = (1 << self.vm.ipa_bits) + self.random.choice((0, 0x9A8, PAGE, 0x8000_0000))
        self.steps.append(
            self.random.choice((sc.Read(gpa=gpa), sc.Write(gpa=gpa, value=1), sc.Exec(gpa=gpa)))
        )

    # --- slots -------------------------------------------------------------------------------

    def _slot_add(self) -> None:
        if len(self.slots) >= 3 and self.random.random() < 0.9:
            return
        if any(slot.is_large for slot in self.slots.values()) and self.random.random() < 0.5:
            return
        op = draw_slot(self.random, self.random.randrange(5), self.vm, bool(self.slots), self.focus)
        if self.slots and self.random.random() < 0.2:
            op = msgspec.structs.replace(op, gpa=max(self._beside(op.size), 0))
        self.steps.append(op)
        slot = SketchSlot(op.slot, op)
        refused = slot.is_device and "log_dirty" in op.flags
        fits = op.gpa % PAGE == 0 and self._fits(None, op.gpa, op.size)
        if op.slot not in self.slots and fits and not refused:
            self.slots[op.slot] = slot

    def _beside(self, size: int) -> int:
        """Where a slot ends or begins with another one, or has one page of it."""
        other = self.random.choice(list(self.slots.values()))
        edge = self.random.choice((other.gpa - size, other.gpa + other.size))
        overlap = self.random.choice((0, 0, PAGE))
        return edge + overlap if edge < other.gpa else edge - overlap

    def _slot_flags(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        choice = self.random.random()
        # Seldom as they are, which changes nothing.
        flags = set(slot.flags) ^ ({"log_dirty"} if choice < 0.85 else set())
        if choice < _RARE:
            flags ^= {"readonly"}
        new: tuple[sc.SlotFlag, ...] = tuple(
            flag for flag in ("log_dirty", "readonly") if flag in flags
        )
        self.steps.append(sc.SlotFlags(slot=slot.ident, flags=new))
        if ("readonly" in new) == ("readonly" in slot.flags) and not slot.is_device:
            slot.flags = new

    def _slot_move(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        choice = self.random.random()
        if choice < 0.7:
            gpa = draw_base(self.random)
        elif choice < 0.85:
            gpa = (1 << self.vm.ipa_bits) - self.random.choice((0, ALIGN, slot.size))
        elif choice < 0.95:
            gpa = max(self._beside(slot.size), 0)
        else:
            gpa = slot.gpa + 0x800
        self.steps.append(sc.SlotMove(slot=slot.ident, gpa=gpa))
        if gpa % PAGE == 0 and self._fits(slot.ident, gpa, slot.size):
            slot.gpa = gpa

    def _slot_delete(self) -> None:
        slot = self._some_slot()
        ident = slot.ident if slot is not None and not self._rarely() else 7
        self.steps.append(sc.SlotDelete(slot=ident))
        self.slots.pop(ident, None)

    def _fits(self, ident: int | None, gpa: int, size: int) -> bool:
        return gpa + size <= 1 << self.vm.ipa_bits and not any(
            gpa < other.gpa + other.size and other.gpa < gpa + size
            for other in self.slots.values()
            if other.ident != ident
        )

    # --- the dirty log -----------------------------------------------------------------------

    def _logged_slot(self) -> SketchSlot | None:
        """A slot with a bitmap where there is one; now and then any slot."""
        logged = [slot for slot in self.slots.values() if "log_dirty" in slot.flags]
        return self.random.choice(logged) if logged and not self._rarely() else self._some_slot()

    def _dirty(self) -> None:
        if self.vm.dirty_ring and self.random.random() < 0.8:
            count = self.random.randint(0, 3) if self.random.random() < 0.2 else None
            self.steps.append(sc.RingReset(count=count))
            return
        slot = self._logged_slot()
        self.steps.append(sc.DirtyGet(slot=slot.ident if slot is not None else 9))

    def _dirty_clear(self) -> None:
        slot = self._logged_slot()
        if slot is None or (self.vm.dirty_ring and not self._rarely()):
            return
        pages = slot.size // PAGE
        first = self.random.randrange(-(-pages // WORD_PAGES)) * WORD_PAGES
        count: int | None = None
        if self.random.random() < 0.3:
            count = min(WORD_PAGES, pages - first)
        if self._rarely():
            first, count = self.random.choice(((1, None), (first, pages + 1), (first, 3)))
        some: tuple[int, ...] | None = None
        if self.random.random() < 0.6:
            some = tuple(sorted({self._page(slot) for _ in range(self.random.randint(1, 4))}))
        self.steps.append(
            sc.DirtyClear(slot=slot.ident, first_page=first, num_pages=count, pages=some)
        )

    # --- host --------------------------------------------------------------------------------

    def _host_write(self) -> None:
        slot = self._some_slot()
        if slot is not None:
            size = self._size()
            value = self.random.getrandbits(8 * size)
            self.steps.append(sc.HostWrite(gpa=self._address(slot, size), value=value, size=size))

    def _host_read(self) -> None:
        slot = self._some_slot()
        if slot is not None:
            size = self._size()
            self.steps.append(sc.HostRead(gpa=self._address(slot, size), size=size))

    def _on_range(self) -> None:
        slot = self._some_slot()
        if slot is not None:
            self.host.draw(slot)

    def _round(self) -> None:
        slot = self._some_slot()
        if slot is not None:
            self.rounds.draw(slot)
