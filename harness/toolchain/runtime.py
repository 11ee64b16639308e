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


def runtime_units() -> list[Path]:
    """What is compiled: the units of kselftests/ itself, not of its subfolders; sorted."""
    folder = resource_dir("kselftests")
    return sorted([*folder.glob("*.c"), *folder.glob("*.S")])


def runtime_headers() -> list[Path]:
    """What the units may include: every header of kselftests/; sorted."""
    return sorted(resource_dir("kselftests").rglob("*.h"))


def runtime_object(compiler: Compiler) -> tuple[Path, str]:
    """The runtime as one relocatable object, and the key that names it.

    BuildError where it does not compile; InfraError where the cache cannot be written.
    """
    units = runtime_units()
    parts: list[bytes | str] = [compiler.version, *compiler.command, *CFLAGS]
    for path in [*units, *runtime_headers()]:
        parts += [path.name, path.read_bytes()]
    key = digest(parts)

    def build(entry: Path) -> None:
        flags = [*CFLAGS, "-O2", "-r", "-nostdlib", "-o", str(entry)]
        run_compiler(compiler.command, [*flags, *map(str, units)], entry.parent)

    return Cache("runtime", _MOST_RUNTIMES).get(key, build), key
