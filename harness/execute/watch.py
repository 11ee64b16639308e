# SPDX-License-Identifier: GPL-2.0-only
"""Which scenarios a splat may belong to, when the kernel lived on.

The log reaches us beside the records and a little later, so a splat that is seen when a scenario
ends may be its own, that of the one before, or of the one that has just started. A run is let go
only once the next one ended, or a moment passed, with nothing in the log; the others are suspects.
"""

from __future__ import annotations

import time

from msgspec import Struct

from harness.targets import Splat, Target, find_splats
from harness.vocabulary import ScenarioRun

#: Log lines kept for one splat and what follows it.
MAX_LOG = 2000
#: Seconds that a kernel can live on after its fatal splat began before it counts as survived.
_DYING = 2.0

IndexedRun = tuple[int, ScenarioRun]


class _Dying(Struct):
    """A kernel that seems to die: its last words, the runs that ended meanwhile, and until when."""

    lines: list[str]
    runs: list[IndexedRun]
    until: float


class LogWatch:
    """Reads the kernel log at the end of every scenario and holds back what it may concern."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._held: IndexedRun | None = None
        self._accused = False
        self._dying: _Dying | None = None
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
        held, self._held = self._held, None
        if (dying := self._last_words(lines)) is not None:
            dying.runs += [held, (index, run)] if held else [(index, run)]
            return []
        came = self._look(lines)
        accused, self._accused = self._accused or came, came
        if accused:
            self.suspects[index] = run
        else:
            self._held = (index, run)
        if held is not None and came:
            self.suspects[held[0]] = held[1]
            held = None
        return [] if held is None else [held]

    def idle(self) -> list[IndexedRun]:
        """Nothing came for a moment, so the log has caught up: the run that may be let go now."""
        if self._held is None or self._dying is not None:
            return []
        index, run = self._held
        lines = self._target.kernel_log()
        self._held = None
        if (dying := self._last_words(lines)) is not None:
            dying.runs.append((index, run))
            return []
        if self._look(lines):
            self._accused = True
            self.suspects[index] = run
            return []
        return [(index, run)]

    def settle(self, *, alive: bool) -> list[IndexedRun]:
        """The session ended well: wait for the rest of the log; the run that may be let go now."""
        self._survived()
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

        That is the business of the scenario that ran, so it makes no suspects, also if its first
        lines came while records of earlier scenarios were still on their way.
        """
        lines = self._target.kernel_log(settle=alive)
        held, self._held = self._held, None
        dying, self._dying = self._dying, None
        self._accused = False
        free = [] if held is None else [held]
        if dying is None:
            return free, lines
        return [*dying.runs, *free], (*dying.lines, *lines)

    def cleared(self) -> None:
        """The suspects have been dealt with."""
        self.suspects.clear()
        self.log.clear()

    def _last_words(self, lines: tuple[str, ...]) -> _Dying | None:
        """Where a fatal splat has come just now or a moment ago: its log, and whom it may mean."""
        if self._dying is not None and time.monotonic() > self._dying.until:
            self._survived()
        if self._dying is not None:
            self._dying.lines += lines
        elif lines and any(splat.kind.fatal for splat in find_splats(lines)):
            self._dying = _Dying(list(lines), [], time.monotonic() + _DYING)
        return self._dying

    def _survived(self) -> None:
        """The kernel goes on after what looked like its end: an oops that killed a task."""
        if self._dying is not None:
            self._look(tuple(self._dying.lines))
            self.suspects.update(self._dying.runs)
            self._accused = True
            self._dying = None

    def _look(self, lines: tuple[str, ...]) -> bool:
        """Take in log lines; whether there is a splat among them."""
        came = bool(lines) and bool(find_splats(lines))
        if came or self.log:
            self.log.extend(lines[: MAX_LOG - len(self.log)])
        return came
