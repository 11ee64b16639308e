# SPDX-License-Identifier: GPL-2.0-only
"""Where more than one outcome is right: a step is run once for each way it may go.

The model asks :meth:`Chooser.pick` at such a point. The chooser answers from a script and, past its
end, with the first way; the driver in :mod:`reference_model.guest_machine` then runs the step
again, from a copy of the state, for every other way.
"""

from __future__ import annotations


class Chooser:
    """Answers of one run of a step."""

    def __init__(self) -> None:
        self._script: tuple[int, ...] = ()
        #: (way taken, number of ways) of every question so far.
        self.taken: list[tuple[int, int]] = []

    def start(self, script: tuple[int, ...]) -> None:
        """Before a run: its first answers."""
        self._script = script
        self.taken = []

    def pick(self, ways: int) -> int:
        """One of ``ways`` outcomes, 0 the likeliest."""
        at = len(self.taken)
        way = self._script[at] if at < len(self._script) else 0
        self.taken.append((way, ways))
        return way

    def others(self) -> list[tuple[int, ...]]:
        """Scripts of the ways not taken since the script's end."""
        done = tuple(way for way, _ in self.taken)
        return [
            (*done[:at], other)
            for at in range(len(self._script), len(done))
            for other in range(1, self.taken[at][1])
        ]
