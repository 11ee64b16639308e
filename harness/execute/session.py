# SPDX-License-Identifier: GPL-2.0-only
"""One session: one start of a batch program, read until it ends, goes silent or is lost."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterator, Sequence
from threading import Event

from msgspec import Struct

from harness.execute.console_tap import ConsoleTap
from harness.execute.records import Records
from harness.targets import Command, Target
from harness.vocabulary import ScenarioRun, TargetError

#: Longest single wait, so that a request to stop is seen soon.
_SLICE = 0.1
#: A wait that takes so many seconds more says that the machine stood still (suspended, or a
#: virtual machine that was not run).
_STANDSTILL = 2.0


class End(enum.Enum):
    """How a session ended."""

    #: The program ended by itself.
    EXIT = "exit"
    #: No scenario started or ended for too long.
    SILENT = "silent"
    #: The link broke, or the program could not be started.
    LOST = "lost"
    #: The caller asked to stop.
    STOPPED = "stopped"
    #: The output is not that of the batch.
    FOREIGN = "foreign"


class Ended(Struct, frozen=True):
    """How a session ended, with the exit status or the error in one line."""

    end: End
    detail: str = ""
    status: int | None = None


class Session:
    """Runs ``argv`` on a target and gives out each scenario as it ends.

    ``silence``: seconds without a start or an end of a scenario before it is given up.
    ``console``: the records come over the target's console, if it has one.
    """

    def __init__(
        self,
        target: Target,
        argv: Sequence[str],
        ids: Sequence[str],
        *,
        silence: float,
        stop: Event | None = None,
        console: bool = False,
    ) -> None:
        self._target = target
        self._argv = argv
        self._silence = silence
        self._stop = stop
        self._console = console and bool(target.console)
        self.records = Records(ids)
        #: Set once :meth:`runs` is exhausted.
        self.ended = Ended(End.STOPPED)
        #: Kernel log that came in between the records (``console`` only).
        self.log: list[str] = []

    def runs(self) -> Iterator[tuple[int, ScenarioRun] | None]:
        """Ended scenarios in order, each once, None when nothing came for a moment.

        :attr:`ended` tells the rest.
        """
        try:
            command = self._start()
        except TargetError as error:
            self.ended = Ended(End.LOST, str(error))
            return
        try:
            yield from self._read(command)
        except TargetError as error:
            self.ended = Ended(End.LOST, str(error))
        finally:
            command.close()

    def _start(self) -> Command:
        if not self._console:
            return self._target.start(self._argv)
        tap = ConsoleTap(self._target, self._argv)
        self.log = tap.log
        return tap

    def _read(self, command: Command) -> Iterator[tuple[int, ScenarioRun] | None]:
        progress = 0
        deadline = time.monotonic() + self._silence
        while True:
            if self._stop is not None and self._stop.is_set():
                self.ended = Ended(End.STOPPED)
                return
            now = time.monotonic()
            if now >= deadline:
                self.ended = Ended(End.SILENT, f"no sign of life for {self._silence:g} s")
                return
            wait = min(_SLICE, deadline - now)
            lines = command.read(wait)
            # A machine that stood still, and the target with it, heard nothing for that reason.
            late = time.monotonic() - now - wait
            deadline += late if late > _STANDSTILL else 0.0
            if lines is None:
                self.ended = Ended(End.EXIT, status=command.status)
                return
            if not lines:
                given = time.monotonic()
                yield None
                deadline += time.monotonic() - given
            for line in lines:
                yield from self.records.feed(line)
                if self.records.refusal:
                    self.ended = Ended(End.FOREIGN, self.records.refusal)
                    return
            if self.records.progress != progress:
                progress = self.records.progress
                # The consumer's own time does not count as the target's silence.
                deadline = time.monotonic() + self._silence
