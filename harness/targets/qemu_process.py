# SPDX-License-Identifier: GPL-2.0-only
"""The life of a QEMU process: it never outlives what started it, unless that is asked for.

PR_SET_PDEATHSIG (setpriv, before QEMU's first instruction) covers a SIGKILL of the harness. The
signal is sent when the *thread* that forked ends, so all children are forked by one thread that
lives as long as the process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import shutil
import signal
import subprocess
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import psutil

from harness.targets.scratch import living, process_start
from harness.vocabulary import TargetError, ToolMissingError

#: Seconds that QEMU has to end after SIGTERM.
_GRACE = 2.0

_Job = tuple[list[str], Path, "Future[subprocess.Popen[bytes]]"]
_jobs: queue.Queue[_Job] = queue.Queue()
_forker: threading.Thread | None = None
_forker_pid = 0
_lock = threading.Lock()
_ending = threading.Event()


class QemuProcess:
    """A running QEMU: a child of this process, or one that an earlier command left warm."""

    def __init__(
        self, pid: int, start: int, stderr: Path, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.pid = pid
        self.start = start
        #: The process that it must not outlive; 0: none.
        self.owner = 0
        self._stderr = stderr
        self._child = child

    @property
    def running(self) -> bool:
        """True while the process lives."""
        if self._child is not None:
            return self._child.poll() is None
        return living(self.pid, self.start) is not None

    @property
    def exit_status(self) -> int | None:
        """Exit status, -n for signal n; None while it runs or where it was no child of ours."""
        return None if self._child is None else self._child.poll()

    def wait(self, timeout: float) -> bool:
        """Wait for its end; whether it came in time."""
        try:
            if self._child is not None:
                self._child.wait(timeout)
            elif (process := living(self.pid, self.start)) is not None:
                process.wait(timeout)
        except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
            return False
        return True

    def kill(self) -> None:
        """End it and reap it: SIGTERM, then SIGKILL to its whole process group."""
        if self.running:
            self._signal(signal.SIGTERM)
            if not self.wait(_GRACE):
                self._signal(signal.SIGKILL)
                self.wait(_GRACE)
        _alive.discard(self)

    def complaint(self) -> str:
        """The last line QEMU wrote to stderr, or ""."""
        try:
            text = self._stderr.read_text(errors="replace")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")

    def _signal(self, number: signal.Signals) -> None:
        # Asked again: between two looks the pid may have become another's.
        if self._child is not None or living(self.pid, self.start) is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


_alive: weakref.WeakSet[QemuProcess] = weakref.WeakSet()


def spawn(argv: Sequence[str], stderr: Path, *, tied: bool = True) -> QemuProcess:
    """Start QEMU in its own session; with ``tied`` it dies with this process.

    ToolMissingError where QEMU or setpriv is not installed.
    """
    if _ending.is_set():
        raise TargetError("interrupted: no guest is started any more")
    _need(argv[0], "qemu-system-arm")
    command = list(argv)
    if tied:
        _need("setpriv", "util-linux")
        command = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    answer: Future[subprocess.Popen[bytes]] = Future()
    _start_forker()
    _jobs.put((command, stderr, answer))
    child = answer.result(timeout=30)
    start = process_start(child.pid)
    process = QemuProcess(child.pid, 0 if start is None else start, stderr, child)
    if tied:
        process.owner = os.getpid()
        _alive.add(process)
        if _ending.is_set():
            process.kill()
    return process


def _need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise ToolMissingError(
            f"{program} is not installed (needed to boot a guest): sudo apt-get install {package}"
        )


def _start_forker() -> None:
    global _forker, _forker_pid  # noqa: PLW0603  one thread per process
    with _lock:
        if _forker is None or _forker_pid != os.getpid():
            _forker_pid = os.getpid()
            _forker = threading.Thread(target=_fork_all, name="qemu-forker", daemon=True)
            _forker.start()


def _fork_all() -> None:
    while True:
        command, stderr, answer = _jobs.get()
        try:
            with stderr.open("wb") as errors:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    start_new_session=True,
                )
        except BaseException as error:
            answer.set_exception(error)
        else:
            answer.set_result(child)


def end_all_guests() -> None:
    """Kill every QEMU of this process and start no other: for an interrupt, from any thread.

    Whoever waits for one of them gets its BootError or TransportLostError at once.
    """
    _ending.set()
    _kill_all()


@atexit.register
def _kill_all() -> None:
    for process in list(_alive):
        if process.owner == os.getpid():  # not in a forked child
            process.kill()
