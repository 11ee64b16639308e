# SPDX-License-Identifier: GPL-2.0-only
"""A program in QEMU's place: writes a console as a guest would, then waits to be killed."""

from __future__ import annotations

import stat
from pathlib import Path

from harness.targets import QemuConfig
from harness.vocabulary import Image

_PROGRAM = """#!/bin/sh
for arg; do case $arg in *logfile=*) log=${arg##*logfile=};; *hostfwd=*) net=$arg;; esac; done
echo "[    0.000000] Booting Linux on physical CPU 0x0000000000" >"$log"
"""

#: What the guest does after its first line.
READY = 'echo "[    1.000000] harness: ready 6.12.0-test" >>"$log"; sleep 300 & wait\n'
FAILED = (
    'echo "[    1.000000] harness: failed no network interface eth0" >>"$log"; sleep 300 & wait\n'
)
SILENT = "sleep 300 & wait\n"
PANIC = 'echo "[    1.000000] Kernel panic - not syncing: VFS: Unable to mount root fs" >>"$log"\n'
BAD_OPTION = 'rm "$log"; echo "qemu-system-aarch64: unsupported machine type" >&2; exit 1\n'
#: The port is taken the first two times.
PORT_TAKEN = """
echo x >>"${0%/*}/tries"
if [ $(wc -l <"${0%/*}/tries") -le 2 ]; then
	echo "qemu-system-aarch64: -netdev user: Could not set up host forwarding rule" >&2; exit 1
fi
"""
#: A QEMU that was built without the device.
NO_DEVICE = """
case "$*" in *ivshmem-plain*)
	echo "qemu: -device ivshmem-plain,memdev=device: 'ivshmem-plain' is not a valid device model" \
		"name" >&2; exit 1;;
esac
"""
#: Takes no notice of SIGTERM.
STUBBORN = "trap '' TERM\n"


def fake_qemu(directory: Path, behaviour: str, *, timeout: float = 30.0) -> QemuConfig:
    """Settings that start such a program."""
    program = directory / "qemu"
    program.write_text(_PROGRAM + behaviour)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return QemuConfig(accel="tcg", cpu="x", qemu=str(program), boot_timeout=timeout)


def fake_image(directory: Path, spec: str = "image:test") -> Image:
    """An image of nothing."""
    return Image(
        spec=spec,
        kernel=str(directory / "Image"),
        initrd=str(directory / "initrd"),
        release="",
        origin="test",
        key_file="",
        host_key="ssh-ed25519 AAAA",
    )
