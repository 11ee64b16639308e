# SPDX-License-Identifier: GPL-2.0-only
"""Guests that stay when the command that booted them ends: up, use, down.

Each has a directory in the state directory: a record, its console, its QMP socket. One command at
a time uses a guest (a file lock is the lease); a record whose QEMU is gone is swept when seen.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import msgspec
import platformdirs
from msgspec import Struct

from harness.targets.qemu import QemuTarget
from harness.targets.qemu_boot import Guest, boot
from harness.targets.qemu_config import QemuConfig, Wiring
from harness.targets.qemu_process import QemuProcess
from harness.targets.scratch import process_is
from harness.vocabulary import Image, TargetError, UsageError

#: A QMP socket's path must fit in 108 bytes, so names are short.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,30}")
_RECORD = "guest.json"


class WarmGuest(Struct, frozen=True, kw_only=True):
    """The record of a warm guest.

    ``pid`` and ``pid_start`` name QEMU's process; ``port`` is its sshd's on 127.0.0.1;
    ``started`` is in seconds since the epoch;
    ``ready`` is False while it boots, so that a guest whose boot was cut off can be ended too.
    """

    name: str
    image: Image
    config: QemuConfig
    pid: int
    pid_start: int
    port: int
    boot_seconds: float
    started: float
    ready: bool

    @property
    def running(self) -> bool:
        """Whether its QEMU lives."""
        return process_is(self.pid, self.pid_start)


def state_dir() -> Path:
    """Where the records are: $HARNESS_STATE, or the user's state directory."""
    given = os.environ.get("HARNESS_STATE")
    base = Path(given) if given else Path(platformdirs.user_state_path("harness"))
    return base / "guests"


def up(name: str, image: Image, config: QemuConfig) -> WarmGuest:
    """Boot a guest that stays; the one of that name if it runs already with the same settings.

    UsageError for a bad name, or one that is taken by another kernel; BootError.
    """
    with _lease(name) as directory:
        known = _load(directory)
        if known is not None and known.ready:
            if (known.image, known.config) == (image, config):
                return known
            raise UsageError(
                f"guest '{name}' is up with {known.image.spec}; another name, or first: "
                f"harness targets down {name}"
            )
        if known is not None:
            _process(known, directory).kill()
        return _boot(name, directory, image, config)


def connect_warm(name: str) -> WarmTarget:
    """A warm guest as a target; closing it leaves the guest up. TargetError: none, or in use."""
    _running(name)  # no lock is made for a name that nobody has
    lease = _lock(name)
    _acquire(lease, name)
    try:
        return WarmTarget(_running(name), lease)
    except BaseException:
        lease.release()
        raise


def down(name: str) -> bool:
    """End a warm guest, also under a command that uses it; False if there was none."""
    directory = _directory(name)
    known = _load(directory)
    if known is not None:
        _process(known, directory).kill()
    existed = directory.exists()
    shutil.rmtree(directory, ignore_errors=True)
    _lock_path(name).unlink(missing_ok=True)
    return known is not None or existed


def list_warm() -> tuple[WarmGuest, ...]:
    """All warm guests that run, by name; records of dead ones are removed."""
    guests = []
    for path in sorted(state_dir().glob(f"*/{_RECORD}")):
        known = _load(path.parent)
        if known is not None:
            guests.append(known)
    return tuple(guests)


class WarmTarget(QemuTarget):
    """A warm guest in use: it stays when closed, and a replacement takes its name."""

    def __init__(self, known: WarmGuest, lease: filelock.BaseFileLock) -> None:
        self._lease = lease
        self._directory = _directory(known.name)
        super().__init__(
            known.image, known.config, name=known.name, guest=_guest(known, self._directory)
        )

    def close(self) -> None:
        """Disconnect and give back the lease."""
        self._disconnect()
        self._lease.release()

    def _boot_again(self) -> Guest:
        known = _boot(self._name, self._directory, self.image, self.config)
        return _guest(known, self._directory)


def _boot(name: str, directory: Path, image: Image, config: QemuConfig) -> WarmGuest:
    def record(guest: Guest) -> None:
        _store(directory, _record(name, image, config, guest, ready=False))

    try:
        guest = boot(image, config, stays_in=directory, spawned=record)
        known = _record(name, image, config, guest, ready=True)
        _store(directory, known)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return known


def _record(name: str, image: Image, config: QemuConfig, guest: Guest, *, ready: bool) -> WarmGuest:
    return WarmGuest(
        name=name,
        image=image,
        config=config,
        pid=guest.process.pid,
        pid_start=guest.process.start,
        port=guest.wiring.port,
        boot_seconds=guest.boot_seconds,
        started=time.time(),
        ready=ready,
    )


def _store(directory: Path, known: WarmGuest) -> None:
    """Write the record whole or not at all; the guest is ended if that fails."""
    partial = directory / f"{_RECORD}.new"
    try:
        partial.write_bytes(msgspec.json.encode(known))
        partial.replace(directory / _RECORD)
    except BaseException:
        _process(known, directory).kill()
        raise


def _guest(known: WarmGuest, directory: Path) -> Guest:
    return Guest(
        process=_process(known, directory),
        wiring=Wiring.below(directory, known.port),
        scratch=directory,
        boot_seconds=known.boot_seconds,
    )


def _process(known: WarmGuest, directory: Path) -> QemuProcess:
    return QemuProcess(known.pid, known.pid_start, directory / "stderr")


def _running(name: str) -> WarmGuest:
    known = _load(_directory(name))
    if known is None or not known.ready:
        raise TargetError(f"no guest '{name}' is up; harness targets up {name}")
    return known


def _load(directory: Path) -> WarmGuest | None:
    """The record, if its guest runs; one that is dead or cannot be read is removed."""
    try:
        known = msgspec.json.decode((directory / _RECORD).read_bytes(), type=WarmGuest)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError:
        known = None
    if known is None or not known.running:
        (directory / _RECORD).unlink(missing_ok=True)
        return None
    return known


@contextlib.contextmanager
def _lease(name: str) -> Iterator[Path]:
    lease = _lock(name)
    _acquire(lease, name)
    try:
        directory = _directory(name)
        directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        yield directory
    finally:
        lease.release()
        if not _directory(name).exists():
            _lock_path(name).unlink(missing_ok=True)


def _acquire(lease: filelock.BaseFileLock, name: str) -> None:
    try:
        lease.acquire(timeout=0)
    except filelock.Timeout as error:
        raise TargetError(
            f"guest '{name}' is in use by another command; wait for it, or take another guest"
        ) from error


def _lock(name: str) -> filelock.BaseFileLock:
    state_dir().mkdir(parents=True, mode=0o700, exist_ok=True)
    return filelock.FileLock(_lock_path(name))


def _lock_path(name: str) -> Path:
    return state_dir() / f"{_directory(name).name}.lock"


def _directory(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is no name for a guest: up to 31 of a-z 0-9 . _ -, a letter or digit first"
        )
    return state_dir() / name
