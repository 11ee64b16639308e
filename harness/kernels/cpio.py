# SPDX-License-Identifier: GPL-2.0-only
"""The newc archive format, as the kernel unpacks it into its root file system.

Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel. An archive
made here depends on its entries alone: no owner, no time, no inode of this machine.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from msgspec import Struct

_ALIGN = 4
_TRAILER = "TRAILER!!!"


class Entry(Struct, frozen=True):
    """One file: ``mode`` with its type bits, ``data`` (a symbolic link's target for a link).

    ``device`` is (major, minor) of a device node, else (0, 0).
    """

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def regular(data: bytes, permissions: int = 0o644) -> Entry:
    """A plain file with this content; ``permissions`` are the low twelve bits of its mode."""
    return Entry(stat.S_IFREG | permissions, data)


def directory(permissions: int = 0o755) -> Entry:
    """An empty directory; what is in it are entries of their own."""
    return Entry(stat.S_IFDIR | permissions)


def symlink(target: str) -> Entry:
    """A symbolic link to ``target``, which is kept as it is written."""
    return Entry(stat.S_IFLNK | 0o777, target.encode())


def character_device(major: int, minor: int, permissions: int = 0o600) -> Entry:
    """A character device node; needs no root, since only the archive holds it."""
    return Entry(stat.S_IFCHR | permissions, device=(major, minor))


def archive(entries: Mapping[str, Entry]) -> bytes:
    """The archive of ``entries`` (path without leading slash → entry).

    Missing parent directories are added with mode 0755; order is by path, so a directory
    precedes what is in it.
    """
    whole = {parent: directory() for path in entries for parent in _parents(path)} | dict(entries)
    parts: list[bytes] = []
    for inode, path in enumerate(sorted(whole, key=lambda path: PurePosixPath(path).parts), 1):
        parts.extend(_member(path, whole[path], inode))
    parts.extend(_member(_TRAILER, Entry(0), 0))
    return b"".join(parts)


def _parents(path: str) -> Iterable[str]:
    return (str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")


def _member(path: str, entry: Entry, inode: int) -> Iterable[bytes]:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        *(inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0),
        *(*entry.device, len(name), 0),
    )
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    yield from (header, name, _padding(len(header) + len(name)))
    yield from (entry.data, _padding(len(entry.data)))


def _padding(length: int) -> bytes:
    return b"\0" * (-length % _ALIGN)
