# SPDX-License-Identifier: GPL-2.0-only
"""The headers of exactly one Debian kernel, and the tools to build a module with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from harness.kernels.archive import ARCHITECTURE, Archive, NoSuiteError, Package
from harness.kernels.buildroot import build_architecture, compiler_packages, make_root, unpack
from harness.kernels.debian import suites_of
from harness.kernels.hostapt import Mirrors, host_mirrors
from harness.kernels.resolve import CachedKernel, list_cached
from harness.kernels.store import Store
from harness.vocabulary import BuildTree, NetworkError, NoModuleError

_RECORD = "headers"
_POCKET = re.compile(r"-(security|updates|backports|backports-sloppy|proposed-updates)$|/updates$")
#: How the releases of Debian's kernels for arm64 end.
_FLAVOUR = re.compile(r"-(cloud-arm64|arm64|arm64-16k|rt-arm64)$")
#: Where a release's suite is looked for when nothing says which it is.
_SUITES = ("trixie", "bookworm", "bullseye", "sid", "trixie-backports", "bookworm-backports")


class _Cached(Struct, frozen=True, kw_only=True):
    """A tree that was made before; its folders may have been removed since."""

    tree: BuildTree
    suite: str


class _Offer(Struct, frozen=True, kw_only=True):
    """A release's headers package, and the archive that has it."""

    package: Package
    archive: Archive


def fetch_headers(
    release: str,
    *,
    suite: str = "",
    progress: Callable[[str], None] | None = None,
    store: Store | None = None,
) -> BuildTree:
    """What a module for the kernel ``release`` (``uname -r``) is built with.

    From the cache without any network where it was fetched before. ``suite`` says where to look;
    without it, the suite is that of a cached kernel of this release, or every known one is asked.

    Raises:
        NoModuleError: no suite has headers of this release.
        NetworkError: not cached, and the archive does not answer or lacks a listed package.
        ToolMissingError: apt or dpkg is not installed.
        InfraError: the cache cannot be written.
    """
    place = store or Store.default()
    tell = progress or _silent
    known = _cached(release, place)
    if known is not None:
        return known
    if not _FLAVOUR.search(release):
        raise NoModuleError(
            f"{release} is no kernel of Debian's; name the folder that it was built in: "
            "--kernel tree:DIR, or --headers DIR"
        )
    with place.lock(f"headers-{release}"):
        known = _cached(release, place)  # made meanwhile elsewhere?
        if known is None:
            suites = (suite,) if suite else _suites_for(release, place)
            known, found = _fetch(release, suites, place, tell)
            place.write(_RECORD, release, _Cached(tree=known, suite=found))
    return known


def _cached(release: str, store: Store) -> BuildTree | None:
    known = store.read(_RECORD, release, _Cached)
    if known is None:
        return None
    there = Path(known.tree.headers).is_dir() and Path(known.tree.tools).is_dir()
    return known.tree if there else None


def _suites_for(release: str, store: Store) -> tuple[str, ...]:
    """The suite a cached kernel of this release came from, else all that are known."""
    found = [kernel.suite for kernel in list_cached(store) if _is_of(kernel, release)]
    return tuple(dict.fromkeys(found)) or _SUITES


def _is_of(kernel: CachedKernel, release: str) -> bool:
    return kernel.release == release and bool(kernel.suite)


def _fetch(
    release: str, suites: tuple[str, ...], store: Store, tell: Callable[[str], None]
) -> tuple[BuildTree, str]:
    mirrors = host_mirrors()
    with ExitStack() as stack:
        offer = _find(release, suites, mirrors, store, stack, tell)
        if offer is None:
            raise NoModuleError(
                f"no linux-headers-{release} in Debian {', '.join(suites)}; where the kernel was "
                "built on this machine, name the folder: --headers DIR"
            )
        found = offer.archive.suite
        # Build tools come with the kernel, the compiler with the suite; both run on this machine.
        machine = build_architecture()
        kbuilds = offer.archive
        if machine != ARCHITECTURE:
            kbuilds = _archive(found, machine, mirrors, store, stack, tell)
        tools = kbuilds
        if _base_of(found) != found:
            tools = _archive(_base_of(found), machine, mirrors, store, stack, tell)
        return _assemble(offer, kbuilds, tools, store, tell), found


def _find(
    release: str,
    suites: tuple[str, ...],
    mirrors: Mirrors,
    store: Store,
    stack: ExitStack,
    tell: Callable[[str], None],
) -> _Offer | None:
    problem: NetworkError | None = None
    for suite in (suite for named in suites for suite in suites_of(named)):
        with ExitStack() as held:
            try:
                archive = _archive(suite, ARCHITECTURE, mirrors, store, held, tell)
            except NetworkError as error:
                problem = error
                continue
            except NoSuiteError:  # as bookworm-updates on some mirrors
                continue
            packages = archive.packages([f"linux-headers-{release}"])
            if packages:
                stack.push(held.pop_all())
                return _Offer(package=packages[0], archive=archive)
    if problem is not None:
        raise problem
    return None


def _archive(
    suite: str,
    architecture: str,
    mirrors: Mirrors,
    store: Store,
    stack: ExitStack,
    tell: Callable[[str], None],
) -> Archive:
    suffix = "" if architecture == ARCHITECTURE else f"-{architecture}"
    stack.enter_context(store.lock(f"apt-{suite}{suffix}"))
    archive = Archive(suite, mirrors.of(suite), store, architecture)
    stack.callback(archive.tidy)
    tell(f"reading the index of {suite}")
    archive.update()
    return archive


def _base_of(suite: str) -> str:
    """The suite whose compiler a suite's kernels are built with."""
    return "sid" if suite in ("experimental", "rc-buggy") else _POCKET.sub("", suite)


def _assemble(
    offer: _Offer,
    kbuild_archive: Archive,
    tools_archive: Archive,
    store: Store,
    tell: Callable[[str], None],
) -> BuildTree:
    release = offer.package.name.removeprefix("linux-headers-")
    common = _only(offer, r"linux-headers-.*-common(-rt)?")
    kbuild = _only(offer, r"linux-kbuild-.*")
    major = _only(offer, r"gcc-\d+(-for-host)?").split("-")[1]
    tell(f"fetching the headers of {release}")
    own = (offer.package, *offer.archive.packages([common]))
    kbuilds = kbuild_archive.packages([kbuild])
    debs = [*offer.archive.download_all(own)]
    debs += [kbuild_archive.download(package) for package in kbuilds]
    if len(debs) != 3:
        raise NetworkError(
            f"kernel {release}: {common} or {kbuild} is not in {offer.archive.suite}; "
            "try again when the mirror is in step"
        )
    needed = [name for package in kbuilds for name in package.depends]
    package, program = compiler_packages(major, kbuild_archive.architecture)
    root = make_root(tools_archive, [package, *needed], store, tell)
    folder = store.root / "headers" / f"{release}_{debs[0].sha256[:16]}"
    if not folder.is_dir():
        unpack(debs, folder, store)
    return BuildTree(
        release=release,
        version=offer.package.version,
        headers=str(folder / "usr"),
        source=f"src/{common}",
        output=f"src/{offer.package.name}",
        tools=str(root),
        compiler=program,
    )


def _only(offer: _Offer, pattern: str) -> str:
    found = [name for name in offer.package.depends if re.fullmatch(pattern, name)]
    if not found:
        raise NoModuleError(f"{offer.package.name} depends on nothing like {pattern}")
    return found[0]


def _silent(_text: str) -> None:
    """Progress that nobody watches."""
