# SPDX-License-Identifier: GPL-2.0-only
"""A small Debian system with the compiler of one suite, to build kernel modules in.

A kernel's headers ask for its own compiler's options, and its build tools for its own suite's C
library, so neither is taken from this machine. Packages are unpacked, not installed: no
maintainer script runs, nothing of this machine changes, and no root is needed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness.kernels.archive import Archive
from harness.kernels.command import complaint_of, run
from harness.kernels.store import Blob, Store
from harness.vocabulary import InfraError, NoModuleError

_UNPACK_LIMIT = 300.0
_TOOLS = (
    *("base-files", "bash", "coreutils", "dash", "diffutils", "findutils", "grep", "gzip"),
    *("libc6", "make", "mawk", "perl-base", "sed", "xz-utils"),
)
#: What maintainer scripts would have linked; sh only where dash itself does not bring it.
_LINKS = (("usr/bin/awk", "mawk"), ("bin/sh", "dash"))
#: Where the build mounts things: a root that is read-only cannot have them made then.
_MOUNT_POINTS = ("dev", "proc", "tmp", "headers", "work")
_NOT_NEEDED = ("doc", "man", "locale", "info", "i18n", "zoneinfo", "lintian")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def build_architecture() -> str:
    """Debian's name of this machine's architecture; NoModuleError where modules cannot be built."""
    machine = platform.machine()
    if machine not in _MACHINES:
        known = " and ".join(sorted(set(_MACHINES.values())))
        raise NoModuleError(f"this machine is {machine}, and modules are built on {known} only")
    return _MACHINES[machine]


def compiler_packages(major: str, architecture: str) -> tuple[str, str]:
    """(package, program) of gcc ``major`` for arm64 on this architecture."""
    if architecture == "arm64":
        return f"gcc-{major}", f"gcc-{major}"
    return f"gcc-{major}-aarch64-linux-gnu", f"aarch64-linux-gnu-gcc-{major}"


def make_root(
    archive: Archive, extra: Iterable[str], store: Store, progress: Callable[[str], None]
) -> Path:
    """The root folder with the tools and ``extra`` packages; made once for equal packages.

    Callers hold the archive's lock.

    Raises:
        UsageError: the suite lacks one of the packages.
        NetworkError: the mirror does not answer, or lacks a listed package.
        InfraError: the cache cannot be written.
    """
    names = archive.closure([*_TOOLS, *extra])
    packages = archive.packages(names)
    identity = "\n".join(f"{p.name} {p.version} {p.sha256}" for p in packages)
    root = store.root / "roots" / hashlib.sha256(identity.encode()).hexdigest()
    if root.is_dir():
        return root
    progress(f"fetching {len(packages)} packages of {archive.suite} to build modules with")
    # base-files first: what it makes a symbolic link has to be one before others unpack.
    ordered = sorted(packages, key=lambda package: package.name != "base-files")
    return unpack(archive.download_all(ordered), root, store, _finish)


def unpack(
    debs: Sequence[Blob],
    folder: Path,
    store: Store,
    finish: Callable[[Path], None] | None = None,
) -> Path:
    """The packages' files under ``folder``, which is there whole or not at all.

    Raises:
        InfraError: dpkg-deb fails, or the cache cannot be written.
    """
    store.directory(*folder.parent.relative_to(store.root).parts)
    scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        scratch.chmod(0o755)
        for deb in debs:
            path = store.path(deb)
            done = run(["dpkg-deb", "-x", str(path), str(scratch)], limit=_UNPACK_LIMIT)
            if done.status != 0:
                raise InfraError(f"{path}: {complaint_of(done.stderr)}; free some space")
        if finish is not None:
            finish(scratch)
        try:
            scratch.rename(folder)
        except OSError as error:
            if not folder.is_dir():  # else another process was faster
                raise InfraError(
                    f"cache {folder}: {error.strerror}; make it writable or set HARNESS_CACHE"
                ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _finish(root: Path) -> None:
    for name, target in _LINKS:
        link = root / name
        if not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
    for name in _MOUNT_POINTS:
        (root / name).mkdir(exist_ok=True)
    for name in _NOT_NEEDED:
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
