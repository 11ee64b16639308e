# SPDX-License-Identifier: GPL-2.0-only
"""The cache on disk: files named by their content, and small records that point at them.

    store/SHA256/NAME      packages, kernels, initramfs images; never changed once there
    records/KIND/KEY.json  what a SPEC stood for, and which initramfs was made from what
    apt/SUITE/             private apt state of one suite
    keys/                  this cache's SSH keys
    locks/                 one file per lock

Every file comes into being by a rename, so a reader never sees half of one; a writer that is
killed leaves at most a ``.new-*`` file, which nothing reads.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import filelock
import msgspec
import platformdirs
from msgspec import Struct

from harness.vocabulary import InfraError

LOCK_LIMIT = 1200.0
"""Seconds to wait for another process that fetches or builds the same thing."""

_T = TypeVar("_T")


class Blob(Struct, frozen=True, kw_only=True):
    """A file in the store: SHA-256 of its bytes in hex, its name, its size in bytes."""

    sha256: str
    name: str
    size: int


class Store:
    """The cache under one directory. Nothing is made before the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def default(cls) -> Store:
        """The user's cache: ``$HARNESS_CACHE``, else ``~/.cache/harness``."""
        override = os.environ.get("HARNESS_CACHE")
        if override:
            return cls(Path(override).expanduser().absolute())
        return cls(platformdirs.user_cache_path("harness", appauthor=False))

    def directory(self, *parts: str) -> Path:
        """A directory of the cache, made if missing.

        Raises:
            InfraError: it cannot be made.
        """
        path = self.root.joinpath(*parts)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InfraError(
                f"cache {path}: {error.strerror}; make it writable or set HARNESS_CACHE"
            ) from error
        return path

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock ``name`` against every other process; wait at most LOCK_LIMIT."""
        path = self.directory("locks") / f"{quote(name, safe='')}.lock"
        try:
            with filelock.FileLock(path, timeout=LOCK_LIMIT):
                yield
        except filelock.Timeout:
            raise InfraError(
                f"cache lock {path}: held for {LOCK_LIMIT:.0f} s by another process; "
                "wait for it or end it"
            ) from None

    # --- blobs -----------------------------------------------------------------------------

    def path(self, blob: Blob) -> Path:
        """Where a blob's file is, or would be."""
        return self.root / "store" / blob.sha256 / blob.name

    def holds(self, blob: Blob) -> bool:
        """True if the blob's file is there in full size."""
        try:
            return self.path(blob).stat().st_size == blob.size
        except (FileNotFoundError, NotADirectoryError):
            return False

    def put(self, data: bytes, name: str) -> Blob:
        """Keep ``data``; the same bytes under the same name are kept once."""
        blob = Blob(sha256=hashlib.sha256(data).hexdigest(), name=name, size=len(data))
        if not self.holds(blob):
            write_whole(self._place(blob), data)
        return blob

    def put_file(self, source: Path) -> Blob:
        """Keep a copy of the file ``source`` under its own name."""
        blob = Blob(sha256=sha256_of(source), name=source.name, size=source.stat().st_size)
        if not self.holds(blob):
            target = self._place(blob)
            with _replacing(target) as new:
                shutil.copyfile(source, new)
        return blob

    def _place(self, blob: Blob) -> Path:
        return self.directory("store", blob.sha256) / blob.name

    # --- records ---------------------------------------------------------------------------

    def read(self, kind: str, key: str, shape: type[_T]) -> _T | None:
        """The record ``key``, or None where there is none that this version understands."""
        path = self._record(kind, key)
        try:
            return msgspec.json.decode(path.read_bytes(), type=shape)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except msgspec.MsgspecError:
            return None  # written by another version of this program: as good as absent

    def write(self, kind: str, key: str, value: Struct) -> None:
        """Keep a record, replacing an older one of the same key."""
        self.directory("records", kind)
        text = msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2)
        write_whole(self._record(kind, key), text + b"\n")

    def all(self, kind: str, shape: type[_T]) -> tuple[_T, ...]:
        """Every record of a kind, by key."""
        folder = self.root / "records" / kind
        if not folder.is_dir():
            return ()
        found = []
        for path in sorted(folder.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=shape))
            except msgspec.MsgspecError:
                continue  # as in read()
        return tuple(found)

    def _record(self, kind: str, key: str) -> Path:
        return self.root / "records" / kind / f"{quote(key, safe='')}.json"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        InfraError: no space, no permission.
    """
    with _replacing(path) as new:
        with new.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        new.chmod(mode)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` that takes its place if the block ends well."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        os.close(descriptor)
        new = Path(name)
        try:
            yield new
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise InfraError(
            f"cache file {path}: {error.strerror}; free some space or set HARNESS_CACHE"
        ) from error
