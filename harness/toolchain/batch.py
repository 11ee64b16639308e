# SPDX-License-Identifier: GPL-2.0-only
"""Rendered C to a program: compiled, linked with the runtime, checked, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.resources import resource_dir
from harness.toolchain.cache import Cache, digest
from harness.toolchain.compiler import find_compiler, run_compiler, strip_command
from harness.toolchain.elf import check_elf
from harness.toolchain.runtime import CFLAGS, runtime_object
from harness.vocabulary import BatchProgram

_MOST_BATCHES = 200
#: Nothing of the scenarios between the sections of the runtime.
_NO_UNWINDING = ("-fno-asynchronous-unwind-tables", "-fno-unwind-tables")


def build_batch(source: str, ids: Sequence[str]) -> BatchProgram:
    """The static aarch64 ELF of a rendered file whose scenarios are ``ids``, in its order.

    ToolMissingError where there is no compiler, BuildError with the compiler's first error line
    where the source does not compile, InfraError where the cache cannot be written.
    """
    compiler = find_compiler()
    runtime, runtime_key = runtime_object(compiler)
    include = str(resource_dir("kselftests"))
    layout = resource_dir("kselftests") / "batch.ld"

    def build(entry: Path) -> None:
        text = entry.with_name("batch.c")
        text.write_text(source, encoding="utf-8")
        # Calls in a row: nothing to optimise, and compiling is part of every run's time.
        flags = [*CFLAGS, *_NO_UNWINDING, "-O0", f"-I{include}", "-c", text.name]
        run_compiler(compiler.command, flags, entry.parent)
        # The runtime first, and the scenarios where the script puts them: what all programs have
        # in common stands at the same place in each, and crosses a link once.
        parts = [str(runtime), "batch.o", "-T", str(layout)]
        run_compiler(compiler.command, ["-static", "-o", str(entry), *parts], entry.parent)
        check_elf(entry, len(ids))
        # The symbols served to check it, and would cross every link to a target.
        run_compiler(strip_command(compiler), [str(entry)], entry.parent)

    key = digest([runtime_key, layout.read_bytes(), source, str(len(ids))])
    elf = Cache("batches", _MOST_BATCHES).get(key, build)
    return BatchProgram(elf=str(elf), ids=tuple(ids))
