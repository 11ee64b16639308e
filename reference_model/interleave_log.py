# SPDX-License-Identifier: GPL-2.0-only
"""The dirty log and a slot's flags, step by step: taking bits, write-protecting, flushing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from reference_model.interleave_block import (
    STALE_WRITABLE,
    WRITABLE,
    Access,
    Block,
    ClearLog,
    GetLog,
    SetLogging,
    State,
)
from reference_model.interleave_state import Move, done, goes, ioctl_running, lock_held, put
from reference_model.outcome import Observation

ENOENT: Final = -2
_LOG_WORD: Final = 64


def _protected(
    block: Block, pages: tuple[int, ...], slot: int, low: int, high: int
) -> tuple[int, ...]:
    """Write-protects page offsets low..high of a slot; TLBs still hold what was."""
    if not block.knobs.wrprotects:
        return pages
    return tuple(
        page & ~WRITABLE | STALE_WRITABLE
        if page & WRITABLE and ref.slot == slot and low <= ref.offset <= high
        else page
        for page, ref in zip(pages, block.pages, strict=True)
    )


def _protected_bits(block: Block, pages: tuple[int, ...], slot: int, bits: int) -> tuple[int, ...]:
    """kvm_mmu_write_protect_pt_masked: per 64 pages, from the lowest to the highest set bit."""
    for base in range(0, bits.bit_length(), _LOG_WORD):
        word = bits >> base & ((1 << _LOG_WORD) - 1)
        if word:
            low = (word & -word).bit_length() - 1
            pages = _protected(block, pages, slot, base + low, base + word.bit_length() - 1)
    return pages


def _flushed(block: Block, pages: tuple[int, ...], slot: int) -> tuple[int, ...]:
    return tuple(
        page & ~STALE_WRITABLE if ref.slot == slot else page
        for page, ref in zip(pages, block.pages, strict=True)
    )


def bits_of(number: int) -> Iterator[int]:
    """The numbers of the bits that are set, ascending."""
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low


def get_log(block: Block, state: State, lane: int, op: GetLog) -> list[Move]:
    """The next steps of KVM_GET_DIRTY_LOG."""
    pages, words, dirty, gens, _ = state
    k, place, taken, _, _ = state[4][lane]
    bits = dirty[op.slot]
    if place == 0:
        if ioctl_running(block, state, lane):
            return []
        if bits < 0:
            return [((*state[:4], done(state, lane)), Observation(ret=ENOENT))]
    if block.slots[op.slot].manual:
        return [_read_log(state, lane, op, bits)]
    if place == 0:
        if lock_held(block, state, lane):
            return []
        dirty = put(dirty, op.slot, 0)
        after = _protected_bits(block, pages, op.slot, bits)
        if after != pages:
            return [((after, words, dirty, gens, goes(state, lane, (k, 1, bits, 0, 0))), None)]
        taken = bits
    seen = Observation(ret=0, dirty=tuple(bits_of(taken)))
    return [((_flushed(block, pages, op.slot), words, dirty, gens, done(state, lane)), seen)]


def _read_log(state: State, lane: int, op: GetLog, bits: int) -> Move:
    """The bitmap copied to userspace without a lock, 64 pages at a time."""
    k, place, taken, _, _ = state[4][lane]
    if place < len(op.words):
        mask = ((1 << _LOG_WORD) - 1) << (op.words[place] * _LOG_WORD)
        taken |= bits & mask
    if place + 1 < len(op.words):
        return (*state[:4], goes(state, lane, (k, place + 1, taken, 0, 0))), None
    rest = bits
    for word in op.words:
        rest &= ~(((1 << _LOG_WORD) - 1) << (word * _LOG_WORD))
    seen = Observation(ret=0, dirty=tuple(bits_of(taken | rest)))
    return (*state[:4], done(state, lane)), seen


def clear_log(block: Block, state: State, lane: int, op: ClearLog) -> list[Move]:
    """The next steps of KVM_CLEAR_DIRTY_LOG."""
    pages, words, dirty, gens, _ = state
    k, place, _, _, _ = state[4][lane]
    if place == 0:
        if ioctl_running(block, state, lane):
            return []
        if dirty[op.slot] < 0:
            return [((*state[:4], done(state, lane)), Observation(ret=ENOENT))]
        if lock_held(block, state, lane):
            return []
        cleared = dirty[op.slot] & op.asked
        dirty = put(dirty, op.slot, dirty[op.slot] & ~op.asked)
        after = _protected_bits(block, pages, op.slot, cleared)
        if after != pages:
            return [((after, words, dirty, gens, goes(state, lane, (k, 1, 0, 0, 0))), None)]
    cleared_all = (_flushed(block, pages, op.slot), words, dirty, gens, done(state, lane))
    return [(cleared_all, Observation(ret=0))]


def set_logging(block: Block, state: State, lane: int, op: SetLogging) -> list[Move]:
    """The next steps of a change of KVM_MEM_LOG_DIRTY_PAGES."""
    pages, words, dirty, gens, _ = state
    k, place, _, _, _ = state[4][lane]
    slot = block.slots[op.slot]
    seen = Observation(ret=0)
    if place == 0:
        if ioctl_running(block, state, lane):
            return []
        if op.log == (dirty[op.slot] >= 0):
            return [((*state[:4], done(state, lane)), seen)]
        bitmap = -1 if not op.log else ((1 << slot.pages) - 1 if slot.init_set else 0)
        dirty = put(dirty, op.slot, bitmap)
        gens = put(gens, op.slot, gens[op.slot] + 1)
        return [((pages, words, dirty, gens, goes(state, lane, (k, 1, 0, 0, 0))), None)]
    if place == 1:
        if _old_faults(block, state, op.slot) or lock_held(block, state, lane):
            return []
        if op.log and not slot.init_set:
            after = _protected(block, pages, op.slot, 0, slot.pages - 1)
            if after != pages:
                lanes = goes(state, lane, (k, 2, 0, 0, 0))
                return [((after, words, dirty, gens, lanes), None)]
    pages = _flushed(block, pages, op.slot)
    return [((pages, words, dirty, gens, done(state, lane)), seen)]


def _old_faults(block: Block, state: State, slot: int) -> bool:
    """synchronize_srcu: some fault still uses the slot as it was."""
    return any(
        at[1]
        and at[0] < len(block.lanes[other])
        and isinstance(op := block.lanes[other][at[0]], Access)
        and block.pages[op.page].slot == slot
        and at[3] != state[3][slot]
        for other, at in enumerate(state[4])
    )
