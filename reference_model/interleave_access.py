# SPDX-License-Identifier: GPL-2.0-only
"""A guest's access step by step, and the host's: what user_mem_abort does, and in which order."""

from __future__ import annotations

from typing import Any, Final

from reference_model.interleave_block import (
    EXECUTABLE,
    HOST_ANON,
    HOST_MASK,
    HOST_NONE,
    HOST_ZERO,
    LEAF,
    NO_ACCESS,
    NO_WRITE,
    PRESENT,
    STALE_WRITABLE,
    WRITABLE,
    Access,
    Block,
    Lane,
    State,
)
from reference_model.interleave_state import (
    EXCLUSIVE,
    GET_PAGE,
    LOOK,
    MAP,
    MAP_MARKED,
    MARK,
    MOVED,
    SHARED,
    Move,
    all_move,
    done,
    goes,
    lock_held,
    put,
    zap_running,
)
from reference_model.outcome import Observation

EFAULT: Final = -14
_UDF: Final = 0
_RET: Final = 0xD65F_03C0
_MOVZ_W0: Final = 0x5280_0000
# Bits of an access's first number.
_PERM_FAULT: Final = 1
_LOGGING: Final = 2
_CAN_WRITE: Final = 4


class UnfollowedCodeError(ValueError):
    """A branch would execute instructions that the model does not follow."""


def access(block: Block, state: State, lane: int, op: Access) -> list[Move]:
    """The next steps of an access."""
    if op.host:
        return _host_access(block, state, lane, op)
    place = state[4][lane][1]
    if place == LOOK:
        return _look(block, state, lane, op)
    if place == GET_PAGE:
        return [_get_page(block, state, lane, op)]
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
    if not zap_running(block, state):
        slot = block.pages[op.page].slot
        flags = (_PERM_FAULT if leaf & PRESENT else 0) | (_LOGGING if dirty[slot] >= 0 else 0)
        k = state[4][lane][0]
        found.append(((*state[:4], goes(state, lane, (k, GET_PAGE, flags, gens[slot], 0))), None))
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
        words = put(words, op.word, word & ~(op.mask << op.shift) | (op.value << op.shift))
    else:
        data = old
    after = (pages, words, dirty, state[3], done(state, lane))
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


def _get_page(block: Block, state: State, lane: int, op: Access) -> Move:
    """get_user_pages: what the host's page table has, or makes, for the access."""
    pages, words, dirty, gens, _ = state
    k, _, flags, gen, _ = state[4][lane]
    write = op.kind in ("w", "c")
    if _refused(pages[op.page], write=write):
        return (*state[:4], done(state, lane)), _failed(op)
    host = pages[op.page] & HOST_MASK
    rest = pages[op.page] & ~HOST_MASK
    if write and host == HOST_ZERO:
        # Breaking copy-on-write is an invalidation of its own: this fault will try again.
        after = put(pages, op.page, rest & ~LEAF | HOST_ANON)
        lanes = all_move(block, goes(state, lane, (k, LOOK, 0, 0, 0)))
        return (after, words, dirty, gens, lanes), None
    if write:
        pages = put(pages, op.page, rest | HOST_ANON)
    elif host == HOST_NONE:
        pages = put(pages, op.page, rest | HOST_ZERO)
    if write or (host == HOST_ANON and not flags & _LOGGING and not rest & NO_WRITE):
        flags |= _CAN_WRITE
    if block.knobs.dirty == "before_lock" and _marks(block, op, flags):
        dirty = _marked(block, dirty, op, flags)
    return (pages, words, dirty, gens, goes(state, lane, (k, MAP, flags, gen, 0))), None


def _refused(page: int, *, write: bool) -> bool:
    """The VMA does not allow it."""
    return bool(page & NO_ACCESS or (write and page & NO_WRITE))


def _failed(op: Access) -> Observation:
    """KVM_RUN, or the host's own access, with -EFAULT."""
    if op.host:
        return Observation(ret=EFAULT) if op.kind == "w" else Observation(ret=EFAULT, data=None)
    if op.kind == "w":
        return Observation(ret=EFAULT, exit=None, injected=None)
    return Observation(ret=EFAULT, exit=None, injected=None, data=None)


def _map(block: Block, state: State, lane: int, op: Access) -> list[Move]:
    """map or relax_perms under mmu_lock, with what of the marking is inseparable from it."""
    knobs = block.knobs
    k, _, flags, gen, _ = state[4][lane]
    slot = block.pages[op.page].slot
    relax = bool(flags & _PERM_FAULT)
    shares = relax and knobs.relax_shares_lock and bool(flags & _LOGGING)
    held = lock_held(block, state, lane)
    if held & EXCLUSIVE or (held & SHARED and not shares):
        return []
    again = goes(state, lane, (k, LOOK, 0, 0, 0))
    if flags & MOVED or zap_running(block, state):
        return [((*state[:4], again), None)]
    # With manual protection the dirty log is read without the lock: the order shows.
    apart = block.slots[slot].manual
    if knobs.dirty == "before" and apart and _marks(block, op, flags):
        dirty = _marked(block, state[2], op, flags)
        place: Lane = (k, MAP_MARKED, flags | EXCLUSIVE, gen, 0)
        return [((state[0], state[1], dirty, state[3], goes(state, lane, place)), None)]
    pages, handled = _install(block, state[0], op, flags)
    dirty = state[2]
    lanes = again
    if handled and _marks(block, op, flags) and knobs.dirty != "before_lock":
        if knobs.dirty == "after_unlock":
            lanes = goes(state, lane, (k, MARK, flags, gen, 0))
        elif knobs.dirty == "under_lock" and apart:
            lock = SHARED if shares else EXCLUSIVE
            lanes = goes(state, lane, (k, MARK, flags | lock, gen, 0))
        else:
            dirty = _marked(block, dirty, op, flags)
    return [((pages, state[1], dirty, state[3], lanes), None)]


def calls_of(block: Block, state: State, lane: int) -> tuple[int, int, int]:
    """What a branch's next step does in the kernel, if it is of a guest's access.

    Calls of map and relax_perms that are done, those that are refused with -EAGAIN, and pages
    marked dirty (mark_page_dirty_in_slot, whether the slot is logged or not).
    """
    k, place, flags, _, _ = state[4][lane]
    if k >= len(block.lanes[lane]) or place in (LOOK, MARK):
        return 0, 0, 0
    op = block.lanes[lane][k]
    if not isinstance(op, Access) or op.host:
        return 0, 0, 0
    order = block.knobs.dirty
    if place == GET_PAGE:
        (after, seen) = _get_page(block, state, lane, op)
        _, next_place, next_flags, _, _ = after[4][lane]
        early = seen is None and next_place == MAP and order == "before_lock"
        return 0, 0, int(early and _marks(block, op, next_flags))
    if not _map(block, state, lane, op) and place == MAP:
        return 0, 0, 0
    if place == MAP and (flags & MOVED or zap_running(block, state)):
        return 0, 0, 0
    marks = int(_marks(block, op, flags))
    if (
        place == MAP
        and order == "before"
        and block.slots[block.pages[op.page].slot].manual
        and marks
    ):
        return 0, 0, 1
    _, handled = _install(block, state[0], op, flags)
    late = place == MAP and handled and order != "before_lock"
    return int(handled), int(not handled), marks if late else 0


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
        return put(pages, op.page, page | perms), True
    if page & PRESENT and not block.knobs.map_overwrites:
        return pages, False
    kept = page & ~(PRESENT | WRITABLE | EXECUTABLE)
    return put(pages, op.page, kept | perms), True


def _marks(block: Block, op: Access, flags: int) -> bool:
    if not flags & _CAN_WRITE:
        return False
    return block.knobs.relax_marks or not flags & _PERM_FAULT


def _marked(block: Block, dirty: tuple[int, ...], op: Access, flags: int) -> tuple[int, ...]:
    ref = block.pages[op.page]
    if dirty[ref.slot] < 0 or not (flags & _LOGGING or block.knobs.marks_by_gfn):
        return dirty
    return put(dirty, ref.slot, dirty[ref.slot] | 1 << ref.offset)


def _mark_or_map(block: Block, state: State, lane: int, op: Access) -> State:
    """The second half of a map whose marking is a step of its own."""
    pages, words, dirty, gens, _ = state
    k, place, flags, _, _ = state[4][lane]
    if place == MARK:
        dirty = _marked(block, dirty, op, flags)
    else:
        pages, _ = _install(block, pages, op, flags)
    return pages, words, dirty, gens, goes(state, lane, (k, LOOK, 0, 0, 0))


def settled_access(block: Block, state: State, lane: int, op: Access) -> Move:
    """A whole access, faults and all, where nothing can take its leaf away again."""
    pages, _, dirty, _, _ = state
    page = pages[op.page]
    ref = block.pages[op.page]
    write = op.kind in ("w", "c")
    if not permits(page, op.kind):
        if _refused(page, write=write):
            return (*state[:4], done(state, lane)), _failed(op)
        logging = dirty[ref.slot] >= 0
        host = page & HOST_MASK
        if write and logging:
            dirty = put(dirty, ref.slot, dirty[ref.slot] | 1 << ref.offset)
        if write:
            host = HOST_ANON
        elif host == HOST_NONE:
            host = HOST_ZERO
        leaf = PRESENT | (EXECUTABLE if op.kind == "x" or block.dic else 0)
        readable = host == HOST_ANON and not logging and not page & NO_WRITE
        leaf |= WRITABLE if write or readable else 0
        pages = put(pages, op.page, page & ~HOST_MASK | host | leaf)
    return completed(state, lane, op, pages, dirty)


def _host_access(block: Block, state: State, lane: int, op: Access) -> list[Move]:
    pages = state[0]
    page = pages[op.page]
    if _refused(page, write=op.kind != "r"):
        return [((*state[:4], done(state, lane)), _failed(op))]
    host = page & HOST_MASK
    if op.kind == "r":
        if host == HOST_NONE:
            pages = put(pages, op.page, page | HOST_ZERO)
        return [completed(state, lane, op, pages, state[2])]
    if host == HOST_ZERO and page & LEAF:
        if lock_held(block, state, lane):
            return []
        page &= ~LEAF
    pages = put(pages, op.page, page & ~HOST_MASK | HOST_ANON)
    after, seen = completed(state, lane, op, pages, state[2])
    if host == HOST_ZERO:
        after = (*after[:4], all_move(block, after[4]))
    return [(after, seen)]
