# SPDX-License-Identifier: GPL-2.0-only
"""Several starts of one program side by side on a target, each on a CPU of its own.

This is for the healthy path alone: what a session that did not end well leaves is the business of
:mod:`.batch`, which runs it alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Event

from msgspec import Struct

from harness.execute.runner import Runner
from harness.execute.session import End, Session
from harness.vocabulary import ScenarioRun

#: Longest single wait, so that a request to stop is seen soon.
_SLICE = 0.1


class Lanes:
    """How many programs run at once on a target: one, once something died while there were more.

    Kept by who runs batch after batch on it.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count

    def give_up(self) -> None:
        """From now on one at a time."""
        self.count = 1


def shares(indices: Sequence[int], lanes: int, first: Collection[int]) -> list[list[int]]:
    """The indices in as many shares, each ascending and of nearly one size.

    Those of ``first`` are all in the first share: no two of them run at once.
    """
    out: list[list[int]] = [[] for _ in range(lanes)]
    out[0] = [index for index in indices if index in first]
    for index in indices:
        if index not in first:
            min(out, key=len).append(index)
    return [sorted(share) for share in out if share]


class Lane(Struct):
    """One of the sessions, and the indices that it is to run."""

    session: Session
    share: list[int]


class SideBySide:
    """The sessions of some shares, until the last one has ended.

    One that does not end well ends the others too.
    """

    def __init__(self, runner: Runner, parts: Sequence[list[int]]) -> None:
        self._runner = runner
        self._halt = Event()
        self._heard: SimpleQueue[tuple[Lane, tuple[int, ScenarioRun] | None]] = SimpleQueue()
        #: TargetError where the program cannot be copied.
        self.lanes = [
            Lane(self._session(number, share), share) for number, share in enumerate(parts)
        ]

    def _session(self, number: int, share: Sequence[int]) -> Session:
        only = ",".join(map(str, share))
        return self._runner.session("--lane", str(number), "--only", only, stop=self._halt)

    def runs(self) -> Iterator[tuple[Lane, int, ScenarioRun] | None]:
        """Ended scenarios as they come, each once; None when nothing came for a moment."""
        going = len(self.lanes)
        with ThreadPoolExecutor(going, thread_name_prefix="lane") as pool:
            readers = [pool.submit(self._read, lane) for lane in self.lanes]
            try:
                while going:
                    if self._runner.stopped:
                        self._halt.set()
                    try:
                        lane, ended = self._heard.get(timeout=_SLICE)
                    except Empty:
                        yield None
                        continue
                    if ended is not None:
                        yield (lane, *ended)
                        continue
                    going -= 1
                    if not ended_well(lane):
                        self._halt.set()
            finally:
                self._halt.set()
        for reader in readers:
            reader.result()

    def _read(self, lane: Lane) -> None:
        try:
            for ended in lane.session.runs():
                if ended is not None:
                    self._heard.put((lane, ended))
        finally:
            self._heard.put((lane, None))


def ended_well(lane: Lane) -> bool:
    """Whether the program came to its end."""
    return lane.session.ended.end is End.EXIT and lane.session.records.running is None


def ended_badly(lane: Lane) -> bool:
    """Whether it did not, and was not asked to end."""
    return not ended_well(lane) and lane.session.ended.end is not End.STOPPED
