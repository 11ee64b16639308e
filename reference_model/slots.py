# SPDX-License-Identifier: GPL-2.0-only
"""Memslots with their dirty bitmap, and each vCPU's dirty ring.

``virt/kvm/kvm_main.c`` and ``virt/kvm/dirty_ring.c``. Pages are offsets in the slot.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

from reference_model.choice import Chooser
from reference_model.memory import HostMemory

#: BITS_PER_LONG: bitmaps and ring resets are handled a word of pages at a time.
WORD = 64
_WORD_MASK = (1 << WORD) - 1
#: KVM_DIRTY_RING_RSVD_ENTRIES: so many before its end a ring counts as full.
RING_RESERVED = 64
#: sizeof(struct kvm_dirty_gfn).
RING_ENTRY_BYTES = 16


class Slot:
    """One memslot. ``log``: KVM_MEM_LOG_DIRTY_PAGES; ``dirty``: the bitmap, None: it has none."""

    def __init__(self, ident: int, gfn: int, memory: HostMemory, *, readonly: bool) -> None:
        self.ident = ident
        self.gfn = gfn
        self.memory = memory
        self.readonly = readonly
        self.log = False
        self.dirty: set[int] | None = None

    @property
    def pages(self) -> int:
        """npages."""
        return self.memory.pages

    @property
    def logging(self) -> bool:
        """``memslot_is_logging``: a dirty bitmap, and not read-only (5.10 to 7.2).

        A slot whose VM has a ring and no bitmap is not "logging", for all that its dirty pages
        are pushed: read faults map it writable there, and blocks are allowed.
        """
        return self.dirty is not None and not self.readonly

    def holds(self, gfn: int) -> bool:
        """True if the guest frame lies in the slot."""
        return self.gfn <= gfn < self.gfn + self.pages

    def copied(self, chooser: Chooser) -> Slot:
        """The same slot, to go another way from here on."""
        other = copy.copy(self)
        other.memory = self.memory.copied(chooser)
        other.dirty = None if self.dirty is None else self.dirty.copy()
        return other

    def block(self, gfn: int, pages: int) -> bool:
        """fault_supports_stage2_huge_mapping: a block of that many pages around gfn fits."""
        if pages == 1:
            return True
        if self.gfn % pages != self.memory.hva % pages:
            return False
        base = gfn & -pages
        return self.gfn <= base and base + pages <= self.gfn + self.pages


def word_spans(pages: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(first, count) from the lowest to the highest page of each word of the bitmap.

    kvm_mmu_write_protect_pt_masked: what lies between is write-protected too.
    """
    spans: dict[int, tuple[int, int]] = {}
    for page in pages:
        low, high = spans.get(page // WORD, (page, page))
        spans[page // WORD] = (min(low, page), max(high, page))
    for low, high in spans.values():
        yield low, high - low + 1


class Ring:
    """One vCPU's dirty ring: entries (slot, page offset) that were pushed and not yet reset."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries: list[tuple[int, int]] = []
        self._harvested = 0

    @property
    def full(self) -> bool:
        """kvm_dirty_ring_soft_full: the vCPU does not run."""
        return len(self._entries) >= self.size - RING_RESERVED

    def push(self, slot: int, page: int) -> None:
        """kvm_dirty_ring_push."""
        self._entries.append((slot, page))

    def harvest(self, count: int | None) -> list[tuple[int, int]]:
        """Userspace's side: the next entries, at most ``count``; they can be reset now."""
        stop = len(self._entries)
        if count is not None:
            stop = min(stop, self._harvested + count)
        taken = self._entries[self._harvested : stop]
        self._harvested = stop
        return taken

    def reset(self) -> list[tuple[int, int]]:
        """kvm_dirty_ring_reset: harvested entries leave the ring."""
        taken = self._entries[: self._harvested]
        del self._entries[: self._harvested]
        self._harvested = 0
        return taken

    def copied(self) -> Ring:
        """The same ring, to go another way from here on."""
        other = copy.copy(self)
        other._entries = self._entries.copy()
        return other

    def fingerprint(self) -> tuple[object, ...]:
        """All of it, to tell two states apart."""
        return tuple(self._entries), self._harvested


def ring_batches(entries: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(slot, first page, count) that kvm_dirty_ring_reset write-protects for reset entries.

    Neighbours in the ring that lie within a word of pages of each other, forwards or backwards,
    are one mask; what is protected is the span from its lowest to its highest bit.
    """
    current: tuple[int, int] | None = None
    mask = 0
    for slot, page in entries:
        if current is not None and slot == current[0]:
            delta = page - current[1]
            if 0 <= delta < WORD:
                mask |= 1 << delta
                continue
            if -WORD < delta < 0 and (mask << -delta) & _WORD_MASK == mask << -delta:
                current = (slot, page)
                mask = mask << -delta | 1
                continue
        if current is not None:
            yield _span(current, mask)
        current, mask = (slot, page), 1
    if current is not None:
        yield _span(current, mask)


def _span(base: tuple[int, int], mask: int) -> tuple[int, int, int]:
    low = (mask & -mask).bit_length() - 1
    return base[0], base[1] + low, mask.bit_length() - low
