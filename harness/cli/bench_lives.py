# SPDX-License-Identifier: GPL-2.0-only
"""Rates of scenarios beside those of a bare loop of VM life cycles in the same guests."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import UnionType

from msgspec import Struct

from harness.campaign import TargetPlan
from harness.cli.figures import Figure
from harness.targets import Target
from harness.targets import run as run_program
from harness.toolchain import build_lifecycle
from harness.vocabulary import TargetError
from reference_model.scenario import Scenario, SlotAdd, SlotDelete, SlotFlags, SlotMove, VcpuOp

#: VMs in the bare loop, and seconds after which it is given up.
_LIVES = 200
_LIVES_TIMEOUT = 120.0
#: Slots that the selftest makes for itself in each VM.
_OWN_SLOTS = 1


class _Loop(Struct, frozen=True):
    """A bare loop: slots of a life, its entries, and the pages that each of them writes."""

    name: str
    goal: str
    slots: int
    entries: int
    pages: int


_SMALL = _Loop("bare VM life cycles", "at least 0.5; 100 scenarios/s on 2 cores", 1, 1, 16)


class Ceiling:
    """What a bare loop of VM life cycles makes in the guests that run a campaign.

    Begun before the campaign; what is measured after it counts as much, since the speed of a
    machine that others use too changes from minute to minute.
    """

    def __init__(self, guests: Sequence[Target], scenarios: Sequence[Scenario]) -> None:
        self._guests = guests
        self._loops = (_SMALL, _as_large_as(scenarios))
        self._before = [_all_lives(guests, 1, loop) for loop in self._loops]

    def figures(self, plan: TargetPlan, rate: float) -> list[Figure]:
        """Scenarios a second over the bare loop's rate, for each body of the loop."""
        how = f"warm, --lanes {plan.lanes}" if plan.lanes > 1 else "warm"
        figures: list[Figure] = []
        for loop, before in zip(self._loops, self._before, strict=True):
            lives = (before + _all_lives(self._guests, 1, loop)) / 2
            detail = f"{rate:.0f} scenarios/s / {lives:.0f} VMs/s on {len(self._guests)} guest(s)"
            if plan.lanes > 1:
                more = _all_lives(self._guests, plan.lanes, loop)
                detail += (
                    f" by one bare loop; {plan.lanes} loops at once make {more:.0f} VMs/s, "
                    f"a ratio of {rate / more:.2f}"
                )
            title = f"{plan.label}: guest, scenarios/s / {loop.name}/s, {how}"
            figures.append(Figure(title, rate / lives, loop.goal, detail))
        return figures


def _as_large_as(scenarios: Sequence[Scenario]) -> _Loop:
    """A life with as many changes of slots and entries as a scenario has; a page for each entry."""
    slots = _OWN_SLOTS + _mean_steps(scenarios, SlotAdd | SlotFlags | SlotMove | SlotDelete)
    entries = _mean_steps(scenarios, VcpuOp)
    return _Loop(f"bare lives of {slots} slots and {entries} entries", "", slots, entries, 1)


def _mean_steps(scenarios: Sequence[Scenario], kind: type | UnionType) -> int:
    """Steps of a kind that a scenario has, rounded down, and one at least."""
    found = sum(isinstance(step, kind) for one in scenarios for step in one.steps)
    return max(1, found // len(scenarios))


def _all_lives(guests: Sequence[Target], loops: int, loop: _Loop) -> float:
    """VM life cycles a second with so many loops at once in each guest."""
    words = [str(number) for number in (_LIVES, loop.slots, loop.entries, loop.pages)]
    if loops > 1:
        words.append("beside")  # without it they stand still now and then: docs/guests.md
    programs = [(guest, [guest.put(build_lifecycle(), "lifecycle"), *words]) for guest in guests]
    with ThreadPoolExecutor(len(guests) * loops) as pool:
        return sum(pool.map(_lives, programs * loops))


def _lives(what: tuple[Target, list[str]]) -> float:
    """VM life cycles a second of one loop in a guest."""
    guest, command = what
    lines: list[str] = []
    status = run_program(guest, command, timeout=_LIVES_TIMEOUT, on_line=lines.append)
    words = lines[-1].split() if lines else []
    if status or len(words) != 3:
        raise TargetError(f"{guest.info.name}: lifecycle ended with {status}: {' '.join(words)}")
    return int(words[1]) / int(words[2]) * 1e6
