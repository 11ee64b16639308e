# SPDX-License-Identifier: GPL-2.0-only
"""A booted guest that programs and modules of one file are run on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import kernels
from harness.targets import QemuConfig, Target, open_qemu
from harness.toolchain import module
from harness.toolchain.compiler import run_compiler
from tests.execute import live

_SECONDS = 60.0


@contextmanager
def booted(spec: str) -> Iterator[Target]:
    """A guest of that kernel; gone when the block ends. Skips where there is no kernel."""
    target = open_qemu(live.image(spec), QemuConfig(), name=spec)
    try:
        yield target
    finally:
        target.close()


def run(target: Target, argv: Sequence[str]) -> tuple[int | None, str]:
    """Exit status and output."""
    command = target.start(argv)
    out: list[str] = []
    deadline = time.monotonic() + _SECONDS
    try:
        while time.monotonic() < deadline:
            lines = command.read(0.5)
            if lines is None:
                return command.status, "\n".join(out)
            out += lines
    finally:
        command.close()
    raise AssertionError(f"{argv[0]} did not end in {_SECONDS} s: {out[-5:]}")


def run_program(target: Target, text: str, folder: Path) -> tuple[int | None, str]:
    """Compile one C file with nothing but the C library, and run it."""
    (folder / "t.c").write_text(text)
    subprocess.run(
        ["aarch64-linux-gnu-gcc", "-O2", "-Wall", "-Werror", "-static", "-o", "t", "t.c"],
        cwd=folder, check=True, timeout=60,
    )  # fmt: skip
    return run(target, [target.put(folder / "t", "t")])


def run_module(target: Target, text: str, folder: Path) -> tuple[int | None, str]:
    """Build one C file as a module for the target's kernel, load it, return the kernel log."""
    tree = kernels.fetch_headers(target.info.release)
    folder.mkdir(exist_ok=True)
    (folder / "t.c").write_text(text)
    (folder / "Kbuild").write_text("obj-m := t.o\n")
    sandbox, make = module._sandbox(tree, folder), module._make(tree)
    run_compiler(sandbox, make, folder, module.BUILD_SECONDS)
    remote = target.put(folder / "t.ko", "t.ko")
    status, _ = run(target, ["insmod", remote])
    _, log = run(target, ["dmesg"])
    if status == 0:
        run(target, ["rmmod", "t"])
    # busybox's insmod tries twice where the first time fails.
    return status, log[max(log.rfind("KTAP version 1"), 0) :]
