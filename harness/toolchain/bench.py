# SPDX-License-Identifier: GPL-2.0-only
"""The bare loop of VM life cycles (kselftests/bench), which rates are held against."""

from __future__ import annotations

from pathlib import Path

from harness.resources import resource_dir
from harness.toolchain.cache import Cache, digest
from harness.toolchain.compiler import find_compiler, run_compiler
from harness.toolchain.runtime import CFLAGS

_MOST = 4


def build_lifecycle() -> Path:
    """A static aarch64 ELF: ``lifecycle COUNT [SLOTS ENTRIES PAGES [beside]]``.

    It prints ``lifecycle COUNT MICROSECONDS``; what a life does is said in the source.

    ToolMissingError, BuildError, InfraError as in build_batch().
    """
    compiler = find_compiler()
    source = resource_dir("kselftests") / "bench" / "lifecycle.c"

    def build(entry: Path) -> None:
        flags = [*CFLAGS, "-O2", "-static", "-o", str(entry)]
        run_compiler(compiler.command, [*flags, str(source)], entry.parent)

    key = digest([compiler.version, *compiler.command, *CFLAGS, source.read_bytes()])
    return Cache("bench", _MOST).get(key, build)
