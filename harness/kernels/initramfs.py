# SPDX-License-Identifier: GPL-2.0-only
"""The guest's root file system: assembled without root, the same inputs giving the same bytes.

The guest has the address 10.0.2.15/24 on eth0, sshd on port 22 (root, this cache's key only),
SFTP, busybox, tracefs and (where the kernel offers it) debugfs mounted, a swap device, and pools
of huge pages. Its console says ``harness: ready RELEASE`` when sshd
listens and ``harness: failed REASON`` when it cannot (see init.sh).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources

import msgspec
from msgspec import Struct

from harness.kernels import cpio, modules, userland
from harness.kernels.keys import Keys
from harness.kernels.packages import open_packages
from harness.kernels.store import Blob, Store

MODULES: Mapping[str, bool] = {"virtio_pci": True, "virtio_net": True, "brd": False}
"""Modules that are loaded at boot, with what they depend on; True: no use without it.

brd is the guest's swap device (every Debian flavour has it, and it needs no other module).
"""

OPTIONS: Mapping[str, str] = {"brd": "rd_nr=1 rd_size=131072"}
"""Module parameters; rd_size is KiB, taken only as it is written to."""

_RECIPE = "2"  # raise it when assemble() makes other bytes of the same inputs
_KIND = "initramfs"
_DIRECTORIES = (
    *("dev", "proc", "sys", "run", "tmp", "mnt", "root", "var/log", "sbin", "usr/bin"),
    "etc/dropbear",
)
_PRIVATE = ("root/.ssh",)


class Record(Struct, frozen=True):
    """Which initramfs was made from one set of inputs."""

    initrd: Blob


def initramfs_of(
    release: str,
    kernel_debs: Sequence[Blob],
    keys: Keys,
    store: Store,
    progress: Callable[[str], None],
) -> Blob:
    """The initramfs for one kernel, from the cache or made now.

    ``kernel_debs`` hold the kernel's modules; empty for a bare Image, which must have virtio-net
    built in.

    Raises:
        UsageError: the kernel has no virtio-net.
        NetworkError: the userland is not cached and the mirror does not answer.
    """
    programs = userland.userland_of(store, progress)
    script = _init_script()
    inputs = (
        *(_RECIPE, release, sorted(MODULES.items()), sorted(OPTIONS.items())),
        *([deb.sha256 for deb in kernel_debs], [deb.sha256 for deb in programs.debs]),
        *(script, keys.client_public, keys.host_public),
    )
    key = hashlib.sha256(msgspec.json.encode(inputs)).hexdigest()
    known = _cached(key, store)
    if known is not None:
        return known
    with store.lock("initramfs"):
        known = _cached(key, store)  # made meanwhile by another process?
        if known is not None:
            return known
        progress("assembling the initramfs")
        loaded: tuple[modules.Module, ...] = ()
        if kernel_debs:
            with open_packages([store.path(deb) for deb in kernel_debs]) as tree:
                loaded = modules.closure(tree, release, MODULES)
        data = assemble(userland.files_of(programs, store), loaded, script, keys)
        initrd = store.put(data, f"initramfs-{release or 'image'}.cpio")
        store.write(_KIND, key, Record(initrd))
    return initrd


def _cached(key: str, store: Store) -> Blob | None:
    record = store.read(_KIND, key, Record)
    return record.initrd if record is not None and store.holds(record.initrd) else None


def assemble(
    files: Mapping[str, bytes], loaded: Sequence[modules.Module], script: str, keys: Keys
) -> bytes:
    """The cpio archive: a pure function of what it is given."""
    entries = {path: cpio.directory() for path in _DIRECTORIES}
    entries |= {path: cpio.directory(0o700) for path in _PRIVATE}
    entries["root"] = cpio.directory(0o700)
    entries["tmp"] = cpio.directory(0o1777)
    entries["dev/console"] = cpio.character_device(5, 1)
    entries |= {path: cpio.regular(data, 0o755) for path, data in files.items()}
    entries["bin/sh"] = cpio.symlink("busybox")
    entries["init"] = cpio.regular(script.encode(), 0o755)
    entries |= {f"lib/modules/{m.name}.ko": cpio.regular(m.data) for m in loaded}
    texts = {
        "etc/modules": "".join(
            f"{m.name} {OPTIONS.get(m.name, '')}".rstrip() + "\n" for m in loaded
        ),
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
        "etc/shells": "/bin/sh\n",
        "etc/nsswitch.conf": "passwd: files\ngroup: files\n",
    }
    entries |= {path: cpio.regular(text.encode()) for path, text in texts.items()}
    authorized = f"{keys.client_public}\n".encode()
    entries["root/.ssh/authorized_keys"] = cpio.regular(authorized, 0o600)
    entries["etc/dropbear/host_key"] = cpio.regular(keys.host_dropbear, 0o600)
    return cpio.archive(entries)


def _init_script() -> str:
    return resources.files(__package__).joinpath("init.sh").read_text(encoding="utf-8")
