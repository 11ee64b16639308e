# SPDX-License-Identifier: GPL-2.0-only
"""A step in one line, the way a report and a rendered comment show it."""

from __future__ import annotations

from reference_model import scenario as sc

_UNITS = ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K"))


def size_text(size: int) -> str:
    """Bytes in the largest unit that divides them: ``2M``, ``4K``, ``17``."""
    for unit, letter in _UNITS:
        if size and size % unit == 0:
            return f"{size // unit}{letter}"
    return str(size)


def describe(op: sc.PgtableOp | sc.GuestOp) -> str:
    """``map 0x80000000 +16K -> 0x40000 rw [shared]``; the operation's name comes first."""
    words = [op.name]
    for field in op.__struct_fields__:
        value = getattr(op, field)
        if field in ("vcpu", "flags", "backing", "memcache") and not value and value != 0:
            continue
        word = _word(field, value)
        if word:
            words.append(word)
    return " ".join(words)


def _word(field: str, value: object) -> str:  # noqa: PLR0911 - one line a field
    if isinstance(value, sc.Backing):
        return "prefill" if value.prefill else ""
    if isinstance(value, tuple):
        return f"[{' '.join(str(item) for item in value)}]" if value else ""
    if not isinstance(value, int) or isinstance(value, bool):
        return "" if value is None or not isinstance(value, str) else value
    match field:
        case "ipa" | "gpa":
            return f"{value:#x}"
        case "size":
            return f"+{size_text(value)}" if value else ""
        case "pa":
            return f"-> {value:#x}"
        case "value":
            return f"<- {value:#x}"
        case "vcpu" | "sw":
            return f"{field}={value}" if value else ""
        case "slot":
            return f"slot {value}"
        case _:
            return f"{field}={value}"
