# SPDX-License-Identifier: GPL-2.0-only
"""The programs of the initramfs: busybox, dropbear and an SFTP server with their libraries.

They come from one fixed Debian suite, whatever kernel they run on. The libraries are those that
the ELF files ask for (``DT_NEEDED``), found by walking apt's dependencies outward from each
package until nothing is missing.
"""

from __future__ import annotations

import datetime
import io
import posixpath
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from msgspec import Struct

from harness.kernels.archive import Archive, Package
from harness.kernels.hostapt import host_mirrors
from harness.kernels.packages import PackageTree, open_packages
from harness.kernels.store import Blob, Store
from harness.vocabulary import InfraError

SUITE = "trixie"
"""Not bookworm: dropbear before 2024.86 closes a channel that is opened while the child of
another one exits, or dies of a failed assertion (its CHANGES, 2024.86)."""

PROGRAMS: Mapping[str, tuple[str, str]] = {
    "bin/busybox": ("busybox-static", "usr/bin/busybox"),
    "usr/sbin/dropbear": ("dropbear-bin", "usr/sbin/dropbear"),
    "usr/lib/sftp-server": ("openssh-sftp-server", "usr/lib/openssh/sftp-server"),
}
"""Path in the initramfs → package, and path in it. dropbear looks for SFTP exactly there."""

LIBRARY_FOLDER = "lib/aarch64-linux-gnu"
LOADER = "lib/ld-linux-aarch64.so.1"
"""Where the initramfs keeps libraries, and the loader that every ELF file names."""

_RECORD = ("userland", f"{SUITE}-1")


class Userland(Struct, frozen=True, kw_only=True):
    """The packages that the initramfs is filled from, and when they were fetched."""

    suite: str
    packages: tuple[str, ...]
    debs: tuple[Blob, ...]
    resolved: str


def userland_of(store: Store, progress: Callable[[str], None]) -> Userland:
    """The cached userland, fetched at the first call.

    Raises:
        NetworkError: nothing is cached and the mirror does not answer.
        InfraError: the packages do not fit together.
    """
    known = _cached(store)
    if known is not None:
        return known
    with store.lock("userland"):
        known = _cached(store)  # another process may have fetched it meanwhile
        if known is None:
            known = _fetch(store, progress)
            store.write(*_RECORD, known)
    return known


def _cached(store: Store) -> Userland | None:
    known = store.read(*_RECORD, Userland)
    return known if known and all(store.holds(deb) for deb in known.debs) else None


def files_of(userland: Userland, store: Store) -> dict[str, bytes]:
    """Every program and library: path in the initramfs → bytes."""
    with open_packages([store.path(deb) for deb in userland.debs]) as tree:
        files = {path: _read(tree, source) for path, (_, source) in PROGRAMS.items()}
        missing = set[str]().union(*(needed(data) for data in files.values()))
        while missing:
            soname = missing.pop()
            target = (
                LOADER if soname == posixpath.basename(LOADER) else f"{LIBRARY_FOLDER}/{soname}"
            )
            if target in files:
                continue
            source = _library(tree, soname)
            if source is None:
                raise InfraError(
                    f"initramfs: no {soname} in {', '.join(userland.packages)}; report this"
                )
            files[target] = tree.read(source)
            missing |= needed(files[target])
    return files


def needed(elf: bytes) -> set[str]:
    """The sonames that an ELF file asks for; none for a static one."""
    dynamic = ELFFile(io.BytesIO(elf)).get_section_by_name(".dynamic")
    if not isinstance(dynamic, DynamicSection):
        return set()
    # pyelftools names the attribute after the tag, out of sight of the type checker.
    return {str(vars(tag)["needed"]) for tag in dynamic.iter_tags("DT_NEEDED")}


def _fetch(store: Store, progress: Callable[[str], None]) -> Userland:
    archive = Archive(SUITE, host_mirrors().of(SUITE), store)
    with ExitStack() as stack:
        stack.enter_context(store.lock(f"apt-{SUITE}"))
        stack.callback(archive.tidy)
        progress(f"reading the index of {SUITE}")
        archive.update()
        tree = stack.enter_context(PackageTree())
        fetched: dict[str, Blob] = {}
        for package, path in PROGRAMS.values():
            for entry in _outward(archive, package):
                if entry.name not in fetched:
                    progress(f"fetching {entry.name} for the initramfs")
                    fetched[entry.name] = archive.download(entry)
                    tree.add_package(store.path(fetched[entry.name]))
                unmet = _unmet(tree, path)
                if not unmet:
                    break
            else:
                raise InfraError(
                    f"initramfs: {path} needs {', '.join(sorted(unmet))}, which no package of "
                    f"{SUITE} that {package} depends on gives; report this"
                )
    return Userland(
        suite=SUITE,
        packages=tuple(fetched),
        debs=tuple(fetched.values()),
        resolved=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _outward(archive: Archive, package: str) -> Iterator[Package]:
    """A package, what it depends on, what that depends on, …; each once, nearest first.

    A name without an entry is a virtual package: no library is one.
    """
    seen = {package}
    queue = deque([package])
    while queue:
        for entry in archive.packages([queue.popleft()]):
            yield entry
            queue.extend(name for name in entry.depends if name not in seen)
            seen.update(entry.depends)


def _unmet(tree: PackageTree, program: str) -> set[str]:
    """Sonames that a program, or a library of it, asks for and the tree does not have."""
    seen: set[str] = set()
    unmet: set[str] = set()
    queue = list(needed(_read(tree, program)))
    while queue:
        soname = queue.pop()
        if soname in seen:
            continue
        seen.add(soname)
        source = _library(tree, soname)
        if source is None:
            unmet.add(soname)
        else:
            queue.extend(needed(tree.read(source)))
    return unmet


def _read(tree: PackageTree, program: str) -> bytes:
    if program not in tree:
        raise InfraError(f"initramfs: the packages of {SUITE} hold no {program}; report this")
    return tree.read(program)


def _library(tree: PackageTree, soname: str) -> str | None:
    candidates = (f"usr/{folder}/{soname}" for folder in (LIBRARY_FOLDER, "lib"))
    return next((path for path in candidates if path in tree), None)
