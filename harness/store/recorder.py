# SPDX-License-Identifier: GPL-2.0-only
"""Writes results as they come, beside the campaign: what was judged outlives whatever happens.

One thread owns the connection. It writes what has gathered twice a second, so a process that is
killed loses that much and no more.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from harness.runs import RunTarget
from harness.store.database import Store
from harness.vocabulary import Finding, HarnessError, InfraError

#: Seconds between two writes, and results in one.
_PERIOD = 0.5
_MOST = 250
#: Results that may wait; beyond that the campaign waits for the disk.
_WAITING = 300
#: Seconds that the last write may take.
_LAST = 120.0

_Item = Finding | RunTarget | str


class Recorder:
    """Takes findings, targets and notes of one run from any thread. A context manager.

    ``look`` is called in the recorder's thread with each finding before it is written. A failure
    to write is raised by the next call, and by leaving the context.
    """

    def __init__(
        self, root: Path, run: str, *, look: Callable[[Finding], None] | None = None
    ) -> None:
        self._root = root
        self._run = run
        self._look = look
        self._queue: queue.Queue[_Item | None] = queue.Queue(_WAITING)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._queue.put(None)
        self._thread.join(_LAST)
        if self._thread.is_alive():
            raise InfraError(f"{self._root}: results were not written within {_LAST:g} s")
        if kind is None:
            self._raise()

    def put(self, item: _Item) -> None:
        """Record a finding, a target, or a note."""
        self._raise()
        self._queue.put(item)

    def _raise(self) -> None:
        if isinstance(self._failure, HarnessError):
            raise self._failure
        if self._failure is not None:
            raise InfraError(f"{self._root}: results cannot be kept: {self._failure!r}")

    def _work(self) -> None:
        try:
            with Store(self._root) as store:
                while self._batch(store):
                    pass
        except Exception as error:
            # Raised in the caller's thread; the queue is emptied so that nobody waits for room.
            self._failure = error
            while self._queue.get() is not None:
                pass

    def _batch(self, store: Store) -> bool:
        """Gather and write once; False after the end."""
        items: list[_Item] = []
        item = self._queue.get()
        deadline = time.monotonic() + _PERIOD
        while item is not None:
            items.append(item)
            if len(items) >= _MOST:
                break
            try:
                item = self._queue.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                break
        findings = [one for one in items if isinstance(one, Finding)]
        store.add(
            self._run,
            findings,
            targets=[one for one in items if isinstance(one, RunTarget)],
            notes=[one for one in items if isinstance(one, str)],
        )
        if self._look is not None:
            for finding in findings:
                self._look(finding)
        return item is not None
