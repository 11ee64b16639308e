# SPDX-License-Identifier: GPL-2.0-only
"""What was linked is what was meant: an ELF is looked at before it goes to a target."""

from __future__ import annotations

from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.vocabulary import BuildError

#: sizeof(struct scenario) in kselftests/runner.h: two pointers.
_SCENARIO_BYTES = 16


def check_elf(path: Path, scenarios: int) -> None:
    """BuildError unless it is a static aarch64 program with main() and that many scenarios."""
    try:
        with path.open("rb") as stream:
            problem = _problem(ELFFile(stream), scenarios)
    except (ELFError, OSError) as error:
        problem = f"is no readable ELF file: {error}"
    if problem:
        raise BuildError(f"the linked selftest {problem}; check the compiler that HARNESS_CC names")


def _problem(elf: ELFFile, scenarios: int) -> str:
    header = elf.header
    if header["e_machine"] != "EM_AARCH64" or elf.elfclass != 64:
        return f"is for {header['e_machine']}, not for 64-bit arm64"
    if header["e_type"] not in ("ET_EXEC", "ET_DYN"):
        return f"is no program ({header['e_type']})"
    if any(segment["p_type"] == "PT_INTERP" for segment in elf.iter_segments()):
        return "is not static: it names a dynamic loader"
    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection) or not table.get_symbol_by_name("main"):
        return "has no main()"
    symbols = table.get_symbol_by_name("scenarios") or []
    found = sum(symbol["st_size"] for symbol in symbols) // _SCENARIO_BYTES
    if found != scenarios:
        return f"holds {found} scenarios, not {scenarios}"
    return ""
