# SPDX-License-Identifier: GPL-2.0-only
"""The atomic steps of a branch: what each may do next from a state.

A guest's access is: look (the leaf permits it, or an abort is taken and the memslot looked up);
get the host's page, having sampled the invalidation sequence; map or relax under mmu_lock unless
the sequence moved; mark the page dirty, in the order of the profile; look again. The dirty-log
ioctls take the bits and write-protect under mmu_lock, then flush the TLBs: in between, stores may
still go through a TLB. A change of a slot's flags lets new faults see the new flags, waits for
those that saw the old ones (SRCU), and write-protects then. Sources: ``user_mem_abort``,
``kvm_get_dirty_log_protect``, ``kvm_clear_dirty_log_protect``, ``kvm_set_memslot``,
``kvm_arch_commit_memory_region`` and the MMU notifiers, in the version of the profile.

MMU-notifier events happen at once: between their begin and end a fault only tries again, which
nothing but its number of tries can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from reference_model.interleave_block import (
    EXECUTABLE,
    HOST_ANON,
    HOST_MASK,
    HOST_NONE,
    HOST_ZERO,
    LEAF,
    PRESENT,
    STALE_WRITABLE,
    WRITABLE,
    ZAPPED,
    Access,
    Block,
    ClearLog,
    Evict,
    Fixed,
    GetLog,
    Lane,
    SetLogging,
    State,
    Zap,
)
from reference_model.outcome import Observation

#: The next state, and the observation of an operation that ended by the step.
Move: TypeAlias = tuple[State, Observation | None]

ENOENT: Final = -2
_LOG_WORD: Final = 64
_UDF: Final = 0
_RET: Final = 0xD65F_03C0
_MOVZ_W0: Final = 0x5280_0000

# Places inside an access.
LOOK: Final = 0
GET_PAGE: Final = 1
MAP: Final = 2
MARK: Final = 3
MAP_MARKED: Final = 4
# Bits of an access's first number.
_PERM_FAULT: Final = 1
_LOGGING: Final = 2
_CAN_WRITE: Final = 4
_MOVED: Final = 8
#: mmu_lock is held from one step to the next: for reading, for writing.
_SHARED: Final = 16
_EXCLUSIVE: Final = 32


class UnfollowedCodeError(ValueError):
    """A branch would execute instructions that the model does not follow."""


def moves(block: Block, state: State, lane: int) -> list[Move]:
    """Every step that the branch may take next; empty where it waits for another or is done."""
    at = state[4][lane]
    if at[0] >= len(block.lanes[lane]):
        return []
    op = block.lanes[lane][at[0]]
    return _MOVES[type(op)](block, state, lane, op)


# --- states --------------------------------------------------------------------------------------


def _goes(state: State, lane: int, place: Lane) -> tuple[Lane, ...]:
    lanes = state[4]
    return (*lanes[:lane], place, *lanes[lane + 1 :])


def _done(state: State, lane: int) -> tuple[Lane, ...]:
    return _goes(state, lane, (state[4][lane][0] + 1, 0, 0, 0, 0))


def _put(numbers: tuple[int, ...], at: int, value: int) -> tuple[int, ...]:
    return (*numbers[:at], value, *numbers[at + 1 :])


def _lock_held(block: Block, state: State, lane: int) -> int:
    """How others hold mmu_lock: 0, _SHARED or _EXCLUSIVE."""
    held = 0
    for other, at in enumerate(state[4]):
        if other != lane and at[1] in (MARK, MAP_MARKED):
            ops = block.lanes[other]
            if at[0] < len(ops) and isinstance(ops[at[0]], Access):
                held |= at[2] & (_SHARED | _EXCLUSIVE)
    return held


def _ioctl_running(block: Block, state: State, lane: int) -> bool:
    """slots_lock: another branch is inside an ioctl that takes it."""
    return any(
        at[1]
        and other != lane
        and at[0] < len(block.lanes[other])
        and isinstance(block.lanes[other][at[0]], (GetLog, ClearLog, SetLogging))
        for other, at in enumerate(state[4])
    )


def _zap_running(block: Block, state: State) -> bool:
    return any(
        at[1] and at[0] < len(block.lanes[other]) and isinstance(block.lanes[other][at[0]], Zap)
        for other, at in enumerate(state[4])
    )


def _all_move(block: Block, lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
    """The invalidation sequence moved: faults that sampled it will try again."""
    return tuple(
        (k, place, a | _MOVED, b, c)
        if place == MAP and k < len(block.lanes[i]) and isinstance(block.lanes[i][k], Access)
        else (k, place, a, b, c)
        for i, (k, place, a, b, c) in enumerate(lanes)
    )


# --- accesses ------------------------------------------------------------------------------------


def _access(block: Block, state: State, lane: int, op: Access) -> list[Move]:
    if op.host:
        return _host_access(block, state, lane, op)
    place = state[4][lane][1]
    if place == LOOK:
        return _look(block, state, lane, op)
    if place == GET_PAGE:
        return [(_get_page(block, state, lane, op), None)]
    if place == MAP:
        return _map(block, state, lane, op)
    return [(_mark_or_map(block, state, lane, op), None)]


def permits(leaf: int, kind: str) -> bool:
    """True if the leaf lets an access of that kind through."""
    if kind in ("w", "c"):
        return bool(leaf & WRITABLE)
    return bool(leaf & (EXECUTABLE if kind == "x" else PRESENT))


def _look(block: Block, state: State, lane: int, op: Access) -> list[Move]:
    pages, _, dirty, gens, _ = state
    leaf = pages[op.page]
    if permits(leaf, op.kind):
        return [completed(state, lane, op, pages, state[2])]
    found: list[Move] = []
    if op.kind in ("w", "c") and leaf & STALE_WRITABLE:
        found.append(completed(state, lane, op, pages, state[2]))
    if not _zap_running(block, state):
        slot = block.pages[op.page].slot
        flags = (_PERM_FAULT if leaf & PRESENT else 0) | (_LOGGING if dirty[slot] >= 0 else 0)
        k = state[4][lane][0]
        found.append(((*state[:4], _goes(state, lane, (k, GET_PAGE, flags, gens[slot], 0))), None))
    return found


def completed(
    state: State, lane: int, op: Access, pages: tuple[int, ...], dirty: tuple[int, ...]
) -> Move:
    """The access reaches memory; ``pages`` and ``dirty`` are those of the state after it."""
    words = state[1]
    word = words[op.word]
    old = (word >> op.shift) & op.mask
    data: int | None = None
    injected: dict[str, Any] | None = None
    if op.kind == "r":
        data = old
    elif op.kind == "x":
        data = _call(word, op.shift)
        injected = {"ec": "undef"} if data is None else None
    elif op.kind == "w" or old == op.expected:
        data = old if op.kind == "c" else None
        words = _put(words, op.word, word & ~(op.mask << op.shift) | (op.value << op.shift))
    else:
        data = old
    after = (pages, words, dirty, state[3], _done(state, lane))
    if op.host:
        return after, Observation(ret=0) if op.kind == "w" else Observation(ret=0, data=data)
    if op.kind == "w":
        return after, Observation(ret=0, exit=None, injected=None)
    return after, Observation(ret=0, exit=None, injected=injected, data=data)


def _call(word: int, shift: int) -> int | None:
    """w0 after a call to a word's instruction, None for an undefined one (zeroes)."""
    first = (word >> shift) & 0xFFFF_FFFF
    if first == _UDF:
        return None
    if first == _RET:
        return 0
    if first & ~(0xFFFF << 5) == _MOVZ_W0 and not shift and word >> 32 == _RET:
        return (first >> 5) & 0xFFFF
    raise UnfollowedCodeError(f"{first:#010x}")


def _get_page(block: Block, state: State, lane: int, op: Access) -> State:
    """get_user_pages: what the host's page table has, or makes, for the access."""
    pages, words, dirty, gens, _ = state
    k, _, flags, gen, _ = state[4][lane]
    host = pages[op.page] & HOST_MASK
    rest = pages[op.page] & ~HOST_MASK
    write = op.kind in ("w", "c")
    if write and host == HOST_ZERO:
        # Breaking copy-on-write is an invalidation of its own: this fault will try again.
        after = _put(pages, op.page, rest & ~LEAF | HOST_ANON)
        lanes = _all_move(block, _goes(state, lane, (k, LOOK, 0, 0, 0)))
        return after, words, dirty, gens, lanes
    if write:
        pages = _put(pages, op.page, rest | HOST_ANON)
    elif host == HOST_NONE:
        pages = _put(pages, op.page, rest | HOST_ZERO)
    if write or (host == HOST_ANON and not flags & _LOGGING):
        flags |= _CAN_WRITE
    if block.knobs.dirty == "before_lock" and _marks(block, op, flags):
        dirty = _marked(block, dirty, op, flags)
    return pages, words, dirty, gens, _goes(state, lane, (k, MAP, flags, gen, 0))


def _map(block: Block, state: State, lane: int, op: Access) -> list[Move]:
    """map or relax_perms under mmu_lock, with what of the marking is inseparable from it."""
    knobs = block.knobs
    k, _, flags, gen, _ = state[4][lane]
    slot = block.pages[op.page].slot
    relax = bool(flags & _PERM_FAULT)
    shares = relax and knobs.relax_shares_lock and bool(flags & _LOGGING)
    held = _lock_held(block, state, lane)
    if held & _EXCLUSIVE or (held & _SHARED and not shares):
        return []
    again = _goes(state, lane, (k, LOOK, 0, 0, 0))
    if flags & _MOVED or _zap_running(block, state):
        return [((*state[:4], again), None)]
    # With manual protection the dirty log is read without the lock: the order shows.
    apart = block.slots[slot].manual
    if knobs.dirty == "before" and apart and _marks(block, op, flags):
        dirty = _marked(block, state[2], op, flags)
        place: Lane = (k, MAP_MARKED, flags | _EXCLUSIVE, gen, 0)
        return [((state[0], state[1], dirty, state[3], _goes(state, lane, place)), None)]
    pages, handled = _install(block, state[0], op, flags)
    dirty = state[2]
    lanes = again
    if handled and _marks(block, op, flags) and knobs.dirty != "before_lock":
        if knobs.dirty == "after_unlock":
            lanes = _goes(state, lane, (k, MARK, flags, gen, 0))
        elif knobs.dirty == "under_lock" and apart:
            lock = _SHARED if shares else _EXCLUSIVE
            lanes = _goes(state, lane, (k, MARK, flags | lock, gen, 0))
        else:
            dirty = _marked(block, dirty, op, flags)
    return [((pages, state[1], dirty, state[3], lanes), None)]


def _install(
    block: Block, pages: tuple[int, ...], op: Access, flags: int
) -> tuple[tuple[int, ...], bool]:
    """The leaf after the fault's call of the page-table API; False: the call said -EAGAIN."""
    page = pages[op.page]
    perms = PRESENT
    perms |= WRITABLE if flags & _CAN_WRITE else 0
    perms |= EXECUTABLE if op.kind == "x" or block.dic else 0
    if flags & _PERM_FAULT:
        if not page & PRESENT:
            return pages, block.knobs.relax_hole_ok
        return _put(pages, op.page, page | perms), True
    if page & PRESENT and not block.knobs.map_overwrites:
        return pages, False
    kept = page & ~(PRESENT | WRITABLE | EXECUTABLE)
    return _put(pages, op.page, kept | perms), True


def _marks(block: Block, op: Access, flags: int) -> bool:
    if not flags & _CAN_WRITE:
        return False
    return block.knobs.relax_marks or not flags & _PERM_FAULT


def _marked(block: Block, dirty: tuple[int, ...], op: Access, flags: int) -> tuple[int, ...]:
    ref = block.pages[op.page]
    if dirty[ref.slot] < 0 or not (flags & _LOGGING or block.knobs.marks_by_gfn):
        return dirty
    return _put(dirty, ref.slot, dirty[ref.slot] | 1 << ref.offset)


def _mark_or_map(block: Block, state: State, lane: int, op: Access) -> State:
    """The second half of a map whose marking is a step of its own."""
    pages, words, dirty, gens, _ = state
    k, place, flags, _, _ = state[4][lane]
    if place == MARK:
        dirty = _marked(block, dirty, op, flags)
    else:
        pages, _ = _install(block, pages, op, flags)
    return pages, words, dirty, gens, _goes(state, lane, (k, LOOK, 0, 0, 0))


def settled_access(block: Block, state: State, lane: int, op: Access) -> Move:
    """A whole access, faults and all, where nothing can take its leaf away again."""
    pages, _, dirty, _, _ = state
    page = pages[op.page]
    ref = block.pages[op.page]
    write = op.kind in ("w", "c")
    if not permits(page, op.kind):
        logging = dirty[ref.slot] >= 0
        host = page & HOST_MASK
        if write and logging:
            dirty = _put(dirty, ref.slot, dirty[ref.slot] | 1 << ref.offset)
        if write:
            host = HOST_ANON
        elif host == HOST_NONE:
            host = HOST_ZERO
        leaf = PRESENT | (EXECUTABLE if op.kind == "x" or block.dic else 0)
        leaf |= WRITABLE if write or (host == HOST_ANON and not logging) else 0
        pages = _put(pages, op.page, page & ~HOST_MASK | host | leaf)
    return completed(state, lane, op, pages, dirty)


def _host_access(block: Block, state: State, lane: int, op: Access) -> list[Move]:
    pages = state[0]
    page = pages[op.page]
    host = page & HOST_MASK
    if op.kind == "r":
        if host == HOST_NONE:
            pages = _put(pages, op.page, page | HOST_ZERO)
        return [completed(state, lane, op, pages, state[2])]
    if host == HOST_ZERO and page & LEAF:
        if _lock_held(block, state, lane):
            return []
        page &= ~LEAF
    pages = _put(pages, op.page, page & ~HOST_MASK | HOST_ANON)
    after, seen = completed(state, lane, op, pages, state[2])
    if host == HOST_ZERO:
        after = (*after[:4], _all_move(block, after[4]))
    return [(after, seen)]


# --- the dirty log -------------------------------------------------------------------------------


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


def _get_log(block: Block, state: State, lane: int, op: GetLog) -> list[Move]:
    pages, words, dirty, gens, _ = state
    k, place, taken, _, _ = state[4][lane]
    bits = dirty[op.slot]
    if place == 0:
        if _ioctl_running(block, state, lane):
            return []
        if bits < 0:
            return [((*state[:4], _done(state, lane)), Observation(ret=ENOENT))]
    if block.slots[op.slot].manual:
        return [_read_log(state, lane, op, bits)]
    if place == 0:
        if _lock_held(block, state, lane):
            return []
        dirty = _put(dirty, op.slot, 0)
        after = _protected_bits(block, pages, op.slot, bits)
        if after != pages:
            return [((after, words, dirty, gens, _goes(state, lane, (k, 1, bits, 0, 0))), None)]
        taken = bits
    seen = Observation(ret=0, dirty=tuple(bits_of(taken)))
    return [((_flushed(block, pages, op.slot), words, dirty, gens, _done(state, lane)), seen)]


def _read_log(state: State, lane: int, op: GetLog, bits: int) -> Move:
    """The bitmap copied to userspace without a lock, 64 pages at a time."""
    k, place, taken, _, _ = state[4][lane]
    if place < len(op.words):
        mask = ((1 << _LOG_WORD) - 1) << (op.words[place] * _LOG_WORD)
        taken |= bits & mask
    if place + 1 < len(op.words):
        return (*state[:4], _goes(state, lane, (k, place + 1, taken, 0, 0))), None
    rest = bits
    for word in op.words:
        rest &= ~(((1 << _LOG_WORD) - 1) << (word * _LOG_WORD))
    seen = Observation(ret=0, dirty=tuple(bits_of(taken | rest)))
    return (*state[:4], _done(state, lane)), seen


def _clear_log(block: Block, state: State, lane: int, op: ClearLog) -> list[Move]:
    pages, words, dirty, gens, _ = state
    k, place, _, _, _ = state[4][lane]
    if place == 0:
        if _ioctl_running(block, state, lane):
            return []
        if dirty[op.slot] < 0:
            return [((*state[:4], _done(state, lane)), Observation(ret=ENOENT))]
        if _lock_held(block, state, lane):
            return []
        cleared = dirty[op.slot] & op.asked
        dirty = _put(dirty, op.slot, dirty[op.slot] & ~op.asked)
        after = _protected_bits(block, pages, op.slot, cleared)
        if after != pages:
            return [((after, words, dirty, gens, _goes(state, lane, (k, 1, 0, 0, 0))), None)]
    done = (_flushed(block, pages, op.slot), words, dirty, gens, _done(state, lane))
    return [(done, Observation(ret=0))]


def _set_logging(block: Block, state: State, lane: int, op: SetLogging) -> list[Move]:
    pages, words, dirty, gens, _ = state
    k, place, _, _, _ = state[4][lane]
    slot = block.slots[op.slot]
    done = Observation(ret=0)
    if place == 0:
        if _ioctl_running(block, state, lane):
            return []
        if op.log == (dirty[op.slot] >= 0):
            return [((*state[:4], _done(state, lane)), done)]
        bitmap = -1 if not op.log else ((1 << slot.pages) - 1 if slot.init_set else 0)
        dirty = _put(dirty, op.slot, bitmap)
        gens = _put(gens, op.slot, gens[op.slot] + 1)
        return [((pages, words, dirty, gens, _goes(state, lane, (k, 1, 0, 0, 0))), None)]
    if place == 1:
        if _old_faults(block, state, op.slot) or _lock_held(block, state, lane):
            return []
        if op.log and not slot.init_set:
            after = _protected(block, pages, op.slot, 0, slot.pages - 1)
            if after != pages:
                lanes = _goes(state, lane, (k, 2, 0, 0, 0))
                return [((after, words, dirty, gens, lanes), None)]
    pages = _flushed(block, pages, op.slot)
    return [((pages, words, dirty, gens, _done(state, lane)), done)]


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


# --- the host's memory ---------------------------------------------------------------------------


def _zap(block: Block, state: State, lane: int, op: Zap) -> list[Move]:
    """Unmapped everywhere first, then thrown away page by page."""
    pages, words, dirty, gens, _ = state
    k, place, _, _, _ = state[4][lane]
    if place == 0:
        if _lock_held(block, state, lane):
            return []
        for page in op.pages:
            pages = _put(pages, page, pages[page] & ~LEAF)
    if op.pages:
        page = op.pages[place]
        pages = _put(pages, page, ZAPPED | HOST_NONE)
        words = tuple(
            0 if ref.page == page else word for word, ref in zip(words, block.words, strict=True)
        )
    if place + 1 < len(op.pages):
        lanes = _goes(state, lane, (k, place + 1, 0, 0, 0))
        return [((pages, words, dirty, gens, _all_move(block, lanes)), None)]
    lanes = _all_move(block, _done(state, lane))
    return [((pages, words, dirty, gens, lanes), Observation(ret=0))]


def _evict(block: Block, state: State, lane: int, op: Evict) -> list[Move]:
    if _lock_held(block, state, lane):
        return []
    pages = state[0]
    for page in op.pages:
        pages = _put(pages, page, pages[page] & ~LEAF)
    seen = Observation(ret=0)
    stayed = (*state[:4], _done(state, lane))
    gone = (pages, *state[1:4], _all_move(block, _done(state, lane)))
    return [(stayed, seen), (gone, seen)]


def _fixed(block: Block, state: State, lane: int, op: Fixed) -> list[Move]:
    return [((*state[:4], _done(state, lane)), op.result)]


_MOVES: Final[dict[type[Any], Callable[[Block, State, int, Any], list[Move]]]] = {
    Access: _access,
    GetLog: _get_log,
    ClearLog: _clear_log,
    SetLogging: _set_logging,
    Zap: _zap,
    Evict: _evict,
    Fixed: _fixed,
}
