# SPDX-License-Identifier: GPL-2.0-only
"""Scenario text as C text: nothing that stands in a scenario can end a comment or a name."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Collection

from harness.vocabulary import UsageError

#: Sizes that the runtime has a name for (kselftests/types.h).
_SIZE_NAMES = {
    0x1000: "SZ_4K",
    0x4000: "SZ_16K",
    0x1_0000: "SZ_64K",
    0x10_0000: "SZ_1M",
    0x20_0000: "SZ_2M",
    0x200_0000: "SZ_32M",
    0x2000_0000: "SZ_512M",
    0x4000_0000: "SZ_1G",
}
_DECIMAL_BELOW = 1024
WIDTH = 100
_TAB = 8


def function_name(ident: str, taken: Collection[str]) -> str:
    """A C function's name for a scenario id (``[a-z0-9._-]+``) that is not yet taken.

    The prefix keeps clear of keywords, macros and the library's names.
    """
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in ident)
    name = f"test_{plain}"
    number = 2
    while name in taken:
        name = f"test_{plain}_{number}"
        number += 1
    return name


def comment_text(text: str) -> str:
    """Text on one line that may stand in a C comment: it can neither end nor open one."""
    spaced = " ".join(text.split())
    printable = "".join("?" if _is_control(c) else c for c in spaced)
    closed = printable.replace("*/", "* /").replace("/*", "/ *").replace("??/", "? ?/")
    # A replacement can meet its neighbour: "**/" is fine, "/*/" is "/ * /" by now.
    return closed.replace("*/", "* /").rstrip("\\")


def _is_control(char: str) -> bool:
    """Control, format (bidirectional text), surrogate, private or separator characters."""
    return unicodedata.category(char)[0] == "C" or unicodedata.category(char) in ("Zl", "Zp")


def comment_lines(text: str) -> list[str]:
    """Comment text in lines that fit; one line where it fits between ``/*`` and ``*/``."""
    return textwrap.wrap(comment_text(text), WIDTH - 6, break_on_hyphens=False) or [""]


def number(value: int, what: str) -> str:
    """A constant as a person would write it; UsageError where it has more than 64 bits."""
    if not 0 <= value < 1 << 64:
        raise UsageError(f"{what} {value:#x} does not fit in 64 bits; make it smaller")
    return str(value) if value < _DECIMAL_BELOW else f"{value:#x}"


def address(value: int) -> str:
    """An address: always in hex."""
    return f"{value:#x}"


def size(value: int, what: str) -> str:
    """A size: by its name where it has one, else as a number."""
    return _SIZE_NAMES.get(value) or number(value, what)


def columns(line: str) -> int:
    """How wide a line is with tabs of 8."""
    return len(line.expandtabs(_TAB))
