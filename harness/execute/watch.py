# SPDX-License-Identifier: GPL-2.0-only
"""Which scenarios a splat may belong to, when the kernel lived on.

The log reaches us beside the records and a little later, so a splat that is seen when a scenario
ends may be its own, that of the one before, or of the one that has just started. A run is let go
only once the next one ended, or a moment passed, with nothing in the log; the others are suspects.
"""

from __future__ import annotations

from typing import NamedTuple

from harness.targets import Splat, Target, find_splats
from harness.vocabulary import ScenarioRun

#: Log lines kept for one splat and what follows it.
MAX_LOG = 2000

IndexedRun = tuple[int, ScenarioRun]


class _Look(NamedTuple):
    """One look at the log: its lines, the length of the kept log before, whom it accused."""

    lines: tuple[str, ...]
    length: int
    added: list[IndexedRun]


class LogWatch:
    """Reads the kernel log at the end of every scenario and holds back what it may concern."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._held: IndexedRun | None = None
        self._accused = False
        self._latest: _Look | None = None
        #: Runs during which a splat may have come, by index.
        self.suspects: dict[int, ScenarioRun] = {}
        #: The log from the first splat that is not cleared up yet.
        self.log: list[str] = []
        target.kernel_log()  # what was before is nobody's here

    @property
    def splats(self) -> tuple[Splat, ...]:
        """The splats that are not cleared up yet."""
        return find_splats(self.log)

    def ended(self, index: int, run: ScenarioRun) -> list[IndexedRun]:
        """A scenario ended; the runs that may be let go now."""
        lines = self._target.kernel_log()
        length = len(self.log)
        came = self._look(lines)
        accused, self._accused = self._accused or came, came
        free: list[IndexedRun] = []
        added: list[IndexedRun] = []
        if self._held is not None:
            (added if came else free).append(self._held)
        self._held = None
        if accused:
            added.append((index, run))
        else:
            self._held = (index, run)
        self.suspects.update(added)
        self._latest = _Look(lines, length, added)
        return free

    def idle(self) -> list[IndexedRun]:
        """Nothing came for a moment, so the log has caught up: the run that may be let go now."""
        if self._held is None:
            return []
        came = self._look(self._target.kernel_log())
        held, self._held = self._held, None
        if came:
            self._accused = True
            self.suspects[held[0]] = held[1]
            return []
        return [held]

    def settle(self, *, alive: bool) -> list[IndexedRun]:
        """The session is over: wait for the rest of the log; the run that may be let go now."""
        came = self._look(self._target.kernel_log(settle=alive))
        held, self._held = self._held, None
        self._accused = False
        if held is None:
            return []
        if came:
            self.suspects[held[0]] = held[1]
            return []
        return [held]

    def death(self, *, alive: bool) -> tuple[list[IndexedRun], tuple[str, ...]]:
        """The session did not end well: the runs to let go, and the log that belongs to the death.

        That is the business of the scenario that ran, so it makes no suspects; if its first lines
        had come with the last look already, those whom that look accused are let go.
        """
        held, self._held = self._held, None
        self._accused = False
        free = [] if held is None else [held]
        lines = self._target.kernel_log(settle=alive)
        latest, self._latest = self._latest, None
        if latest is not None and any(splat.kind.fatal for splat in find_splats(latest.lines)):
            lines = (*latest.lines, *lines)
            del self.log[latest.length :]
            for index, _ in latest.added:
                del self.suspects[index]
            free = [*latest.added, *free]
        return free, lines

    def cleared(self) -> None:
        """The suspects have been dealt with."""
        self.suspects.clear()
        self.log.clear()

    def _look(self, lines: tuple[str, ...]) -> bool:
        """Take in log lines; whether there is a splat among them."""
        came = bool(lines) and bool(find_splats(lines))
        if came or self.log:
            self.log.extend(lines[: MAX_LOG - len(self.log)])
        return came
