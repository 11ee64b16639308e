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

from collections.abc import Callable
from typing import Any, Final

from reference_model.interleave_access import access
from reference_model.interleave_block import (
    HOST_NONE,
    LEAF,
    NO_ACCESS,
    NO_WRITE,
    ZAPPED,
    Access,
    Block,
    ClearLog,
    Evict,
    Fixed,
    GetLog,
    Protect,
    SetLogging,
    State,
    Zap,
)
from reference_model.interleave_log import clear_log, get_log, set_logging
from reference_model.interleave_state import Move, all_move, done, goes, lock_held, put
from reference_model.outcome import Observation


def moves(block: Block, state: State, lane: int) -> list[Move]:
    """Every step that the branch may take next; empty where it waits for another or is done."""
    at = state[4][lane]
    if at[0] >= len(block.lanes[lane]):
        return []
    op = block.lanes[lane][at[0]]
    return _MOVES[type(op)](block, state, lane, op)


# --- the host's memory ---------------------------------------------------------------------------


def _zap(block: Block, state: State, lane: int, op: Zap) -> list[Move]:
    """Unmapped everywhere first, then thrown away page by page."""
    pages, words, dirty, gens, _ = state
    k, place, _, _, _ = state[4][lane]
    if place == 0:
        if lock_held(block, state, lane):
            return []
        for page in op.pages:
            pages = put(pages, page, pages[page] & ~LEAF)
    if op.pages:
        page = op.pages[place]
        kept = pages[page] & (NO_ACCESS | NO_WRITE)
        pages = put(pages, page, ZAPPED | HOST_NONE | kept)
        words = tuple(
            0 if ref.page == page else word for word, ref in zip(words, block.words, strict=True)
        )
    if place + 1 < len(op.pages):
        lanes = goes(state, lane, (k, place + 1, 0, 0, 0))
        return [((pages, words, dirty, gens, all_move(block, lanes)), None)]
    lanes = all_move(block, done(state, lane))
    return [((pages, words, dirty, gens, lanes), Observation(ret=0))]


def _evict(block: Block, state: State, lane: int, op: Evict) -> list[Move]:
    if lock_held(block, state, lane):
        return []
    pages = state[0]
    for page in op.pages:
        pages = put(pages, page, pages[page] & ~LEAF)
    seen = Observation(ret=0)
    stayed = (*state[:4], done(state, lane))
    gone = (pages, *state[1:4], all_move(block, done(state, lane)))
    return [(stayed, seen), (gone, seen)]


def _protect(block: Block, state: State, lane: int, op: Protect) -> list[Move]:
    """mprotect: what is allowed changes, and what was mapped is unmapped."""
    if lock_held(block, state, lane):
        return []
    pages = state[0]
    for page in op.pages:
        kept = pages[page] & ~(LEAF | NO_ACCESS | NO_WRITE)
        pages = put(pages, page, kept | op.denied)
    after = (pages, *state[1:4], all_move(block, done(state, lane)))
    return [(after, Observation(ret=0))]


def _fixed(block: Block, state: State, lane: int, op: Fixed) -> list[Move]:
    return [((*state[:4], done(state, lane)), op.result)]


_MOVES: Final[dict[type[Any], Callable[[Block, State, int, Any], list[Move]]]] = {
    Access: access,
    GetLog: get_log,
    ClearLog: clear_log,
    SetLogging: set_logging,
    Zap: _zap,
    Evict: _evict,
    Protect: _protect,
    Fixed: _fixed,
}
