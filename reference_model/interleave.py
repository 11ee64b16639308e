# SPDX-License-Identifier: GPL-2.0-only
"""Every outcome of a parallel block: an exhaustive search of its branches' atomic steps.

The search is over states, not orders: what follows from a state does not depend on how it was
reached, so each state is looked at once, and an outcome is put together from its end. Partial-order
reduction: where one branch's next step neither changes nor meets anything that another may still
touch, only that step is taken. Where nothing can take a page's leaf away any more (no dirty-log
ioctl, no flag change of its slot, no zap is left in any branch), a whole access, faults and all, is
one step: the leaf only gains permissions, so who faults first shows in nothing but the number of
faults.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import reduce
from typing import Final, Generic, TypeAlias, TypeVar

from msgspec import UNSET, Struct

from reference_model.interleave_access import permits, settled_access
from reference_model.interleave_block import (
    HOST_ANON,
    HOST_MASK,
    LEAF,
    STALE_WRITABLE,
    Access,
    Block,
    BranchOp,
    ClearLog,
    Fixed,
    GetLog,
    Protect,
    SetLogging,
    State,
    Zap,
)
from reference_model.interleave_state import GET_PAGE, LOOK, MARK, Move
from reference_model.interleave_steps import moves
from reference_model.outcome import Observation

_Thing = TypeVar("_Thing")
_QUIET: Final = ((None, None), (UNSET, UNSET))
_WHOLE: Final = (1 << 64) - 1
#: States (and outcomes) after which the search gives up.
MAX_STATES: Final = 400_000
MAX_OUTCOMES: Final = 20_000

#: Pages, words and dirty bitmaps when every branch is done.
EndState: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
#: One outcome as a number: the number of its end state, then of each operation's observation.
_Outcome: TypeAlias = int
_END_BITS: Final = 24
_SEEN_BITS: Final = 12


class TooManyStatesError(ValueError):
    """The block has more states or outcomes than a search can go through."""


class BlockEnd(Struct, frozen=True):
    """What each operation of each branch showed, and the state behind it."""

    branches: tuple[tuple[Observation, ...], ...]
    state: EndState


def block_ends(block: Block, *, reduce: bool = True) -> tuple[BlockEnd, ...]:
    """Every (observations, end state) that some order of the atomic steps leads to.

    ``reduce`` False searches every order of every step: the check of the reduction. The result's
    order is stable. TooManyStatesError where the block is too large.
    """
    return _Search(block, reduce).ends()


class _Footprint(Struct, frozen=True):
    """What the rest of a branch may touch, as bit masks over words, pages and slots."""

    words_read: int = 0
    words_written: int = 0
    #: Pages that may be unmapped; and those whose content or protection may change with it.
    unmapped: int = 0
    zapped: int = 0
    #: Slots whose dirty log is read or cleared, or whose logging is switched; and those switched.
    logs: int = 0
    switched: int = 0
    #: Pages that guests access.
    pages: int = 0
    #: Something that is no plain store of a whole word by a guest.
    others: int = 0

    @property
    def only_stores(self) -> bool:
        """True where nothing but stores by guests to one and the same whole word is left."""
        return not self.others and self.words_written.bit_count() == 1


def _footprint(block: Block, op: BranchOp) -> _Footprint:
    if isinstance(op, Access):
        word, page = 1 << op.word, 1 << op.page
        writes = op.kind in ("w", "c")
        return _Footprint(
            words_read=0 if op.kind == "w" else word,
            words_written=word if writes else 0,
            unmapped=page if op.host and writes else 0,
            pages=0 if op.host else page,
            others=int(op.host or op.kind != "w" or op.mask != _WHOLE),
        )
    if isinstance(op, (GetLog, ClearLog)):
        return _Footprint(logs=1 << op.slot, others=1)
    if isinstance(op, SetLogging):
        return _Footprint(logs=1 << op.slot, switched=1 << op.slot, others=1)
    if isinstance(op, Fixed):
        return _Footprint()
    mask = sum(1 << page for page in op.pages)
    if isinstance(op, Protect):
        return _Footprint(unmapped=mask, zapped=mask, others=1)
    if not isinstance(op, Zap):
        return _Footprint(unmapped=mask, others=1)
    words = sum(1 << at for at, word in enumerate(block.words) if word.page in op.pages)
    return _Footprint(words_written=words, unmapped=mask, zapped=mask, others=1)


class _Ahead(Struct, frozen=True):
    """What is left for branches that stand at given operations."""

    #: Per branch, what all others may touch; and what anybody may.
    others: tuple[_Footprint, ...]
    anybody: _Footprint


def _union(first: _Footprint, second: _Footprint) -> _Footprint:
    return _Footprint(
        *(getattr(first, name) | getattr(second, name) for name in _Footprint.__struct_fields__)
    )


class _Numbers(Generic[_Thing]):
    """Things by number, equal ones once."""

    def __init__(self, most: int) -> None:
        self.things: list[_Thing] = []
        self._known: dict[Hashable, int] = {}
        self._most = most

    def number(self, key: Hashable, thing: _Thing) -> int:
        """The number of a thing that ``key`` tells from all others."""
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = len(self.things)
            self.things.append(thing)
            if found >= self._most:
                raise TooManyStatesError(f"more than {self._most} observations")
        return found


def _observation_key(seen: Observation) -> Hashable:
    told = (seen.exit, seen.injected)
    rest = None if told in _QUIET else repr(told)
    return seen.ret, seen.data, seen.dirty, rest, told == _QUIET[0]


class _Search:
    def __init__(self, block: Block, reduced: bool) -> None:
        self._block = block
        self._reduce = reduced
        self._memo: dict[State, frozenset[_Outcome]] = {}
        self._open: set[State] = set()
        self._ahead: dict[tuple[int, ...], _Ahead] = {}
        self._seen = _Numbers[Observation](1 << _SEEN_BITS)
        self._ends = _Numbers[EndState](1 << _END_BITS)
        self._rests = [self._rests_of(lane) for lane in block.lanes]
        sizes = [len(lane) for lane in block.lanes]
        #: Where each branch's observations begin in an outcome.
        self._places = [_END_BITS + _SEEN_BITS * sum(sizes[:lane]) for lane in range(len(sizes))]

    def ends(self) -> tuple[BlockEnd, ...]:
        return tuple(map(self._decoded, sorted(self._explore(self._block.first_state()))))

    def _decoded(self, outcome: _Outcome) -> BlockEnd:
        branches = tuple(
            tuple(
                self._seen.things[outcome >> place + _SEEN_BITS * at & ((1 << _SEEN_BITS) - 1)]
                for at in range(len(lane))
            )
            for place, lane in zip(self._places, self._block.lanes, strict=True)
        )
        return BlockEnd(branches, self._ends.things[outcome & ((1 << _END_BITS) - 1)])

    def _told(self, state: State, lane: int, seen: Observation) -> int:
        """What an operation that ends in a state's next step adds to each outcome behind it."""
        number = self._seen.number(_observation_key(seen), seen)
        return number << self._places[lane] + _SEEN_BITS * state[4][lane][0]

    def _rests_of(self, lane: tuple[BranchOp, ...]) -> list[_Footprint]:
        """Per place in a branch, what it and all behind it may touch."""
        rests = [_Footprint()]
        for op in reversed(lane):
            rests.append(_union(_footprint(self._block, op), rests[-1]))
        return rests[::-1]

    # --- the search --------------------------------------------------------------------------

    def _explore(self, start: State) -> frozenset[_Outcome]:
        """What may follow from a state: the rest of each branch's observations, and the end."""
        known = self._memo.get(start)
        if known is not None:
            return known
        # Steps that stand alone are taken in a row, without a level of recursion each.
        trail: list[tuple[State, int]] = []
        state = start
        while True:
            steps = self._steps(state)
            if len(steps) != 1 or steps[0][1] in self._memo:
                break
            lane, after, seen = steps[0]
            trail.append((state, 0 if seen is None else self._told(state, lane, seen)))
            state = after
        found = self._memo.get(state)
        if found is None:
            found = self._branching(state, steps)
        self._keep(state, found)
        for before, told in reversed(trail):
            if told:
                found = frozenset([told + one for one in found])
            self._keep(before, found)
        return found

    def _branching(
        self, state: State, steps: list[tuple[int, State, Observation | None]]
    ) -> frozenset[_Outcome]:
        if not steps:
            self._check_ended(state)
            words = tuple(-1 - word if word < 0 else word for word in state[1])
            end = (state[0], words, state[2])
            return frozenset({self._ends.number(end, end)})
        if state in self._open:
            raise AssertionError("the atomic steps go round in a circle")
        self._open.add(state)
        union: set[_Outcome] = set()
        for lane, after, seen in steps:
            found = self._explore(after)
            told = 0 if seen is None else self._told(state, lane, seen)
            union.update([told + one for one in found] if told else found)
            if len(union) > MAX_OUTCOMES:
                raise TooManyStatesError(f"more than {MAX_OUTCOMES} outcomes")
        self._open.discard(state)
        return frozenset(union)

    def _keep(self, state: State, found: frozenset[_Outcome]) -> None:
        self._memo[state] = found
        if len(self._memo) > MAX_STATES:
            raise TooManyStatesError(f"more than {MAX_STATES} states")

    def _check_ended(self, state: State) -> None:
        for lane, at in enumerate(state[4]):
            if at[0] < len(self._block.lanes[lane]):
                raise AssertionError(f"branch {lane} waits for ever at {at}")

    # --- what must be looked at --------------------------------------------------------------

    def _look_ahead(self, state: State) -> _Ahead:
        key = tuple(at[0] for at in state[4])
        found = self._ahead.get(key)
        if found is None:
            rests = [self._rests[lane][at] for lane, at in enumerate(key)]
            others = tuple(
                reduce(_union, rests[:lane] + rests[lane + 1 :], _Footprint())
                for lane in range(len(rests))
            )
            found = self._ahead[key] = _Ahead(others, reduce(_union, rests, _Footprint()))
        return found

    def _steps(self, state: State) -> list[tuple[int, State, Observation | None]]:
        """The next steps that have to be looked at: one branch's, where it stands alone."""
        found: list[tuple[int, State, Observation | None]] = []
        ahead = self._look_ahead(state)
        for lane in range(len(state[4])):
            own, alone = self._lane_steps(state, lane, ahead)
            if own and alone:
                found = []
            for after, seen in own:
                # Only where an operation ended can a page have had its last access.
                found.append((lane, after if seen is None else self._forget(after), seen))
            if own and alone:
                break
        return found

    def _forget(self, state: State) -> State:
        """Leaves of pages that no guest will touch any more cannot be told apart."""
        if not self._reduce:
            return state
        touched = self._look_ahead(state).anybody.pages
        pages = tuple(
            page if touched >> at & 1 else page & ~LEAF for at, page in enumerate(state[0])
        )
        return pages, *state[1:]

    def _lane_steps(self, state: State, lane: int, ahead: _Ahead) -> tuple[list[Move], bool]:
        """A branch's next steps, and whether nobody else can tell when they are taken."""
        at = state[4][lane]
        ops = self._block.lanes[lane]
        if at[0] >= len(ops):
            return [], False
        op = ops[at[0]]
        if not self._reduce:
            return moves(self._block, state, lane), False
        others = ahead.others[lane]
        if isinstance(op, Fixed):
            return moves(self._block, state, lane), True
        if not isinstance(op, Access):
            return moves(self._block, state, lane), others == _Footprint()
        if op.host:
            plain = state[0][op.page] & HOST_MASK == HOST_ANON and not others.zapped >> op.page & 1
            return moves(self._block, state, lane), plain and _words_apart(op, others)
        if at[1] == LOOK and self._settled(state, op, ahead.anybody):
            move = settled_access(self._block, state, lane, op)
            if ahead.anybody.only_stores:
                later = self._rests[lane][at[0] + 1]
                return _last_stores(state, op, move, later, others), True
            return [move], _words_apart(op, others)
        return moves(self._block, state, lane), self._hidden(state, at[1], op, others)

    def _settled(self, state: State, op: Access, anybody: _Footprint) -> bool:
        """Nothing that is left anywhere can tell this access's faults from any others.

        For a store: no ioctl takes the leaf away or looks at the dirty bit. For a load of a
        logged page too, where it cannot write over another's permissions: its own are the least.
        """
        slot = self._block.pages[op.page].slot
        knobs = self._block.knobs
        if not knobs.sound or (anybody.zapped >> op.page | anybody.switched >> slot) & 1:
            return False
        if op.kind in ("r", "x") and not knobs.map_overwrites:
            return True
        return not anybody.logs >> slot & 1

    def _hidden(self, state: State, place: int, op: Access, others: _Footprint) -> bool:
        """A step inside a fault that nobody else's steps depend on."""
        page = state[0][op.page]
        slot = self._block.pages[op.page].slot
        if others.zapped >> op.page & 1 or not self._block.knobs.sound:
            return False
        if place == LOOK:
            barred = not permits(page, op.kind) and not page & STALE_WRITABLE
            mine = not (others.pages | others.unmapped) >> op.page & 1
            return barred and mine and not others.switched >> slot & 1
        if place == GET_PAGE:
            return page & HOST_MASK == HOST_ANON
        if place == MARK:
            return not others.logs >> slot & 1
        return False


def _last_stores(
    state: State, op: Access, move: Move, later: _Footprint, others: _Footprint
) -> list[Move]:
    """Where only stores to one word are left, each branch's last one may be the one that stays.

    Nobody reads any more, so their order shows in nothing else: a store either stays (the word is
    settled, as -1 - value), or another that is still to come does. This is the summary that makes
    blocks of many vCPUs on one word small. ``later``: what the branch itself has left.
    """
    after, seen = move
    words = state[1]
    again = later.words_written >> op.word & 1
    found: list[Move] = []
    if words[op.word] < 0 or again or others.words_written >> op.word & 1:
        found.append(((after[0], words, *after[2:]), seen))
    if words[op.word] >= 0 and not again:
        settled = list(words)
        settled[op.word] = -1 - after[1][op.word]
        found.append(((after[0], tuple(settled), *after[2:]), seen))
    return found


def _words_apart(op: Access, others: _Footprint) -> bool:
    touched = others.words_written
    if op.kind in ("w", "c"):
        touched |= others.words_read
    return not touched >> op.word & 1
