# SPDX-License-Identifier: GPL-2.0-only
"""Temporary directories that are gone afterwards, whatever ended the process.

All of a process's directories stand under one that carries its pid and start time. A normal end
removes it; after a SIGKILL the next process that makes one sweeps those whose owner is dead.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import stat
import tempfile
import threading
from pathlib import Path

import psutil

from harness.vocabulary import InfraError

_LOCK = threading.Lock()
_NAME = re.compile(r"p(\d+)-(\d+)")
_ATTEMPTS = 10
#: Processes (this one, and one that it was forked from) whose own directory was made.
_known: set[int] = set()


def process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None if there is no such process.

    With the pid it names one process for good: pids are used again, the pair is not. A zombie
    counts as gone. (proc(5), /proc/PID/stat field 22)
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def process_is(pid: int, start: int) -> bool:
    """True while the process of that pid and start time lives."""
    return process_start(pid) == start


def scratch_root() -> Path:
    """Where the directories of all processes of this user stand."""
    return Path(tempfile.gettempdir()) / f"harness-{os.getuid()}"


def make_scratch(purpose: str) -> Path:
    """A new empty directory (0700) below this process's own."""
    with _LOCK:
        for _ in range(_ATTEMPTS):
            # Another process may remove the empty root between any two of these.
            with contextlib.suppress(FileNotFoundError):
                own = _own_directory()
                return Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=own))
        raise InfraError(f"no directory can be made below {scratch_root()}; is TMPDIR writable?")


def remove_scratch(path: Path) -> None:
    """Remove a directory of :func:`make_scratch`; none is no error."""
    with _LOCK:
        shutil.rmtree(path, ignore_errors=True)
        for empty in (path.parent, path.parent.parent):  # this process's own, then the root
            with contextlib.suppress(OSError):
                empty.rmdir()


def sweep() -> list[Path]:
    """Remove what dead processes left; the directories removed."""
    removed = []
    for path in scratch_root().glob("p*"):
        match = _NAME.fullmatch(path.name)
        if match and not process_is(int(match[1]), int(match[2])):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def _own_directory() -> Path:
    root = scratch_root()
    root.mkdir(mode=0o700, exist_ok=True)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise InfraError(f"{root} belongs to another user; set TMPDIR to a directory of your own")
    pid = os.getpid()
    path = root / f"p{pid}-{process_start(pid)}"
    if pid not in _known:
        _known.add(pid)
        atexit.register(_remove_own, path, pid)
        sweep()
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _remove_own(path: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a forked child
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def living(pid: int, start: int) -> psutil.Process | None:
    """That very process, or None when it is gone."""
    if not process_is(pid, start):
        return None
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
