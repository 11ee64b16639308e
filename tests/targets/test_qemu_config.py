# SPDX-License-Identifier: GPL-2.0-only
"""What QEMU is asked for."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import msgspec
import pytest

from harness.kernels.initramfs import OPTIONS
from harness.targets import qemu_config
from harness.targets.qemu_config import (
    LARGE_PAGE_CPU,
    QemuConfig,
    Wiring,
    choose_accel,
    choose_cpu,
    command_line,
    keeps_cleared_code,
    kernel_arguments,
    kernel_page_size,
    qemu_version,
)
from harness.vocabulary import Image, TargetError, UsageError

IMAGE = Image(
    spec="debian:trixie",
    kernel="/k/Image",
    initrd="/k/initrd",
    release="6.12.1-cloud-arm64",
    origin="test",
    key_file="/k/key",
    host_key="ssh-ed25519 AAAA",
)
WIRING = Wiring.below(Path("/run/x"), 40022)


def image_header(pages: int) -> bytes:
    """An Image header whose flags name a page size (1: 4K, 2: 16K, 3: 64K)."""
    header = bytearray(64)
    header[24] = pages << 1
    header[56:60] = b"ARM\x64"
    return bytes(header)


def options(argv: list[str], name: str) -> list[str]:
    return [value for key, value in itertools.pairwise(argv) if key == name]


@pytest.mark.parametrize(
    ("told", "version", "keeps"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", (7, 2), True),
        ("QEMU emulator version 8.2.0", (8, 2), False),
        ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)", (10, 0), False),
        ("something else", (0, 0), True),
    ],
)
def test_an_old_qemu_keeps_code_that_dc_zva_cleared(
    tmp_path: Path, told: str, version: tuple[int, int], keeps: bool
) -> None:
    program = tmp_path / "qemu"
    program.write_text(f"#!/bin/sh\necho '{told}'\n")
    program.chmod(0o755)
    assert qemu_version(str(program)) == version
    assert keeps_cleared_code(QemuConfig(qemu=str(program), accel="tcg")) is keeps


@pytest.mark.parametrize(("cpus", "thread"), [({0, 1}, "multi"), ({5}, "single")])
def test_one_host_cpu_takes_guest_cpus_in_turns(
    monkeypatch: pytest.MonkeyPatch, cpus: set[int], thread: str
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: cpus)
    argv = command_line(IMAGE, QemuConfig(vcpus=2), WIRING, accel="tcg", cpu="neoverse-n1")
    assert options(argv, "-accel") == [f"tcg,thread={thread}"]
    argv = command_line(IMAGE, QemuConfig(vcpus=2), WIRING, accel="kvm", cpu="host")
    assert options(argv, "-accel") == ["kvm"]


def test_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1})
    argv = command_line(IMAGE, QemuConfig(), WIRING, accel="tcg", cpu="neoverse-n1")
    assert argv[0] == "qemu-system-aarch64"
    assert options(argv, "-machine") == ["virt,virtualization=on,gic-version=3"]
    assert options(argv, "-accel") == ["tcg,thread=multi"]
    assert (options(argv, "-smp"), options(argv, "-m")) == (["1"], ["3072"])
    (net,) = options(argv, "-netdev")
    assert "hostfwd=tcp:127.0.0.1:40022-:22" in net
    assert "restrict=on" in net, "the guest could reach the network"
    assert any("romfile=" in device for device in options(argv, "-device"))
    assert "ivshmem-plain,memdev=device" in options(argv, "-device")
    without = QemuConfig(device_memory=False)
    argv_without = command_line(IMAGE, without, WIRING, accel="tcg", cpu="neoverse-n1")
    assert [word for word in argv if word not in argv_without] == [
        "-object",
        *options(argv, "-object"),
        "ivshmem-plain,memdev=device",
    ]
    assert "-no-reboot" in argv, "a panic would not end QEMU"


def test_a_panic_ends_the_guest_and_own_arguments_win() -> None:
    words = kernel_arguments(QemuConfig(append=("kvm-arm.mode=nvhe", "oops=x"))).split()
    assert {"panic=-1", "oops=panic", "kvm-arm.mode=nvhe"} <= set(words)
    assert words[-2:] == ["kvm-arm.mode=nvhe", "oops=x"]


def test_a_huge_page_of_1g_needs_4k_pages_and_memory() -> None:
    assert "hugepagesz=1G" in kernel_arguments(QemuConfig()).split()
    assert "hugepagesz=1G" not in kernel_arguments(QemuConfig(memory=2048)).split()
    assert "hugepagesz=1G" not in kernel_arguments(QemuConfig(), "16K").split()


def test_huge_pages_of_512m_have_room() -> None:
    large = msgspec.structs.replace(IMAGE, release="6.12.0-64k")
    for image, config, memory in (
        (IMAGE, QemuConfig(), "3072"),
        (large, QemuConfig(), "8192"),
        (large, QemuConfig(memory=3072), "3072"),
    ):
        argv = command_line(image, config, WIRING, accel="tcg", cpu="max")
        assert options(argv, "-m") == [memory]


def test_swap_is_as_large_where_the_ram_disk_is_built_in() -> None:
    words = kernel_arguments(QemuConfig()).split()
    assert {f"brd.{option}" for option in OPTIONS["brd"].split()} <= set(words)


def test_a_comma_in_a_path_is_escaped() -> None:
    argv = command_line(
        IMAGE, QemuConfig(), Wiring.below(Path("/run/a,b"), 1), accel="tcg", cpu="x"
    )
    assert any("logfile=/run/a,,b/console.log" in value for value in options(argv, "-chardev"))


def test_a_socket_path_that_is_too_long_is_done_without() -> None:
    wiring = Wiring.below(Path("/" + "x" * 120), 1)
    chardevs = options(command_line(IMAGE, QemuConfig(), wiring, accel="tcg", cpu="x"), "-chardev")
    assert all(value.startswith("null,") for value in chardevs)
    assert any("logfile=" in value for value in chardevs), "the console must be kept all the same"


@pytest.mark.parametrize(("pages", "size"), [(1, "4K"), (2, "16K"), (3, "64K"), (0, "")])
def test_page_size_from_the_image(tmp_path: Path, pages: int, size: str) -> None:
    kernel = tmp_path / "Image"
    image = msgspec.structs.replace(IMAGE, kernel=str(kernel), release="")
    kernel.write_bytes(image_header(pages) + b"\0" * 100)
    assert kernel_page_size(image) == size
    kernel.write_bytes(gzip.compress(image_header(pages) + b"\0" * 100))
    assert kernel_page_size(image) == size


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bjunk", b"MZ" + b"\0" * 200])
def test_page_size_of_another_file_is_not_known(tmp_path: Path, content: bytes) -> None:
    kernel = tmp_path / "Image"
    kernel.write_bytes(content)
    assert kernel_page_size(msgspec.structs.replace(IMAGE, kernel=str(kernel))) == ""


def test_cpu_model(tmp_path: Path) -> None:
    kernel = tmp_path / "Image"
    kernel.write_bytes(image_header(1))
    small = msgspec.structs.replace(IMAGE, kernel=str(kernel))
    large = msgspec.structs.replace(small, release="6.12.1-arm64-16k")
    assert choose_cpu(QemuConfig(), small, "tcg") == "neoverse-n1"
    assert choose_cpu(QemuConfig(), large, "tcg") == LARGE_PAGE_CPU
    assert choose_cpu(QemuConfig(), large, "kvm") == "host"
    assert choose_cpu(QemuConfig(cpu="cortex-a57"), large, "kvm") == "cortex-a57"


def test_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_config, "why_no_nested_kvm", lambda: "no nesting here")
    assert choose_accel(QemuConfig()) == "tcg"
    with pytest.raises(TargetError, match="no nesting here"):
        choose_accel(QemuConfig(accel="kvm"))
    monkeypatch.setattr(qemu_config, "why_no_nested_kvm", lambda: "")
    assert choose_accel(QemuConfig()) == "kvm"
    assert choose_accel(QemuConfig(accel="tcg")) == "tcg"
    with pytest.raises(UsageError, match="hvf"):
        choose_accel(QemuConfig(accel="hvf"))


def test_why_no_nesting_on_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert "x86_64" in qemu_config.why_no_nested_kvm()
