# SPDX-License-Identifier: GPL-2.0-only
"""From an image to a guest whose sshd listens."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from harness.targets.console import Console
from harness.targets.link import signal_name
from harness.targets.qemu_config import (
    MEMORY_DEVICE,
    QemuConfig,
    Wiring,
    choose_accel,
    choose_cpu,
    command_line,
)
from harness.targets.qemu_process import QemuProcess, spawn
from harness.targets.scratch import make_scratch, remove_scratch
from harness.targets.splat import find_splats, worst
from harness.vocabulary import BootError, Image

#: What the initramfs writes to the console when its sshd listens, or never will.
READY = "harness: ready"
FAILED = "harness: failed"
#: QEMU binds the port itself, so another process may take it in between.
_PORT_ATTEMPTS = 5


class Guest(Struct, frozen=True, kw_only=True):
    """A booted guest: its process, its host's ends, and how long the boot took."""

    process: QemuProcess
    wiring: Wiring
    scratch: Path
    boot_seconds: float


class _NoDeviceError(BootError):
    """This QEMU has no device whose memory slots could have."""


class _PortTakenError(BootError):
    """Another process took the port between our choice and QEMU's bind."""


def boot(
    image: Image,
    config: QemuConfig,
    *,
    stays_in: Path | None = None,
    spawned: Callable[[Guest], None] | None = None,
) -> Guest:
    """Boot a guest and wait for its readiness line.

    It dies with this process, unless ``stays_in`` names a directory for its files; ``spawned`` is
    called before the wait. BootError when it does not come up (nothing is left of it then);
    ToolMissingError without QEMU; TargetError for an accelerator that cannot be had.
    """
    attempts = _PORT_ATTEMPTS
    while True:
        attempts -= 1
        own = stays_in or make_scratch("qemu")
        try:
            return _boot_in(own, image, config, tied=stays_in is None, spawned=spawned)
        except BaseException as error:
            if stays_in is None:
                remove_scratch(own)
            if isinstance(error, _NoDeviceError):
                config = msgspec.structs.replace(config, device_memory=False)
                continue
            if not (attempts and isinstance(error, _PortTakenError)):
                raise


def _boot_in(
    directory: Path,
    image: Image,
    config: QemuConfig,
    *,
    tied: bool,
    spawned: Callable[[Guest], None] | None,
) -> Guest:
    accel = choose_accel(config)
    cpu = choose_cpu(config, image, accel)
    wiring = Wiring.below(directory, _free_port())
    wiring.console.unlink(missing_ok=True)
    began = time.monotonic()
    argv = command_line(image, config, wiring, accel=accel, cpu=cpu)
    process = spawn(argv, directory / "stderr", tied=tied)
    guest = Guest(process=process, wiring=wiring, scratch=directory, boot_seconds=0.0)
    try:
        if spawned is not None:
            spawned(guest)
        _await_ready(process, Console(wiring.console), image, config)
    except BaseException:
        process.kill()
        raise
    return msgspec.structs.replace(guest, boot_seconds=time.monotonic() - began)


def _await_ready(process: QemuProcess, console: Console, image: Image, config: QemuConfig) -> None:
    said, lines = console.wait_for(
        READY, FAILED, timeout=config.boot_timeout, alive=lambda: process.running
    )
    if said.startswith(READY):
        return
    if said:
        raise BootError(f"{image.spec}: {said}; see the kernel's modules and QEMU's devices")
    if process.running:
        last = next((line for line in reversed(lines) if line.strip()), "nothing on the console")
        raise BootError(
            f"{image.spec}: no '{READY}' within {config.boot_timeout:g} s; last: {last.strip()}; "
            "try another CPU model, or more time"
        )
    if "host forwarding" in process.complaint():
        raise _PortTakenError(f"{image.spec}: {process.complaint()}")
    if config.device_memory and f"'{MEMORY_DEVICE}' is not a valid device" in process.complaint():
        raise _NoDeviceError(f"{image.spec}: {process.complaint()}")
    if splat := worst(find_splats(lines)):
        raise BootError(f"{image.spec}: the kernel died while booting: {splat.title}")
    detail = process.complaint() or signal_name(process.exit_status or 0)
    raise BootError(f"{image.spec}: QEMU ended before the guest was ready: {detail}")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
