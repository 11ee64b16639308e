# SPDX-License-Identifier: GPL-2.0-only
"""What is inside .deb files: their data archives, read without unpacking anything to disk."""

from __future__ import annotations

import posixpath
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

from harness.kernels.command import complaint_of, run
from harness.vocabulary import UsageError

_UNPACK_LIMIT = 300.0
_LINKS = 16
_MERGED = frozenset({"bin", "lib", "lib64", "sbin"})


class PackageTree:
    """The files of one or several packages, as if unpacked over each other.

    Paths are without leading slash and with merged /usr, as on every current system:
    ``usr/bin/x`` also for what an older package holds as ``bin/x``. The tree is good for the time
    of ``with``.
    """

    def __init__(self) -> None:
        self._members: dict[str, tuple[tarfile.TarFile, tarfile.TarInfo]] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def add_package(self, path: Path) -> None:
        """Lay one more package over what is there.

        Raises:
            UsageError: the file is missing or is no Debian package.
            ToolMissingError: dpkg-deb is not installed.
        """
        spool = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - __exit__
        done = run(["dpkg-deb", "--fsys-tarfile", str(path)], limit=_UNPACK_LIMIT, stdout=spool)
        if done.status != 0:
            raise UsageError(
                f"package {path}: dpkg-deb cannot read it ({complaint_of(done.stderr)}); "
                "name a whole .deb file"
            )
        spool.seek(0)
        self.add_archive(spool)

    def add_archive(self, data: IO[bytes]) -> None:
        """Lay one more uncompressed tar archive over what is there."""
        opened = tarfile.open(fileobj=data, mode="r:")  # noqa: SIM115 - __exit__
        archive = self._open.enter_context(opened)
        for member in archive:
            self._members[_merged(member.name)] = (archive, member)

    def __contains__(self, path: str) -> bool:
        return path in self._members

    def names(self) -> tuple[str, ...]:
        """All paths, sorted, directories included."""
        return tuple(sorted(self._members))

    def read(self, path: str) -> bytes:
        """The bytes of a file; symbolic links inside the tree are followed.

        Raises:
            KeyError: no such file, or a link that leaves the tree.
        """
        for _ in range(_LINKS):
            archive, member = self._members[path]
            if not member.issym() and not member.islnk():
                break
            base = posixpath.dirname(path) if member.issym() else ""
            path = _merged(posixpath.join("/", base, member.linkname))
        stream = archive.extractfile(member) if member.isreg() else None
        if stream is None:
            raise KeyError(path)
        return stream.read()


def open_packages(paths: Sequence[Path]) -> PackageTree:
    """The tree of these .deb files, for use in ``with``; errors as of ``add_package``."""
    tree = PackageTree()
    try:
        for path in paths:
            tree.add_package(path)
    except BaseException:
        tree.__exit__()
        raise
    return tree


def _merged(path: str) -> str:
    """A path inside an archive in the tree's spelling."""
    plain = posixpath.normpath(posixpath.join("/", path)).lstrip("/")
    return f"usr/{plain}" if plain.split("/")[0] in _MERGED else plain
