# SPDX-License-Identifier: GPL-2.0-only
"""Real Debian kernels with the real initramfs in QEMU, reached over SSH with its host key."""

from __future__ import annotations

import base64
import logging
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import paramiko
import pytest

from harness.kernels import resolve
from harness.vocabulary import Image

pytestmark = [
    pytest.mark.live,
    pytest.mark.network,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        shutil.which("qemu-system-aarch64") is None, reason="qemu-system-aarch64 not installed"
    ),
]

BOOT_LIMIT = 240.0
COMMAND_LIMIT = 60.0
PAUTH = "max,pauth-impdef=on"

slow = pytest.mark.slow
KERNELS = [
    pytest.param("debian:bookworm", "6.1.", "neoverse-n1", "4"),
    pytest.param("debian:trixie", "6.12.", "neoverse-n1", "4"),
    pytest.param("debian:bullseye", "5.10.", "neoverse-n1", "4", marks=slow),
    pytest.param("debian:sid", "7.2.", "neoverse-n1", "4", marks=slow),
    pytest.param("debian:trixie-backports", "7.3.", "neoverse-n1", "4", marks=slow),
    pytest.param("debian:trixie/arm64-16k", "6.12.", PAUTH, "16", marks=slow),
    pytest.param("debian:bookworm@6.12", "6.12.", "neoverse-n1", "4", marks=slow),
]


@contextmanager
def booted(image: Image, cpu: str) -> Iterator[tuple[int, str]]:
    """A guest that said it is ready: (port of its sshd, the line that it said)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    network = f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22"
    machine = ["-machine", "virt,virtualization=on,gic-version=3", "-cpu", cpu, "-smp", "2"]
    machine += ["-m", "1024", "-accel", "tcg,thread=multi", "-nographic", "-no-reboot"]
    machine += ["-append", "console=ttyAMA0 panic=-1 quiet", "-netdev", network]
    machine += ["-device", "virtio-net-pci,netdev=n,romfile="]
    process = subprocess.Popen(
        ["qemu-system-aarch64", *machine, "-kernel", image.kernel, "-initrd", image.initrd],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    limit = threading.Timer(BOOT_LIMIT, process.kill)
    limit.start()
    try:
        assert process.stdout is not None
        console = []
        for line in process.stdout:
            console.append(line)
            assert "harness: failed" not in line, line
            if "harness: ready" in line:
                break
        else:
            pytest.fail(f"no readiness line within {BOOT_LIMIT} s:\n{''.join(console[-30:])}")
        yield port, console[-1]
    finally:
        limit.cancel()
        process.kill()
        process.communicate()


def connect(image: Image, port: int) -> paramiko.SSHClient:
    """Strictly: only the host key that the image promises, only the image's client key."""
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    kind, key = image.host_key.split()[:2]
    client = paramiko.SSHClient()
    client.get_host_keys().add(
        f"[127.0.0.1]:{port}", kind, paramiko.Ed25519Key(data=base64.b64decode(key))
    )
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.connect(
        "127.0.0.1",
        port=port,
        username="root",
        key_filename=image.key_file,
        allow_agent=False,
        look_for_keys=False,
        timeout=COMMAND_LIMIT,
        banner_timeout=COMMAND_LIMIT,
        auth_timeout=COMMAND_LIMIT,
    )
    return client


def ask(client: paramiko.SSHClient, command: str) -> str:
    """A command's output; it must end with status 0."""
    _, out, err = client.exec_command(command, timeout=COMMAND_LIMIT)
    text = out.read().decode()
    assert out.channel.recv_exit_status() == 0, err.read().decode()
    return text.strip()


@pytest.mark.parametrize(("spec", "generation", "cpu", "page_size"), KERNELS)
def test_boots_with_kvm_tracefs_and_sftp(
    spec: str, generation: str, cpu: str, page_size: str
) -> None:
    image = resolve(spec)
    assert image.release.startswith(generation)
    with booted(image, cpu) as (port, ready):
        assert ready.strip().endswith(f"harness: ready {image.release}")
        client = connect(image, port)
        try:
            assert ask(client, "uname -r") == image.release
            assert ask(client, "grep -m1 KernelPageSize /proc/self/smaps").split()[1] == page_size
            assert ask(client, "test -c /dev/kvm && echo there") == "there"
            assert "kvm_guest_fault" in ask(client, "ls /sys/kernel/tracing/events/kvm").split()
            assert (
                ask(client, "ls -d /sys/kernel/debug/kvm /dev/pts/ptmx /dev/shm").count("\n") == 2
            )
            assert ask(client, "cat /proc/sys/kernel/tainted") == "0"
            with client.open_sftp() as sftp:
                with sftp.open("/tmp/x", "wb") as remote:
                    remote.write(b"\0" * 100_000)
                assert sftp.stat("/tmp/x").st_size == 100_000
            # dropbear before 2024.86 lost channels here (harness/kernels/userland.py).
            for number in range(20):
                assert ask(client, f"echo {number}") == str(number)
        finally:
            client.close()


def test_a_wrong_host_key_is_refused() -> None:
    image = resolve("debian:trixie")
    other = paramiko.Ed25519Key(data=base64.b64decode(image.host_key.split()[1]))
    wrong = bytearray(other.asbytes())
    wrong[-1] ^= 1
    with booted(image, "neoverse-n1") as (port, _):
        text = base64.b64encode(bytes(wrong)).decode()
        lying = msgspec.structs.replace(image, host_key=f"ssh-ed25519 {text}")
        with pytest.raises(paramiko.BadHostKeyException):
            connect(lying, port)
        stranger = paramiko.SSHClient()
        with pytest.raises(paramiko.SSHException, match="not found in known_hosts"):
            stranger.connect("127.0.0.1", port=port, username="root", timeout=COMMAND_LIMIT)
        stranger.close()
