# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Mapping

import pytest

from harness.kernels.modules import closure, dependencies, has_modules
from harness.kernels.packages import PackageTree
from harness.vocabulary import UsageError
from tests.kernels.samples import elf, module

RELEASE = "6.1.0-9-cloud-arm64"
FOLDER = f"./lib/modules/{RELEASE}"


def tree_of(files: Mapping[str, bytes | str]) -> PackageTree:
    spool = io.BytesIO()
    with tarfile.open(fileobj=spool, mode="w") as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    spool.seek(0)
    tree = PackageTree()
    tree.add_archive(spool)
    return tree


NET = {
    f"{FOLDER}/kernel/net/core/failover.ko.xz": lzma.compress(module("failover")),
    f"{FOLDER}/kernel/drivers/net/net_failover.ko": module("net_failover", "failover"),
    f"{FOLDER}/kernel/drivers/net/virtio_net.ko": module("virtio_net", "net_failover", "virtio"),
    f"{FOLDER}/kernel/drivers/net/other.ko": b"never read",
    f"{FOLDER}/modules.builtin": b"kernel/drivers/virtio/virtio.ko\nkernel/lib/a-b.ko\n",
}


def test_each_module_stands_after_what_it_needs() -> None:
    found = closure(tree_of(NET), RELEASE, {"virtio_net": True})
    assert [m.name for m in found] == ["failover", "net_failover", "virtio_net"]
    assert found[0].data == module("failover")


def test_built_in_needs_no_file_whatever_its_dashes() -> None:
    assert closure(tree_of(NET), RELEASE, {"virtio": True, "a_b": True}) == ()


def test_optional_and_absent_is_left_out() -> None:
    assert closure(tree_of(NET), RELEASE, {"virtio_rng": False}) == ()


def test_required_and_absent_is_refused() -> None:
    with pytest.raises(UsageError, match="no module virtio_pci"):
        closure(tree_of(NET), RELEASE, {"virtio_pci": True})


def test_a_missing_dependency_names_who_needs_it() -> None:
    files = {path: data for path, data in NET.items() if "failover.ko.xz" not in path}
    with pytest.raises(UsageError, match="no module failover, which net_failover needs"):
        closure(tree_of(files), RELEASE, {"virtio_net": True})


def test_without_a_list_of_what_is_built_in_only_booting_can_tell() -> None:
    files = {path: data for path, data in NET.items() if "builtin" not in path}
    found = closure(tree_of(files), RELEASE, {"virtio_pci": True, "virtio_net": True})
    assert [m.name for m in found] == ["failover", "net_failover", "virtio_net"]


def test_modules_of_another_release_are_not_taken() -> None:
    with pytest.raises(UsageError):
        closure(
            tree_of(NET | {f"{FOLDER}x/kernel/virtio_pci.ko": b""}), RELEASE, {"virtio_pci": True}
        )


def test_modinfo() -> None:
    assert dependencies(module("a-b", "x-y", "z"), "a") == ("x_y", "z")
    assert dependencies(module("a"), "a") == ()
    assert dependencies(elf({".text": b"1234"}), "a") == ()
    with pytest.raises(UsageError, match=r"kernel/a\.ko"):
        dependencies(b"no elf", "kernel/a.ko")


def test_has_modules() -> None:
    assert has_modules(tree_of(NET))
    assert not has_modules(tree_of({"./boot/vmlinuz-1": b"", "./boot/notes.komma": b""}))


def test_links_are_followed_inside_the_tree_and_not_out_of_it() -> None:
    tree = tree_of(
        {
            "./usr/lib/x/libz.so.1": "libz.so.1.2",
            "./lib/x/libz.so.1.2": b"zlib",
            "./usr/bin/abs": "/lib/x/libz.so.1",
            "./usr/bin/out": "../../../../etc/passwd",
            "./usr/bin/loop": "loop",
        }
    )
    assert tree.read("usr/lib/x/libz.so.1") == b"zlib"
    assert tree.read("usr/bin/abs") == b"zlib"
    for bad in ("usr/bin/out", "usr/bin/loop", "usr/bin/none"):
        with pytest.raises(KeyError):
            tree.read(bad)
