# SPDX-License-Identifier: GPL-2.0-only
"""From a SPEC to something QEMU boots, fetching what is not cached."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from harness.kernels import debian, keys, modules, vmlinuz
from harness.kernels.hostapt import host_mirrors
from harness.kernels.initramfs import initramfs_of
from harness.kernels.own import built_facts
from harness.kernels.packages import PackageTree, open_packages
from harness.kernels.spec import KernelSpec, SpecKind, parse_spec
from harness.kernels.store import Blob, Store, sha256_of
from harness.vocabulary import TREE_IMAGE, Image, UsageError

Progress = Callable[[str], None]

_KIND = "kernel"


class CachedKernel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a SPEC stood for when it was resolved.

    ``suite`` and ``version`` (Debian's) are "" for files; with ``packages`` they are what is
    needed to fetch the headers of exactly this kernel later. ``source_sha256`` is that of the
    file for ``deb:`` and ``image:``. ``resolved`` is UTC, ISO 8601. ``debs`` hold the modules.
    """

    spec: str
    release: str
    kernel: Blob
    origin: str
    resolved: str
    suite: str = ""
    flavour: str = ""
    version: str = ""
    packages: tuple[str, ...] = ()
    debs: tuple[Blob, ...] = ()
    notes: tuple[str, ...] = ()
    source_sha256: str = ""


def resolve(
    spec: str,
    *,
    refresh: bool = False,
    progress: Progress | None = None,
    store: Store | None = None,
) -> Image:
    """The image that a SPEC stands for.

    A ``debian:`` spec that was resolved before is answered from the cache, without any network;
    ``refresh`` asks the archive again. Files are read again whenever their bytes changed.
    ``progress`` is called with short texts while something takes time, and with every note.

    Raises:
        UsageError: bad spec, no such suite, flavour or file, or a kernel that cannot be used.
        NetworkError: not cached, and the archive does not answer.
        ToolMissingError: apt or dpkg is not installed.
        InfraError: the cache cannot be written, or no Debian mirror is configured.
    """
    parsed = parse_spec(spec)
    tell = progress or _silent
    place = store or Store.default()
    kernel = _kernel_of(parsed, refresh, place, tell)
    pair = keys.keys_of(place)
    initrd = initramfs_of(kernel.release, kernel.debs, pair, place, tell)
    return Image(
        spec=kernel.spec,
        kernel=str(place.path(kernel.kernel)),
        initrd=str(place.path(initrd)),
        release=kernel.release,
        origin=kernel.origin,
        key_file=str(pair.client_file),
        host_key=pair.host_public,
        facts=built_facts(parsed),
    )


def list_cached(store: Store | None = None) -> tuple[CachedKernel, ...]:
    """Every kernel that can be booted without network, by spec."""
    place = store or Store.default()
    known = place.all(_KIND, CachedKernel)
    return tuple(kernel for kernel in known if _complete(kernel, place))


def _kernel_of(spec: KernelSpec, refresh: bool, store: Store, tell: Progress) -> CachedKernel:
    key = str(spec)
    digest = "" if spec.kind is SpecKind.DEBIAN else _digest(spec)
    known = None if refresh else _cached(key, digest, store)
    if known is not None:
        return known
    with store.lock(f"kernel-{key}"):
        known = None if refresh else _cached(key, digest, store)  # made meanwhile elsewhere?
        if known is None:
            known = _make(spec, digest, store, tell)
            store.write(_KIND, key, known)
            for note in known.notes:
                tell(note)
    return known


def _cached(key: str, digest: str, store: Store) -> CachedKernel | None:
    known = store.read(_KIND, key, CachedKernel)
    if known is None or known.source_sha256 != digest or not _complete(known, store):
        return None
    return known


def _make(spec: KernelSpec, digest: str, store: Store, tell: Progress) -> CachedKernel:
    match spec.kind:
        case SpecKind.DEB:
            return _from_deb(spec, digest, store, tell)
        case SpecKind.IMAGE | SpecKind.TREE:
            return _from_image(spec, digest, store, tell)
        case _:
            return _from_debian(spec, store, tell)


def _complete(kernel: CachedKernel, store: Store) -> bool:
    return all(store.holds(blob) for blob in (kernel.kernel, *kernel.debs))


def _from_debian(spec: KernelSpec, store: Store, tell: Progress) -> CachedKernel:
    fetched = debian.fetch(spec, host_mirrors(), store, tell)
    tell(f"unpacking {fetched.release}")
    with open_packages([store.path(deb) for deb in fetched.debs]) as tree:
        path = _vmlinuz(tree, f"kernel {spec}")
        image = vmlinuz.plain_image(tree.read(path), path)
    resolved = _now()
    return CachedKernel(
        spec=str(spec),
        release=fetched.release,
        kernel=store.put(image, f"Image-{fetched.release}"),
        origin=_debian_origin(fetched, resolved),
        resolved=resolved,
        suite=fetched.suite,
        flavour=spec.flavour,
        version=fetched.version,
        packages=fetched.packages,
        debs=fetched.debs,
        notes=fetched.notes,
    )


def _debian_origin(fetched: debian.Fetched, resolved: str) -> str:
    gone = f"; {len(fetched.gone)} newer listed, but gone from the mirror" if fetched.gone else ""
    return (
        f"Debian {fetched.suite} {fetched.packages[0]} {fetched.version}, resolved {resolved}{gone}"
    )


def _from_deb(spec: KernelSpec, digest: str, store: Store, tell: Progress) -> CachedKernel:
    source = Path(spec.path)
    tell(f"unpacking {source.name}")
    with open_packages([source]) as tree:
        path = _vmlinuz(tree, f"kernel {spec}")
        image = vmlinuz.plain_image(tree.read(path), path)
        complete = modules.has_modules(tree)
    release = path.rpartition("/")[2].removeprefix("vmlinuz-")
    if release == "vmlinuz":  # usr/lib/modules/RELEASE/vmlinuz
        release = path.split("/")[-2]
    files = [source]
    if not complete:
        needed = _siblings(source, "linux-modules", release)
        if not needed:
            raise UsageError(
                f"kernel {spec}: no modules in it, and no linux-modules-{release}_*.deb beside "
                "it; put that package into the same directory"
            )
        files += [*needed, *_siblings(source, "linux-base", release)]
    resolved = _now()
    return CachedKernel(
        spec=str(spec),
        release=release,
        kernel=store.put(image, f"Image-{release}"),
        origin=f"{', '.join(str(file) for file in files)}, read {resolved}",
        resolved=resolved,
        debs=tuple(store.put_file(file) for file in files),
        source_sha256=digest,
    )


def _siblings(deb: Path, kind: str, release: str) -> list[Path]:
    """The package of this kind and release beside ``deb``: a list of one, or none."""
    return sorted(deb.parent.glob(f"{kind}-{release}_*.deb"))[-1:]


def _from_image(spec: KernelSpec, digest: str, store: Store, tell: Progress) -> CachedKernel:
    source = spec.file
    tell(f"reading {source.name}")
    image = vmlinuz.plain_image(source.read_bytes(), str(source))
    release = vmlinuz.release_of(image)
    resolved = _now()
    return CachedKernel(
        spec=str(spec),
        release=release,
        kernel=store.put(image, f"Image-{release}" if release else "Image"),
        origin=f"{source}, read {resolved}",
        resolved=resolved,
        source_sha256=digest,
    )


def _vmlinuz(tree: PackageTree, what: str) -> str:
    for path in tree.names():
        name = path.rpartition("/")[2]
        if path.startswith("boot/vmlinuz-") or (name == "vmlinuz" and path.startswith("usr/lib/")):
            return path
    raise UsageError(
        f"{what}: no vmlinuz in the package; name the linux-image package, from 7.x on linux-binary"
    )


def _digest(spec: KernelSpec) -> str:
    try:
        return sha256_of(spec.file)
    except OSError as error:
        if spec.kind is SpecKind.TREE:
            raise UsageError(
                f"kernel {spec}: no {TREE_IMAGE} there; build it: "
                f"make -C {spec.path} ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- Image modules"
            ) from error
        raise UsageError(f"kernel {spec}: {error.strerror}; name an existing file") from error


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _silent(_text: str) -> None:
    """Progress that nobody watches."""
