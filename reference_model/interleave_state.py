# SPDX-License-Identifier: GPL-2.0-only
"""Places inside an operation of a branch, and what one branch's step asks of the others."""

from __future__ import annotations

from typing import Final, TypeAlias

from reference_model.interleave_block import (
    Access,
    Block,
    ClearLog,
    GetLog,
    Lane,
    SetLogging,
    State,
    Zap,
)
from reference_model.outcome import Observation

#: The next state, and the observation of an operation that ended by the step.
Move: TypeAlias = tuple[State, Observation | None]

# Places inside an access.
LOOK: Final = 0
GET_PAGE: Final = 1
MAP: Final = 2
MARK: Final = 3
MAP_MARKED: Final = 4
# Bits of an access's first number: it must try again; it holds mmu_lock from one step to the next.
MOVED: Final = 8
SHARED: Final = 16
EXCLUSIVE: Final = 32


def goes(state: State, lane: int, place: Lane) -> tuple[Lane, ...]:
    """The branches with one of them at another place."""
    lanes = state[4]
    return (*lanes[:lane], place, *lanes[lane + 1 :])


def done(state: State, lane: int) -> tuple[Lane, ...]:
    """The branches with one of them at its next operation."""
    return goes(state, lane, (state[4][lane][0] + 1, 0, 0, 0, 0))


def put(numbers: tuple[int, ...], at: int, value: int) -> tuple[int, ...]:
    """The numbers with one of them changed."""
    return (*numbers[:at], value, *numbers[at + 1 :])


def lock_held(block: Block, state: State, lane: int) -> int:
    """How others hold mmu_lock: 0, SHARED or EXCLUSIVE."""
    held = 0
    for other, at in enumerate(state[4]):
        if other != lane and at[1] in (MARK, MAP_MARKED):
            ops = block.lanes[other]
            if at[0] < len(ops) and isinstance(ops[at[0]], Access):
                held |= at[2] & (SHARED | EXCLUSIVE)
    return held


def ioctl_running(block: Block, state: State, lane: int) -> bool:
    """slots_lock: another branch is inside an ioctl that takes it."""
    return any(
        at[1]
        and other != lane
        and at[0] < len(block.lanes[other])
        and isinstance(block.lanes[other][at[0]], (GetLog, ClearLog, SetLogging))
        for other, at in enumerate(state[4])
    )


def zap_running(block: Block, state: State) -> bool:
    """True while a branch throws pages away: faults wait for its end."""
    return any(
        at[1] and at[0] < len(block.lanes[other]) and isinstance(block.lanes[other][at[0]], Zap)
        for other, at in enumerate(state[4])
    )


def all_move(block: Block, lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
    """The invalidation sequence moved: faults that sampled it will try again."""
    return tuple(
        (k, place, a | MOVED, b, c)
        if place == MAP and k < len(block.lanes[i]) and isinstance(block.lanes[i][k], Access)
        else (k, place, a, b, c)
        for i, (k, place, a, b, c) in enumerate(lanes)
    )
