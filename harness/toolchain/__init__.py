# SPDX-License-Identifier: GPL-2.0-only
"""C source comes in; a checked static aarch64 ELF goes out, from the cache where it can.

This room must never know a scenario's meaning, a target or a result.
"""

from harness.toolchain.batch import build_batch
from harness.toolchain.bench import build_lifecycle
from harness.toolchain.compiler import Compiler, find_compiler
from harness.toolchain.module import build_module, build_own_module

__all__ = [
    "Compiler",
    "build_batch",
    "build_lifecycle",
    "build_module",
    "build_own_module",
    "find_compiler",
]
