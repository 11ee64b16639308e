# SPDX-License-Identifier: GPL-2.0-only
"""The bare loop compiles, warnings being errors, and is what targets can run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from harness.toolchain import build_lifecycle

pytestmark = pytest.mark.skipif(
    shutil.which("aarch64-linux-gnu-gcc") is None, reason="aarch64-linux-gnu-gcc is not installed"
)


def test_the_bare_loop_is_a_static_arm64_program() -> None:
    path = build_lifecycle()
    with Path(path).open("rb") as file:
        elf = ELFFile(file)
        assert elf.get_machine_arch() == "AArch64"
        assert elf.get_section_by_name(".interp") is None
    assert build_lifecycle() == path, "the second build comes from the cache"
