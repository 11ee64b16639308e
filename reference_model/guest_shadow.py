# SPDX-License-Identifier: GPL-2.0-only
"""A shadow of a guest's memory: every byte as last written, by whomever, as far as that is known.

It knows the scenario and the observations and nothing of a kernel: what was stored where, what the
system calls that succeeded did to content, and which pages the guest wrote since they were last
reported dirty.
"""

from __future__ import annotations

from reference_model import scenario as sc
from reference_model.memory import prefill_word
from reference_model.outcome import Observation
from reference_model.profiles import Environment
from reference_model.stage1 import STAGE1_TABLE, descriptor, stage1_table

_FILES = ("shmem", "memfd", "file_ro")
_EACCES, _ENOMEM = -13, -12
_SURE_BACKINGS = ("anon", "shmem", "memfd", "hugetlb", "zero", "file_ro", "device")


class ShadowSlot:
    """One slot: its place, its bytes where they are known, its pages written and not reported."""

    def __init__(self, op: sc.SlotAdd, env: Environment) -> None:
        self.gpa = op.gpa
        self.size = op.size
        self.readonly = "readonly" in op.flags
        self.log = "log_dirty" in op.flags
        self.kind = op.backing.kind
        self.pending: set[int] = set()
        self._page_size = env.page_size
        self._prefilled = op.backing.prefill or self.kind == "file_ro"
        self._sure = self.kind in _SURE_BACKINGS
        #: Pages that differ from how they began: bytes, None where they are not known.
        self._pages: dict[int, list[int | None]] = {}
        #: Pages that were filled with a word since; most of them are never looked at.
        self._filled: dict[int, int | None] = {}

    def page(self, number: int) -> list[int | None]:
        """The bytes of a page, to read or to change."""
        if number not in self._pages:
            word = self._filled.get(number, self._first(number))
            unknown: list[int | None] = [None] * self._page_size
            self._pages[number] = unknown if word is None else _words(word, self._page_size)
        return self._pages[number]

    def _first(self, number: int) -> int | None:
        """The word that a page holds over and over when the slot is made; None: not known."""
        if not self._sure:
            return None
        return prefill_word(number) if self._prefilled else 0

    def store(self, offset: int, data: bytes) -> None:
        """Bytes inside one page."""
        page, at = divmod(offset, self._page_size)
        self.page(page)[at : at + len(data)] = list(data)

    def set_pages(self, offset: int, size: int, word: int | None) -> None:
        """Whole pages of 8 bytes over and over; None: not known any more."""
        first = offset // self._page_size
        for page in range(first, first + -(-size // self._page_size)):
            self._pages.pop(page, None)
            self._filled[page] = word


def _words(word: int, size: int) -> list[int | None]:
    return [*word.to_bytes(8, "little")] * (size // 8)


class Shadow:
    """What is known of a guest's memory: its slots by their number, after the steps so far."""

    def __init__(self, env: Environment, *, stage1: bool) -> None:
        self._env = env
        self._stage1 = stage1
        self.slots: dict[int, ShadowSlot] = {}

    def slot_at(self, gpa: int) -> ShadowSlot | None:
        """The slot that holds an address."""
        return next(
            (s for s in self.slots.values() if s.gpa <= gpa < s.gpa + s.size),
            None,
        )

    def known(self, gpa: int, size: int) -> int | None:
        """The value there, little-endian; None where a byte of it is not known."""
        slot = self.slot_at(gpa)
        if slot is None:
            return None
        page, at = divmod(gpa - slot.gpa, self._env.page_size)
        value = [byte for byte in slot.page(page)[at : at + size] if byte is not None]
        return int.from_bytes(bytes(value), "little") if len(value) == size else None

    def before(self, op: sc.GuestOp, seen: Observation) -> None:
        """What an access did to memory before its own load or store: the walk's writes."""
        tables = getattr(op, "tables", None)
        if tables is None or not self._stage1 or not isinstance(op, (sc.Read, sc.Write, sc.Exec)):
            return
        where = descriptor(1, tables + STAGE1_TABLE, op.gpa)
        slot = self.slot_at(where.gpa)
        if slot is None or slot.readonly:
            return
        entry = self.known(where.gpa, 8)
        if entry is not None and entry & 1 and not entry & 1 << 10:
            # Hardware sets the access flag: whether it did is not to be seen here.
            page, at = divmod(where.gpa - slot.gpa, self._env.page_size)
            slot.page(page)[at : at + 8] = [None] * 8

    def after(self, op: sc.GuestOp, seen: Observation) -> None:
        """What the step did to slots and memory."""
        if isinstance(op, (sc.Write, sc.Cas, sc.DcZva)):
            self._guest_store(op, seen)
        elif isinstance(op, sc.SlotAdd):
            if seen.ret == 0:
                self.slots[op.slot] = ShadowSlot(op, self._env)
        elif isinstance(op, (sc.SlotFlags, sc.SlotMove, sc.SlotDelete, sc.DirtyClear)):
            self._ioctl(op, seen)
        elif isinstance(op, sc.HostWrite):
            slot = self.slot_at(op.gpa)
            if slot is not None and seen.ret == 0:
                slot.store(op.gpa - slot.gpa, op.value.to_bytes(op.size, "little"))
        elif isinstance(op, sc.Stage1Tables):
            for level, table in enumerate((op.gpa, op.gpa + STAGE1_TABLE)):
                slot = self.slot_at(table)
                if slot is not None and seen.ret == 0:
                    slot.store(table - slot.gpa, stage1_table(level, op.gpa, af=op.af))
        else:
            self._host(op, seen)

    def _guest_store(self, op: sc.Write | sc.Cas | sc.DcZva, seen: Observation) -> None:
        slot = self.slot_at(op.gpa)
        if slot is None or seen.ret != 0 or seen.exit is not None or seen.injected is not None:
            return
        if isinstance(op, sc.Cas) and seen.data != op.expected:
            return
        data = bytes(op.size) if isinstance(op, sc.DcZva) else op.value.to_bytes(op.size, "little")
        slot.store(op.gpa - slot.gpa, data)
        if slot.log:
            slot.pending.add((op.gpa - slot.gpa) // self._env.page_size)

    def _ioctl(
        self, op: sc.SlotFlags | sc.SlotMove | sc.SlotDelete | sc.DirtyClear, seen: Observation
    ) -> None:
        slot = self.slots.get(op.slot)
        if slot is None or seen.ret != 0:
            return
        if isinstance(op, sc.SlotFlags):
            slot.log = "log_dirty" in op.flags
            if not slot.log:
                slot.pending.clear()
        elif isinstance(op, sc.SlotMove):
            slot.gpa = op.gpa
        elif isinstance(op, sc.SlotDelete):
            del self.slots[op.slot]
        else:
            # Userspace takes these pages as copied.
            stop = slot.size // self._env.page_size
            if op.num_pages is not None:
                stop = op.first_page + -(-op.num_pages // 64) * 64
            cleared = range(op.first_page, stop)
            slot.pending -= set(cleared if op.pages is None else op.pages)

    def _host(self, op: sc.GuestOp, seen: Observation) -> None:
        """System calls on ranges."""
        gpa, size = getattr(op, "gpa", None), getattr(op, "size", None)
        slot = self.slot_at(gpa) if gpa is not None else None
        if slot is None or gpa is None or size is None:
            return
        offset = gpa - slot.gpa
        if isinstance(op, sc.UffdCopy) and seen.ret not in (0, -17, -2, -22):
            slot.set_pages(offset, size, None)
        if isinstance(op, sc.PunchHole) and seen.ret == _EACCES:
            # VMA by VMA: some of it may be done.
            slot.set_pages(offset, size, None)
        # madvise skips what is not mapped, and tells so at its end.
        skipped = isinstance(op, sc.Madvise) and seen.ret == _ENOMEM
        if seen.ret != 0 and not skipped:
            return
        if isinstance(op, sc.UffdCopy):
            slot.set_pages(offset, size, op.value)
        elif isinstance(op, sc.Madvise):
            if op.advice == "dontneed" and slot.kind == "hugetlb":
                # Whole huge pages only: what else is left is not followed.
                slot.set_pages(offset, size, None)
            elif op.advice == "dontneed" and slot.kind not in _FILES:
                slot.set_pages(offset, size, 0)
            elif op.advice == "free":
                slot.set_pages(offset, size, None)
        elif isinstance(op, (sc.Remap, sc.PunchHole)):
            slot.set_pages(offset, size, 0)
