# SPDX-License-Identifier: GPL-2.0-only
"""What a QEMU guest is made of, and the command line that makes it. Pure, but for its probes."""

from __future__ import annotations

import fcntl
import gzip
import os
import platform
import re
import subprocess
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from harness.vocabulary import Image, TargetError, UsageError

#: From here on a write by DC ZVA drops all of the code that it writes over.
_FORWARDS_PROBE_SIZE = (8, 2)
#: Default CPU model: VHE, 48-bit IPA, and quick under TCG.
DEFAULT_CPU = "neoverse-n1"
#: For kernels with 16K or 64K pages, whose granule neoverse-n1 lacks at stage 2 in QEMU 7.2;
#: ``pauth-impdef``: the software QARMA of plain ``max`` makes guests several times slower.
LARGE_PAGE_CPU = "max,pauth-impdef=on"

#: MiB: a huge page of 1G, and as much again for the kernel, swap and scenarios.
DEFAULT_MEMORY = 3072
#: MiB, with 64K pages: a huge page has 512 MiB there, and where the kernel looks for room for one
#: it reclaims and moves what scenarios are about.
LARGE_PAGE_MEMORY = 8192
#: With less, nothing is set apart for a huge page of 1G.
_HUGE_PAGE_MEMORY = 3072

#: What makes a guest quicker and changes nothing that KVM does with memory: no copies of tables
#: for Meltdown (nokaslr: QEMU's random seed forces them on) and no branch-predictor work at each
#: exception; no zeroing of what is written next anyway; no accounting of pages to cgroups; a VM's
#: end, which waits for RCU several times, waits for short ones: a third of a small scenario. (Not
#: debugfs=off, though it would save a VM's files there: WARN_ONCE is armed again through it.)
_QUICK = (
    *("nokaslr", "mitigations=off", "init_on_alloc=0", "cgroup_disable=memory"),
    "rcupdate.rcu_expedited=1",
)

#: The swap device of a kernel that has brd built in; a module gets the same from the initramfs. Its
#: own size of 4 MiB holds two huge pages, and a third one that is reclaimed would be split.
_SWAP_DEVICE = ("brd.rd_nr=1", "brd.rd_size=131072")

#: Bytes, a power of two: more than the slots of a scenario add up to; taken only as it is used.
_DEVICE_MEMORY = 16 << 20
#: The device; a QEMU that has none of that name says so with it.
MEMORY_DEVICE = "ivshmem-plain"

#: The kernel's own console; the initramfs writes its readiness line there.
CONSOLE_DEVICE = "/dev/ttyAMA0"
#: QEMU's name for the other end of it.
CONSOLE_CHARDEV = "console"
#: unix(7): sun_path has 108 bytes with its end. A guest with a longer one does without.
_MAX_SOCKET_PATH = 107

#: KVM_CHECK_EXTENSION and KVM_CAP_ARM_EL2 (linux/kvm.h, since 6.16): nested virtualisation.
_KVM_CHECK_EXTENSION = 0xAE03
_KVM_CAP_ARM_EL2 = 240


class QemuConfig(Struct, frozen=True, kw_only=True):
    """Settings of a guest.

    ``accel``: "tcg", "kvm", or "auto": kvm where this machine can nest, else tcg. ``cpu``: a QEMU
    CPU model, "" for the one that fits kernel and accelerator. ``vcpus``: one is quickest: the
    suites run one vCPU at a time, and under TCG the CPUs of a guest wait for each other.
    ``append``: more kernel arguments. ``memory``: MiB, 0 for what fits the kernel; from 3072 on,
    one GiB of it is a huge page.
    ``device_memory``: a device whose memory slots can have; not every QEMU has it.
    ``boot_timeout``: seconds until the readiness line. ``qemu``: the program.
    """

    accel: str = "auto"
    cpu: str = ""
    memory: int = 0
    vcpus: int = 1
    append: tuple[str, ...] = ()
    device_memory: bool = True
    boot_timeout: float = 120.0
    qemu: str = "qemu-system-aarch64"


class Wiring(Struct, frozen=True, kw_only=True):
    """The host's ends of a guest.

    ``port``: TCP, of its sshd. ``console``: file that gets all it writes on the serial line.
    ``serial``, ``qmp``: Unix sockets, to write to that line and to talk to QEMU itself.
    """

    port: int
    console: Path
    serial: Path
    qmp: Path

    @classmethod
    def below(cls, directory: Path, port: int) -> Wiring:
        """All files in one directory."""
        return cls(
            port=port,
            console=directory / "console.log",
            serial=directory / "serial",
            qmp=directory / "qmp",
        )


@lru_cache
def qemu_version(program: str) -> tuple[int, int]:
    """(major, minor) of what a QEMU says it is; (0, 0) where it does not say."""
    try:
        out = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    match = re.search(r"version (\d+)\.(\d+)", out)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def keeps_cleared_code(config: QemuConfig) -> bool:
    """True where QEMU runs code again that DC ZVA cleared (Environment.zva_keeps_code)."""
    return choose_accel(config) == "tcg" and qemu_version(config.qemu) < _FORWARDS_PROBE_SIZE


def choose_accel(config: QemuConfig) -> str:
    """ "tcg" or "kvm"; TargetError when kvm is asked for and cannot be had; UsageError."""
    if config.accel == "tcg":
        return "tcg"
    if config.accel not in ("kvm", "auto"):
        raise UsageError(f"accelerator '{config.accel}' is none of tcg, kvm, auto")
    reason = why_no_nested_kvm()
    if config.accel == "kvm" and reason:
        raise TargetError(f"accelerator kvm cannot be used: {reason}; take tcg or auto")
    return "tcg" if reason else "kvm"


def why_no_nested_kvm() -> str:
    """Why this machine's KVM cannot run a guest that itself has EL2; "" where it can."""
    if platform.machine() != "aarch64":
        return f"this machine is {platform.machine()}, not aarch64"
    try:
        kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    try:
        able = fcntl.ioctl(kvm, _KVM_CHECK_EXTENSION, _KVM_CAP_ARM_EL2)
    except OSError as error:
        return f"KVM_CAP_ARM_EL2: {error.strerror}"
    finally:
        os.close(kvm)
    return "" if able > 0 else "its KVM has no nested virtualisation (KVM_CAP_ARM_EL2)"


def tcg_thread() -> str:
    """ "multi": a thread for each CPU of the guest; "single" where this process has one host CPU.

    On one host CPU, threads that wait for each other at each broadcast TLB invalidation make a
    guest of two CPUs two to three times slower than one thread that takes them in turns. It lets
    the next go on at interrupts, so that races meet windows of a few instructions less often.
    """
    return "multi" if len(os.sched_getaffinity(0)) > 1 else "single"


def choose_cpu(config: QemuConfig, image: Image, accel: str) -> str:
    """The CPU model for this kernel under this accelerator."""
    if config.cpu:
        return config.cpu
    if accel == "kvm":
        return "host"
    return DEFAULT_CPU if kernel_page_size(image) in ("4K", "") else LARGE_PAGE_CPU


def kernel_page_size(image: Image) -> str:
    """ "4K", "16K" or "64K" by the kernel's release or its Image header; "" if neither says.

    Header: flags at byte 24, bits 2:1 (Documentation/arch/arm64/booting.rst).
    """
    named = re.search(r"(16|64)k", image.release)
    if named:
        return f"{named[1]}K"
    path = Path(image.kernel)
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path) as file:
                head = file.read(64)
    except (OSError, EOFError):
        return ""
    if head[56:60] != b"ARM\x64":
        return ""
    return {1: "4K", 2: "16K", 3: "64K"}.get(head[24] >> 1 & 3, "")


def command_line(
    image: Image, config: QemuConfig, wiring: Wiring, *, accel: str, cpu: str
) -> list[str]:
    """QEMU's argv for a guest with EL2."""
    machine = "virt,virtualization=on,gic-version=3"
    page_size = kernel_page_size(image)
    return [
        config.qemu,
        *("-machine", machine),
        *("-accel", f"tcg,thread={tcg_thread()}" if accel == "tcg" else accel),
        *("-cpu", cpu),
        *("-smp", str(config.vcpus)),
        *("-m", str(memory_of(config, page_size))),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", image.kernel),
        *("-initrd", image.initrd),
        *("-append", kernel_arguments(config, page_size)),
        # Nothing from the guest to the outside; only the forwarded port leads in.
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{wiring.port}-:22"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci"),
        *(_device_memory() if config.device_memory else ()),
        *(
            "-chardev",
            f"{_socket(CONSOLE_CHARDEV, wiring.serial)},logfile={_escaped(wiring.console)}",
        ),
        *("-serial", f"chardev:{CONSOLE_CHARDEV}"),
        *("-chardev", _socket("qmp", wiring.qmp)),
        *("-mon", "chardev=qmp,mode=control"),
    ]


def _device_memory() -> tuple[str, ...]:
    """Memory of a device for scenarios: a BAR that keeps what is stored in it."""
    return (
        *("-object", f"memory-backend-ram,id=device,size={_DEVICE_MEMORY}"),
        *("-device", f"{MEMORY_DEVICE},memdev=device"),
    )


def kernel_arguments(config: QemuConfig, page_size: str = "4K") -> str:
    """The kernel's command line; later arguments win, so ``append`` can override."""
    return " ".join(
        (
            "console=ttyAMA0",
            # Warnings and worse reach the console; chatter would stand in the way in a report.
            "loglevel=5",
            # An oops ends the guest at once, so a dead kernel costs one scenario and no time-out.
            "oops=panic",
            "panic=-1",
            # A guest that hangs is asked where, over the serial line.
            "sysrq_always_enabled",
            *_QUICK,
            *_SWAP_DEVICE,
            *_huge_page(memory_of(config, page_size), page_size),
            *config.append,
        )
    )


def memory_of(config: QemuConfig, page_size: str) -> int:
    """MiB that a guest gets whose kernel has such pages ("" where that is not known)."""
    return config.memory or (LARGE_PAGE_MEMORY if page_size == "64K" else DEFAULT_MEMORY)


def _huge_page(memory: int, page_size: str) -> tuple[str, ...]:
    """One page of 1G, a size that kernels with 4K pages have; later it would not be found."""
    if memory < _HUGE_PAGE_MEMORY or page_size not in ("4K", ""):
        return ()
    return ("hugepagesz=1G", "hugepages=1")


def _socket(name: str, path: Path) -> str:
    """A character device on a Unix socket that need not be connected."""
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        return f"null,id={name}"
    return f"socket,id={name},path={_escaped(path)},server=on,wait=off"


def _escaped(path: Path) -> str:
    """A path inside a QEMU option, where a comma is written twice."""
    return str(path).replace(",", ",,")
