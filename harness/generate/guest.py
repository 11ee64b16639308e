# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the guest suite: a seeded walk that prefers boundaries.

The walk keeps a sketch of the VM (slots, words that hold no known code any more) so that most
steps mean something; about one in twenty asks the kernel for what it must refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from reference_model import scenario as sc
from reference_model.memory import prefill_word
from reference_model.scenario import GuestOp, GuestScenario

_PAGE = 0x1000
_ALIGN = 0x1_0000  # 64K: whole pages in every granule
_BASES = (0x0, 0x4000_0000, 0x8000_0000, 0x8020_0000, 0xC000_0000)
_SIZES = (0x1_0000, 0x1_0000, 0x4_0000, 0x8_0000, 0x10_0000)
_WORD_PAGES = 64


class _SketchSlot:
    """What the walk believes of one slot."""

    def __init__(self, ident: int, gpa: int, size: int, flags: tuple[sc.SlotFlag, ...]) -> None:
        self.ident = ident
        self.gpa = gpa
        self.size = size
        self.flags = flags
        #: Byte offsets (multiples of 8) of words that are no longer code or zero.
        self.spoilt: set[int] = set()


def generate_guest(seed: int, index: int) -> GuestScenario:
    """Scenario number ``index`` of a seed."""
    # String seeds are hashed with SHA-512 by random.seed: the same on every Python.
    walk = _Walk(Random(f"guest:{seed}:{index}"))  # noqa: S311 - repeatable, not secret
    return walk.scenario(f"guest-s{seed}-{index:05d}")


class _Walk:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.steps: list[GuestOp] = []
        self.slots: dict[int, _SketchSlot] = {}
        self.recent: list[int] = []
        self.vm = sc.VmConfig(
            vcpus=random.choice((1, 1, 1, 2)),
            ipa_bits=random.choice((32, 36, 40, 40, 40)),
            manual_protect=random.choice((False, False, False, True, "init_set")),
        )

    def scenario(self, ident: str) -> GuestScenario:
        self._slot_add()
        actions: list[tuple[int, Callable[[], None]]] = [
            (22, self._write),
            (16, self._read),
            (8, self._exec),
            (12, self._dirty_get),
            (8, self._dirty_clear),
            (6, self._slot_flags),
            (4, self._slot_add),
            (3, self._slot_move),
            (2, self._slot_delete),
            (6, self._host_write),
            (4, self._host_read),
            (6, self._madvise),
            (4, self._hole),
            (2, self._beyond),
        ]
        weights = [weight for weight, _ in actions]
        length = self.random.randint(5, 24)
        while len(self.steps) < length:
            self.random.choices([action for _, action in actions], weights)[0]()
        return GuestScenario(schema=1, id=ident, vm=self.vm, steps=tuple(self.steps))

    # --- choices -----------------------------------------------------------------------------

    def _vcpu(self) -> int:
        return self.random.randrange(self.vm.vcpus)

    def _some_slot(self) -> _SketchSlot | None:
        return self.random.choice(list(self.slots.values())) if self.slots else None

    def _page(self, slot: _SketchSlot) -> int:
        """A page of the slot: edges, word boundaries of the bitmap, or one touched before."""
        pages = slot.size // _PAGE
        near = [gpa for gpa in self.recent if slot.gpa <= gpa < slot.gpa + slot.size]
        if near and self.random.random() < 0.6:
            page = (self.random.choice(near) - slot.gpa) // _PAGE
            return min(max(page + self.random.choice((0, 0, 0, 1, -1)), 0), pages - 1)
        edges = [0, pages - 1, _WORD_PAGES - 1, _WORD_PAGES, pages // 2]
        page = self.random.choice([*edges, self.random.randrange(pages)])
        return min(page, pages - 1)

    def _address(self, slot: _SketchSlot, size: int) -> int:
        gpa = slot.gpa + self._page(slot) * _PAGE
        self.recent.append(gpa)
        del self.recent[:-8]
        within = self.random.choice((0, 0, 8, _PAGE - 8, self.random.randrange(_PAGE)))
        return gpa + within // size * size

    def _size(self) -> sc.AccessSize:
        sizes: tuple[sc.AccessSize, ...] = (8, 8, 8, 4, 2, 1)
        return self.random.choice(sizes)

    # --- guest -------------------------------------------------------------------------------

    def _write(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        size = self._size()
        gpa = self._address(slot, size)
        value = self.random.getrandbits(8 * size)
        if "readonly" not in slot.flags:
            slot.spoilt.add((gpa - slot.gpa) // 8 * 8)
            if size == 8 and self.random.random() < 0.25:
                # Freshly written code, called at once or later.
                value = prefill_word(self.random.getrandbits(16))
                slot.spoilt.discard(gpa - slot.gpa)
        self.steps.append(sc.Write(gpa=gpa, value=value, size=size, vcpu=self._vcpu()))

    def _read(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        size = self._size()
        self.steps.append(sc.Read(gpa=self._address(slot, size), size=size, vcpu=self._vcpu()))

    def _exec(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        gpa = self._address(slot, 8)
        if gpa - slot.gpa not in slot.spoilt:
            self.steps.append(sc.Exec(gpa=gpa, vcpu=self._vcpu()))

    def _hole(self) -> None:
        taken = [(slot.gpa, slot.size) for slot in self.slots.values()]
        around = [base - _PAGE for base, _ in taken] + [base + size for base, size in taken]
        gpa = self.random.choice([*around, 0x5000_0000])
        if gpa < 0 or any(base <= gpa < base + size for base, size in taken):
            return
        op = self.random.choice(("read", "write", "exec"))
        if op == "read":
            self.steps.append(sc.Read(gpa=gpa, size=self._size(), vcpu=self._vcpu()))
        elif op == "write":
            size = self._size()
            value = self.random.getrandbits(8 * size)
            self.steps.append(sc.Write(gpa=gpa, value=value, size=size, vcpu=self._vcpu()))
        else:
            self.steps.append(sc.Exec(gpa=gpa, vcpu=self._vcpu()))

    def _beyond(self) -> None:
        gpa = (1 << self.vm.ipa_bits) + self.random.choice((0, _PAGE, 0x8000_0000))
        self.steps.append(
            self.random.choice((sc.Read(gpa=gpa), sc.Write(gpa=gpa, value=1), sc.Exec(gpa=gpa)))
        )

    # --- slots -------------------------------------------------------------------------------

    def _flags(self) -> tuple[sc.SlotFlag, ...]:
        choices: tuple[tuple[sc.SlotFlag, ...], ...] = (
            (),
            (),
            ("log_dirty",),
            ("log_dirty",),
            ("log_dirty",),
            ("log_dirty",),
            ("readonly",),
            ("log_dirty", "readonly"),
        )
        return self.random.choice(choices)

    def _slot_add(self) -> None:
        if len(self.slots) >= 3 and self.random.random() < 0.9:
            return
        ident = self.random.randrange(5)
        base = self.random.choice(_BASES) + self.random.choice((0, 0, _ALIGN, 2 * _ALIGN))
        size = self.random.choice(_SIZES)
        gpa = base + (self.random.choice((_PAGE // 2, 0x10)) if self._rarely() else 0)
        flags = self._flags()
        self.steps.append(
            sc.SlotAdd(
                slot=ident,
                gpa=gpa,
                size=size,
                backing=sc.Backing(prefill=self.random.random() < 0.7),
                flags=flags,
            )
        )
        if ident in self.slots or gpa % _PAGE or not self._fits(None, gpa, size):
            return
        self.slots[ident] = _SketchSlot(ident, gpa, size, flags)

    def _slot_flags(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        flags = set(slot.flags)
        flags ^= {"log_dirty"}
        if self._rarely():
            flags ^= {"readonly"}
        new: tuple[sc.SlotFlag, ...] = tuple(
            flag for flag in ("log_dirty", "readonly") if flag in flags
        )
        self.steps.append(sc.SlotFlags(slot=slot.ident, flags=new))
        if ("readonly" in new) == ("readonly" in slot.flags):
            slot.flags = new

    def _slot_move(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        choice = self.random.random()
        if choice < 0.7:
            gpa = self.random.choice(_BASES) + self.random.randrange(4) * _ALIGN
        elif choice < 0.85:
            gpa = (1 << self.vm.ipa_bits) - self.random.choice((0, _ALIGN))
        else:
            gpa = slot.gpa + 0x800
        self.steps.append(sc.SlotMove(slot=slot.ident, gpa=gpa))
        if gpa % _PAGE == 0 and self._fits(slot.ident, gpa, slot.size):
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

    def _logged_slot(self) -> _SketchSlot | None:
        """A slot with a bitmap where there is one; now and then any slot."""
        logged = [slot for slot in self.slots.values() if "log_dirty" in slot.flags]
        return self.random.choice(logged) if logged and not self._rarely() else self._some_slot()

    def _dirty_get(self) -> None:
        slot = self._logged_slot()
        self.steps.append(sc.DirtyGet(slot=slot.ident if slot is not None else 9))

    def _dirty_clear(self) -> None:
        slot = self._logged_slot()
        if slot is None:
            return
        pages = slot.size // _PAGE
        first = self.random.randrange(-(-pages // _WORD_PAGES)) * _WORD_PAGES
        count: int | None = None
        if self.random.random() < 0.3:
            count = min(_WORD_PAGES, pages - first)
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
        if slot is None:
            return
        size = self._size()
        gpa = self._address(slot, size)
        slot.spoilt.add((gpa - slot.gpa) // 8 * 8)
        value = self.random.getrandbits(8 * size)
        self.steps.append(sc.HostWrite(gpa=gpa, value=value, size=size))

    def _host_read(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        size = self._size()
        self.steps.append(sc.HostRead(gpa=self._address(slot, size), size=size))

    def _madvise(self) -> None:
        slot = self._some_slot()
        if slot is None:
            return
        # 64K steps: whole pages in every granule.
        first = self._page(slot) * _PAGE // _ALIGN * _ALIGN
        if self.random.random() < 0.5:
            first, size = self._page(slot) * _PAGE, _PAGE
        else:
            size = min(self.random.choice((_ALIGN, 2 * _ALIGN)), slot.size - first)
        self.steps.append(sc.Madvise(gpa=slot.gpa + first, size=size))

    def _rarely(self) -> bool:
        return self.random.random() < 0.08
