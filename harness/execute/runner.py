# SPDX-License-Identifier: GPL-2.0-only
"""One batch program on one target: how it is started, and how the target is replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from weakref import WeakKeyDictionary

from harness.execute.session import Session
from harness.targets import Target
from harness.vocabulary import BatchProgram, TargetError

#: Seconds beyond a scenario's own time limit before silence means that the target is dead.
MARGIN = 10.0

Notice = Callable[[str], None]

#: What stands beside the programs on each target: of which local file each name is a copy.
_there: WeakKeyDictionary[Target, dict[str, Path]] = WeakKeyDictionary()


class Runner:
    """Starts sessions; knows whether the program is on the target, and whether to stop."""

    def __init__(
        self,
        target: Target,
        batch: BatchProgram,
        *,
        scenario_timeout: float,
        stop: Event | None,
        notice: Notice,
    ) -> None:
        self.target = target
        self.batch = batch
        self.notice = notice
        self._scenario_timeout = scenario_timeout
        self._stop = stop
        self._remote = ""

    @property
    def stopped(self) -> bool:
        """The caller wants no more."""
        return self._stop is not None and self._stop.is_set()

    def session(self, *arguments: str, console: bool = False, stop: Event | None = None) -> Session:
        """A session of the batch with these arguments.

        The program is copied first where need be: TargetError if that cannot be. With
        ``console`` the records come over the target's console, if it has one. ``stop`` ends this
        session alone, instead of what the caller has for all.
        """
        if not self._remote:
            there = _there.setdefault(self.target, {})
            for file in map(Path, self.batch.files):
                # Kept in a cache by its content: the path tells what it is.
                if there.get(file.name) != file:
                    self.target.put(file, file.name)
                    there[file.name] = file
            self._remote = self.target.put(Path(self.batch.elf), "batch")
        timeout = f"{self._scenario_timeout:g}"
        return Session(
            self.target,
            [self._remote, "--timeout", timeout, *arguments],
            self.batch.ids,
            silence=self._scenario_timeout + MARGIN,
            stop=stop or self._stop,
            console=console,
        )

    def replace(self) -> float | None:
        """A fresh target; the seconds it took, None (and a notice) if there is none."""
        self._remote = ""
        _there.pop(self.target, None)
        name = self.target.info.name
        try:
            seconds = self.target.replace()
        except TargetError as error:
            self.notice(f"{name} could not be replaced: {error}")
            return None
        self.notice(f"{name} replaced in {seconds:.1f} s")
        return seconds
