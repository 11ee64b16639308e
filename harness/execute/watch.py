# SPDX-License-Identifier: GPL-2.0-only
"""Which scenarios a splat may belong to, when the kernel lived on.

The log reaches us beside the records: a little later, or, where sshd is slow to send what the
program wrote, some records earlier. So a splat that is seen when a scenario ends may be its own,
that of some before, or of some whose records are on their way. A run is let go only once a later
one ended, or a moment passed, with nothing in the log; those around a splat are suspects. One that
says itself that the kernel warned while it ran (kselftests/klog.h) is always one.
"""

from __future__ import annotations

import math
import time
from collections import deque

from msgspec import Struct

from harness.targets import Target, find_splats
from harness.vocabulary import ScenarioRun

#: Log lines kept for one splat and what follows it.
MAX_LOG = 2000
#: Seconds that the log can be behind the records (kernels that print in a thread, since 6.12).
_BEHIND = 0.2
#: Seconds that records can be behind the log, while others keep coming.
_ON_THEIR_WAY = 1.0
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
        #: Runs that may yet be accused, with the time at which they ended.
        self._held: deque[tuple[float, IndexedRun]] = deque()
        #: Runs that end before this time are suspects; the next one is whenever it ends.
        self._accused_until = 0.0
        self._accused_next = False
        self._dying: _Dying | None = None
        #: Runs during which a splat may have come, by index.
        self.suspects: dict[int, ScenarioRun] = {}
        #: The log from the first splat that is not cleared up yet.
        self.log: list[str] = []
        target.kernel_log()  # what was before is nobody's here

    def ended(self, index: int, run: ScenarioRun) -> list[IndexedRun]:
        """A scenario ended; the runs that may be let go now."""
        now = time.monotonic()
        lines = self._target.kernel_log()
        if (dying := self._last_words(lines)) is not None:
            dying.runs += [*self._take(), (index, run)]
            return []
        if self._look(lines):
            self._accuse([*self._take(), (index, run)])
            return []
        if run.warned:
            # Whatever it was, it stands in the log by the time that all of it has come.
            self._accuse([(index, run)])
            return self._take(until=now - _BEHIND)
        if self._accused_next or now < self._accused_until:
            self._accused_next = False
            self._accuse([(index, run)])
            return []
        free = self._take(until=now - _BEHIND)
        self._held.append((now, (index, run)))
        return free

    def idle(self) -> list[IndexedRun]:
        """Nothing came for a moment, so log and records have caught up: the runs to let go now."""
        self._accused_until = 0.0
        if not self._held or self._dying is not None:
            return []
        lines = self._target.kernel_log()
        if (dying := self._last_words(lines)) is not None:
            dying.runs += self._take()
            return []
        if self._look(lines):
            self._accuse(self._take())
            return []
        return self._take()

    def settle(self, *, wait: bool) -> list[IndexedRun]:
        """The session ended well; the runs that may be let go now.

        ``wait``: for the rest of the log, in which there may be something.
        """
        self._survived()
        came = self._look(self._target.kernel_log(settle=wait))
        self._accused_next, self._accused_until = False, 0.0
        if came:
            self._accuse(self._take())
        return self._take()

    def death(self, *, alive: bool) -> tuple[list[IndexedRun], tuple[str, ...]]:
        """The session did not end well: the runs to let go, and the log that belongs to the death.

        That is the business of the scenario that ran, so it makes no suspects, also if its first
        lines came while records of earlier scenarios were still on their way.
        """
        lines = self._target.kernel_log(settle=alive)
        dying, self._dying = self._dying, None
        self._accused_next, self._accused_until = False, 0.0
        if dying is None:
            return self._take(), lines
        return [*dying.runs, *self._take()], (*dying.lines, *lines)

    def cleared(self) -> None:
        """The suspects have been dealt with."""
        self.suspects.clear()
        self.log.clear()

    def _take(self, until: float = math.inf) -> list[IndexedRun]:
        """The held runs that ended before a time; they are held no more."""
        taken = []
        while self._held and self._held[0][0] <= until:
            taken.append(self._held.popleft()[1])
        return taken

    def _accuse(self, runs: list[IndexedRun]) -> None:
        self.suspects.update(runs)

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
            self._dying = None

    def _look(self, lines: tuple[str, ...]) -> bool:
        """Take in log lines; whether there is a splat among them."""
        came = bool(lines) and bool(find_splats(lines))
        if came or self.log:
            self.log.extend(lines[: MAX_LOG - len(self.log)])
        if came:
            self._accused_next = True
            self._accused_until = time.monotonic() + _ON_THEIR_WAY
        return came
