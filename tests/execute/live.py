# SPDX-License-Identifier: GPL-2.0-only
"""What the live tests share: a kernel, QEMU, and a batch program that misbehaves on demand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness import kernels
from harness.vocabulary import BatchProgram, HarnessError, Image

_SOURCE = Path(__file__).with_name("misbehave.c")
_COMPILER = "aarch64-linux-gnu-gcc"


def image(spec: str) -> Image:
    """The kernel of a SPEC; the test is skipped where it cannot be had."""
    if shutil.which("qemu-system-aarch64") is None:
        pytest.skip("qemu-system-aarch64 is not installed")
    try:
        return kernels.resolve(spec)
    except HarnessError as error:
        pytest.skip(f"no kernel {spec}: {error}")


def program(directory: Path, *behaviours: str) -> BatchProgram:
    """A batch whose scenarios behave so (see misbehave.c); their ids are "N-BEHAVIOUR"."""
    if shutil.which(_COMPILER) is None:
        pytest.skip(f"{_COMPILER} is not installed")
    elf = directory / "batch"
    listed = ",".join(f'"{behaviour}"' for behaviour in behaviours)
    flags = ["-O1", "-static", "-Wall", "-Wno-unused-result", f"-DBEHAVIOURS={listed}"]
    subprocess.run([_COMPILER, *flags, "-o", str(elf), str(_SOURCE)], check=True, timeout=120)
    ids = tuple(f"{index}-{behaviour}" for index, behaviour in enumerate(behaviours))
    return BatchProgram(elf=str(elf), ids=ids)
