# SPDX-License-Identifier: GPL-2.0-only
"""The C runtime of kselftests/ as one object, compiled once for each compiler and source."""

from __future__ import annotations

from pathlib import Path

from harness.resources import resource_dir
from harness.toolchain.cache import Cache, digest
from harness.toolchain.compiler import Compiler, run_compiler

#: Our own code: a warning is an error, in the runtime and in what is rendered.
CFLAGS = ("-std=gnu11", "-g0", "-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing")
_MOST_RUNTIMES = 8
_SOURCES = ("*.c", "*.S", "*.h")


def runtime_sources() -> list[Path]:
    """The runtime's files: those of kselftests/ itself, not of its subfolders; sorted."""
    folder = resource_dir("kselftests")
    return sorted(path for pattern in _SOURCES for path in folder.glob(pattern))


def runtime_object(compiler: Compiler) -> tuple[Path, str]:
    """The runtime as one relocatable object, and the key that names it.

    BuildError where it does not compile; InfraError where the cache cannot be written.
    """
    sources = runtime_sources()
    parts: list[bytes | str] = [compiler.version, *compiler.command, *CFLAGS]
    for path in sources:
        parts += [path.name, path.read_bytes()]
    key = digest(parts)
    units = [str(path) for path in sources if path.suffix != ".h"]

    def build(entry: Path) -> None:
        flags = [*CFLAGS, "-O2", "-r", "-nostdlib", "-o", str(entry)]
        run_compiler(compiler.command, [*flags, *units], entry.parent)

    return Cache("runtime", _MOST_RUNTIMES).get(key, build), key
