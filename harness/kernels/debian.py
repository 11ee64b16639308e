# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel a Debian suite stands for, and fetching it.

A suite stands for the newest kernel of its own generation that the mirror really has. The
generation (6.1, 6.12, …) is that of the suite's metapackage ``linux-image-FLAVOUR``: security
suites list other generations beside it (6.12 in bookworm-security). Stable suites are looked at
together with their -security and -updates suites.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from msgspec import Struct

from harness.kernels.archive import Archive, GoneError, NoSuiteError, Package
from harness.kernels.command import run
from harness.kernels.hostapt import Mirrors
from harness.kernels.spec import KernelSpec
from harness.kernels.store import Blob, Store
from harness.vocabulary import NetworkError, UsageError

Progress = Callable[[str], None]

_ALONE = re.compile(
    r".*(-security|-updates|-backports|-backports-sloppy|-proposed-updates|/updates)$"
)
_ROLLING = frozenset({"sid", "unstable", "experimental", "rc-buggy"})
_PARTS = re.compile(r"linux-(image|base|binary|modules)-\d")
# What may stand between "linux-image-" and "-FLAVOUR": 5.10.0-32, 6.1.0-0.deb11.44,
# 6.12.74+deb13+1, 7.3-rc4. Not "6.12.117+deb13-cloud", which is another flavour, nor "6.12",
# which is a metapackage.
_ABI = r"\d+\.\d+(?:[.+~][0-9A-Za-z.+~]+|-rc\d+)(?:-\d[0-9a-z.]*)?"


class Candidate(Struct, frozen=True, kw_only=True):
    """One kernel that an index lists, with every way to get it, best first.

    An offer is a ``linux-image-RELEASE`` of some suite, signed or not: the same build, in
    different places of the mirror.
    """

    release: str
    version: str
    offers: tuple[Package, ...]


class Fetched(Struct, frozen=True, kw_only=True):
    """A kernel's packages in the store.

    ``gone``: newer releases that the index lists and the mirror does not have. ``notes``: what a
    person should know of the choice.
    """

    release: str
    version: str
    suite: str
    packages: tuple[str, ...]
    debs: tuple[Blob, ...]
    gone: tuple[str, ...]
    notes: tuple[str, ...]


def suites_of(suite: str) -> tuple[str, ...]:
    """The suites that are looked at for ``suite``, the most up to date first."""
    if suite in _ROLLING or _ALONE.fullmatch(suite):
        return (suite,)
    return (f"{suite}-security", f"{suite}-updates", suite)


def fetch(spec: KernelSpec, mirrors: Mirrors, store: Store, progress: Progress) -> Fetched:
    """Fetch the kernel that a ``debian:`` spec stands for now.

    Raises:
        UsageError: no such suite, flavour or release.
        NetworkError: the mirror does not answer, or has none of the listed kernels.
    """
    notes = [mirrors.note] if mirrors.note else []
    with ExitStack() as stack:
        archives = []
        for suite in suites_of(spec.suite):
            stack.enter_context(store.lock(f"apt-{suite}"))
            archive = Archive(suite, mirrors.of(suite), store)
            stack.callback(archive.tidy)
            progress(f"reading the index of {suite}")
            try:
                note = archive.update()
            except (NoSuiteError, NetworkError) as error:
                if suite == spec.suite:
                    raise
                note = f"{suite} was left out: {error}"
            else:
                archives.append(archive)
            notes += [note] if note else []
        candidates = _candidates(spec, archives)
        return _first_there(spec, candidates, archives, notes, progress)


def _candidates(spec: KernelSpec, archives: Sequence[Archive]) -> Sequence[Candidate]:
    """What the indexes list for a spec, best first."""
    listed = [
        package
        for archive in archives
        for package in archive.packages(_image_names(archive, spec.flavour))
    ]
    by_release: dict[str, list[Package]] = {}
    for package in sorted(listed, key=lambda package: package.name.endswith("-unsigned")):
        by_release.setdefault(_release(package), []).append(package)
    everything = [
        Candidate(release=release, version=max_version(offers), offers=tuple(offers))
        for release, offers in by_release.items()
    ]
    if spec.release:
        wanted = [c for c in everything if is_pinned(c.release, spec.release)]
    else:
        generation = _generation_of_suite(spec, archives)
        wanted = [c for c in everything if generation_of(c.version) <= generation]
    if not wanted:
        raise UsageError(_nothing(spec, everything, archives))
    return _newest_first(wanted)


def _newest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: _version_key(c.version), reverse=True)


def _first_there(
    spec: KernelSpec,
    candidates: Sequence[Candidate],
    archives: Sequence[Archive],
    notes: list[str],
    progress: Progress,
) -> Fetched:
    by_suite = {archive.suite: archive for archive in archives}
    gone: list[str] = []
    for candidate in candidates:
        for offer in candidate.offers:
            archive = by_suite[offer.suite]
            packages = _with_parts(offer, archive)
            progress(f"fetching {offer.name} from {archive.suite}")
            try:
                debs = tuple(archive.download(package) for package in packages)
            except GoneError:
                continue
            if gone:
                listed = ", ".join(gone)
                notes.append(
                    f"listed, but gone from the mirror: {listed}; took {candidate.release}"
                )
            return Fetched(
                release=candidate.release,
                version=candidate.version,
                suite=archive.suite,
                packages=tuple(package.name for package in packages),
                debs=debs,
                gone=tuple(gone),
                notes=tuple(notes),
            )
        gone.append(candidate.release)
        progress(f"{candidate.release} is listed but gone from the mirror")
    raise NetworkError(
        f"kernel {spec}: the mirror lists {len(gone)} but has none of them "
        f"(newest {gone[0]}); try another mirror, or pin a release: debian:{spec.suite}@RELEASE"
    )


# --- names and versions ------------------------------------------------------------------------


def image_pattern(flavour: str) -> re.Pattern[str]:
    """Matches ``linux-image-RELEASE[-unsigned]`` of exactly this flavour; group ``release``."""
    return re.compile(rf"linux-image-(?P<release>{_ABI}-{re.escape(flavour)})(-unsigned)?")


def _image_names(archive: Archive, flavour: str) -> Iterable[str]:
    pattern = image_pattern(flavour)
    return [name for name in archive.names("linux-image-") if pattern.fullmatch(name)]


def _release(package: Package) -> str:
    return package.name.removeprefix("linux-image-").removesuffix("-unsigned")


def _with_parts(package: Package, archive: Archive) -> tuple[Package, ...]:
    """The package, and from 7.x on those that really hold kernel, modules and modules.builtin."""
    return (package, *archive.packages(name for name in package.depends if _PARTS.match(name)))


def is_pinned(release: str, pin: str) -> bool:
    """True if ``pin`` is a release or its beginning, up to where a part of it ends."""
    return release == pin or (release.startswith(pin) and release[len(pin)] in ".+-")


def generation_of(version: str) -> tuple[int, int]:
    """(6, 12) of ``6.12.117-1`` or ``6.12.117+deb13-cloud-arm64``."""
    match = re.match(r"(?:\d+:)?(\d+)\.(\d+)", version)
    if match is None:
        raise UsageError(f"kernel version {version!r}: does not begin with X.Y; pin another")
    return int(match[1]), int(match[2])


def _generation_of_suite(spec: KernelSpec, archives: Sequence[Archive]) -> tuple[int, int]:
    name = f"linux-image-{spec.flavour}"
    own = [package for archive in archives for package in archive.packages([name])]
    if not own:
        raise UsageError(_nothing(spec, (), archives))
    return max(generation_of(package.version) for package in own)


def max_version(offers: Iterable[Package]) -> str:
    """The highest version among offers of one release."""
    return max((offer.version for offer in offers), key=_version_key)


def compare_versions(left: str, right: str) -> int:
    """-1, 0 or 1 as Debian orders versions; dpkg is asked."""
    for operator, answer in (("lt", -1), ("gt", 1)):
        done = run(["dpkg", "--compare-versions", left, operator, right], limit=30)
        if done.status == 0:
            return answer
    return 0


_version_key = functools.cmp_to_key(compare_versions)


def _nothing(spec: KernelSpec, everything: Sequence[Candidate], archives: Sequence[Archive]) -> str:
    if everything:
        some = ", ".join(c.release for c in _newest_first(everything)[:6])
        return f"kernel {spec}: {spec.suite} has no release {spec.release}; it lists {some}"
    pattern = re.compile(rf"linux-image-(?!{_ABI}-)(?P<flavour>[a-z0-9-]+)")
    matches = (pattern.fullmatch(name) for a in archives for name in a.names("linux-image-"))
    names = {match["flavour"] for match in matches if match}
    flavours = sorted(name for name in names if not name.endswith(("-dbg", "-template")))
    return (
        f"kernel {spec}: {spec.suite} has no flavour {spec.flavour}; "
        f"it has {', '.join(flavours) or 'no arm64 kernel at all'}"
    )
