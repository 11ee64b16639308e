# SPDX-License-Identifier: GPL-2.0-only
"""Kernel modules of a package: what a module needs, in the order in which they load.

Debian's packages carry no modules.dep (it is made when they are installed), so dependencies are
read from the modules themselves: ``depends=`` in the ELF section ``.modinfo``.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Mapping

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from msgspec import Struct

from harness.kernels.packages import PackageTree
from harness.kernels.vmlinuz import decompress
from harness.vocabulary import UsageError

_SUFFIXES = {".ko": "", ".ko.xz": "xz", ".ko.gz": "gzip", ".ko.zst": "zstd"}


class Module(Struct, frozen=True):
    """One module: its name as ``lsmod`` spells it, and the uncompressed ELF."""

    name: str
    data: bytes


def closure(tree: PackageTree, release: str, wanted: Mapping[str, bool]) -> tuple[Module, ...]:
    """The wanted modules and all that they depend on, each after what it needs.

    ``wanted`` maps a module's name to True if the kernel is of no use without it. One that is
    built into the kernel needs no file and is left out; so is a missing one where the packages
    do not say what is built in (then only booting can tell).

    Raises:
        UsageError: a required module, or a dependency, is neither there nor built in.
    """
    files = _files(tree, release)
    builtin = _builtin(tree, release)
    order: dict[str, Module] = {}

    def add(name: str, needed_by: str) -> None:
        if name in order or (builtin is not None and name in builtin):
            return
        if name not in files:
            if builtin is None:
                return
            raise UsageError(
                f"kernel {release}: no module {name}, which {needed_by} needs, and it is not "
                "built in; add the linux-modules package of this kernel, or take another kernel"
            )
        data = _uncompressed(tree, files[name])
        for dependency in dependencies(data, files[name]):
            add(dependency, name)
        order[name] = Module(name, data)

    for name, required in wanted.items():
        if required or name in files:
            add(name, "the guest")
    return tuple(order.values())


def dependencies(elf: bytes, where: str) -> tuple[str, ...]:
    """Names of the modules that this one needs, from its ``.modinfo``.

    Raises:
        UsageError: no ELF file.
    """
    try:
        section = ELFFile(io.BytesIO(elf)).get_section_by_name(".modinfo")
    except ELFError as error:
        raise UsageError(f"module {where}: not an ELF file ({error}); fetch it again") from error
    fields = section.data().split(b"\0") if section else []
    return tuple(
        _normal(name)
        for field in fields
        if field.startswith(b"depends=")
        for name in field.removeprefix(b"depends=").decode().split(",")
        if name
    )


def has_modules(tree: PackageTree) -> bool:
    """True if the tree holds at least one module."""
    return any(name.endswith(tuple(_SUFFIXES)) for name in tree.names())


def _folder(release: str) -> str:
    return f"usr/lib/modules/{release}/"


def _files(tree: PackageTree, release: str) -> dict[str, str]:
    """Module name → path in the tree."""
    found = {}
    for path in tree.names():
        base, dot, suffix = posixpath.basename(path).partition(".")
        if dot + suffix in _SUFFIXES and path.startswith(_folder(release)):
            found[_normal(base)] = path
    return found


def _builtin(tree: PackageTree, release: str) -> frozenset[str] | None:
    """Names in ``modules.builtin``, None where no package holds that file."""
    listing = f"{_folder(release)}modules.builtin"
    if listing not in tree:
        return None
    paths = tree.read(listing).decode().split()
    return frozenset(_normal(posixpath.basename(path).partition(".")[0]) for path in paths)


def _uncompressed(tree: PackageTree, path: str) -> bytes:
    data = tree.read(path)
    _, dot, suffix = posixpath.basename(path).partition(".")
    compression = _SUFFIXES[dot + suffix]
    return decompress(data, compression, path) if compression else data


def _normal(name: str) -> str:
    return name.replace("-", "_")
