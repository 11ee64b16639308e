# SPDX-License-Identifier: GPL-2.0-only
"""What was built once: files (or folders) named by a hash of everything that went into them.

An entry appears whole or not at all, is made by one process at a time, and the entries used
longest ago go when there are too many.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from harness.vocabulary import InfraError

_LOCK_SECONDS = 300.0


def cache_root() -> Path:
    """The folder of what may be lost: HARNESS_CACHE, or the user's cache folder."""
    override = os.environ.get("HARNESS_CACHE", "")
    return Path(override) if override else Path(platformdirs.user_cache_dir("harness"))


def digest(parts: Iterable[bytes | str]) -> str:
    """One name for all parts; the boundaries between them count."""
    hashed = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hashed.update(len(data).to_bytes(8, "little"))
        hashed.update(data)
    return hashed.hexdigest()


class Cache:
    """Entries of one kind: files in one folder, each named by its key."""

    def __init__(self, kind: str, most: int) -> None:
        self._folder = cache_root() / "toolchain" / kind
        self._most = most

    def get(self, key: str, build: Callable[[Path], None]) -> Path:
        """The entry; where it is not there, ``build`` writes it to the path it is given.

        ``build`` makes a file, or a folder where what was built must keep its name.

        InfraError where the folder cannot be written, or another process holds the entry for
        too long; what ``build`` raises passes through, and leaves no entry.
        """
        entry = self._folder / key
        if self._touch(entry):
            return entry
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / f"{key[:2]}.lock", timeout=_LOCK_SECONDS):
                if not self._touch(entry):
                    self._make(entry, build)
        except Timeout:
            raise InfraError(
                f"{self._folder}/{key[:2]}.lock is held for {_LOCK_SECONDS:g} s; "
                "end the other harness, or try again"
            ) from None
        except OSError as error:
            raise InfraError(
                f"cache {self._folder}: {error.strerror or error}; "
                "make room there, or set HARNESS_CACHE to another folder"
            ) from None
        return entry

    def _make(self, entry: Path, build: Callable[[Path], None]) -> None:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._folder) as scratch:
            made = Path(scratch) / "entry"
            build(made)
            made.replace(entry)
        self._prune(entry)

    def _touch(self, entry: Path) -> bool:
        """Whether it is there; it counts as used now."""
        try:
            os.utime(entry)
        except OSError:
            return entry.exists()
        return True

    def _prune(self, keep: Path) -> None:
        """Drops the oldest entries over the limit; one that goes meanwhile is gone anyway."""
        aged = []
        for entry in self._folder.iterdir():
            if entry.suffix == ".lock" or entry.name.startswith(".") or entry == keep:
                continue
            with contextlib.suppress(FileNotFoundError):
                aged.append((entry.stat().st_mtime, entry))
        aged.sort(reverse=True)
        for _, entry in aged[self._most - 1 :]:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
