# SPDX-License-Identifier: GPL-2.0-only
"""Steps and observations in words, the way reports and rendered comments show them."""

from __future__ import annotations

import errno
from typing import Any

import msgspec

from reference_model import scenario as sc
from reference_model.outcome import Outcome
from reference_model.race_outcome import outcome_text

#: Switches of operations, in words.
_WHEN_TRUE = {"write": "for write", "protect": "on"}
_WHEN_FALSE = {"af": "access flag clear", "protect": "off"}

_NUMBER_FORMS = {
    "ipa": "{:#x}",
    "gpa": "{:#x}",
    "pa": "-> {:#x}",
    "value": "<- {:#x}",
    "tables": "through tables at {:#x}",
    "expected": "if {:#x}",
    "slot": "slot {}",
}

_UNITS = ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K"))


def size_text(size: int) -> str:
    """Bytes in the largest unit that divides them: ``2M``, ``4K``, ``17``."""
    for unit, letter in _UNITS:
        if size and size % unit == 0:
            return f"{size // unit}{letter}"
    return str(size)


def describe(op: sc.PgtableOp | sc.GuestOp | sc.Parallel) -> str:
    """``map 0x80000000 +16K -> 0x40000 rw [shared]``; the operation's name comes first."""
    if isinstance(op, sc.Parallel):
        branches = " | ".join("; ".join(map(describe, branch)) for branch in op.parallel)
        held = f" hold {' '.join(map(hex, op.hold))}" if op.hold else ""
        return f"parallel x{op.repeat}{held}: {branches}"
    words = [op.name]
    for field in sorted(op.__struct_fields__, key=_order):
        value = getattr(op, field)
        if field in ("vcpu", "flags", "backing", "memcache") and not value and value != 0:
            continue
        word = "" if (field, value) == ("form", "plain") else _word(field, value)
        if word:
            words.append(word)
    return " ".join(words)


def _order(field: str) -> int:
    """Where, how much, what, then the rest as declared (sorting is stable)."""
    return {"slot": 0, "ipa": 0, "gpa": 1, "size": 2, "pa": 3, "value": 3}.get(field, 4)


def _word(field: str, value: object) -> str:
    if isinstance(value, sc.Backing):
        return backing_text(value)
    if isinstance(value, tuple):
        return f"[{' '.join(str(item) for item in value)}]" if value else ""
    if isinstance(value, bool):
        return {True: _WHEN_TRUE, False: _WHEN_FALSE}[value].get(field, "")
    if not isinstance(value, int):
        return "" if not isinstance(value, str) or value == "plain" else value
    if field in _NUMBER_FORMS:
        return _NUMBER_FORMS[field].format(value)
    if field == "size":
        return f"+{size_text(value)}" if value else ""
    if field in ("vcpu", "sw"):
        return f"{field}={value}" if value else ""
    return f"{field}={value}"


def backing_text(backing: sc.Backing) -> str:
    """``hugetlb 2M prefill``: what is not the default."""
    words: list[str] = [] if backing.kind == "anon" else [backing.kind]
    if backing.page_size is not None:
        words.append(size_text(backing.page_size))
    if backing.thp != "never":
        words.append(f"thp {backing.thp}")
    if backing.offset:
        words.append(f"behind a block by {size_text(backing.offset)}")
    if backing.prefill:
        words.append("prefill")
    return " ".join(words)


def value_text(channel: str, value: Any) -> str:
    """A channel's value as a reader of kernel logs writes it: errnos by name, addresses in hex."""
    if channel == "ret" and isinstance(value, int) and value < 0:
        return errno_name(value)
    if channel == "data" and isinstance(value, int):
        return f"{value:#x}"
    if channel == "dirty" and isinstance(value, (list, tuple)):
        return "{" + _ranges(list(value)) + "}"
    if channel == "exit" and isinstance(value, dict) and "gpa" in value:
        return _exit(value)
    if channel == "marks" and isinstance(value, (list, tuple)):
        return "[" + ", ".join(f"{ipa:#x}" for ipa in value) + "]"
    if channel == "flushes" and isinstance(value, (list, tuple)):
        return "[" + ", ".join(f"{ipa:#x} +{size_text(size)}" for ipa, size in value) + "]"
    if channel == "injected" and isinstance(value, dict):
        words = [str(value.get("ec", ""))]
        words += [f"{key} {value[key]:#x}" for key in ("fsc", "far") if key in value]
        return " ".join(words)
    if channel == "maps" and isinstance(value, (list, tuple)):
        return "[" + ", ".join(_call(call) for call in value) + "]"
    if channel in ("stats", "cmo", "cmo_pages", "tlbi") and isinstance(value, dict):
        return " ".join(f"{name} {count}" for name, count in value.items())
    if channel == "leaves" and isinstance(value, (list, tuple)):
        return ", ".join(_leaves(run) for run in value) or "no leaf"
    if channel in ("histogram", "outcome"):
        return _outcome(value)
    if value is None:
        return "none"
    return str(value)


def _outcome(value: Any) -> str:
    """An outcome of a parallel block, [times, outcome] of one, or a whole histogram."""
    if isinstance(value, Outcome):
        return outcome_text(value)
    if isinstance(value, dict):
        return outcome_text(msgspec.convert(value, Outcome))
    if isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], int):
        return f"{value[0]} x {_outcome(value[1])}"
    return "; ".join(_outcome(one) for one in value)


def _leaves(run: Any) -> str:
    """One run of leaves: ``0x80000000 3 x 4K rw -> 0x40000``; an output of 0 is left out.

    0 is also written where the output was not read.
    """
    ipa, size, pa, prot, sw, young, kind, count = run
    words = [f"{ipa:#x} {count} x {size_text(size)} {prot or 'no access'}"]
    words += [f"sw={sw:#x}"] if sw else []
    words += [] if young else ["old"]
    words += [] if kind == "normal" else [kind]
    return " ".join([*words, f"-> {pa:#x}"] if pa else words)


def _exit(value: dict[str, Any]) -> str:
    words = [str(value.get("reason", ""))]
    if "write" in value:
        words.append("write" if value["write"] else "read")
    words.append(f"{value['gpa']:#x}")
    if "len" in value:
        words.append(f"len {value['len']}")
    if isinstance(value.get("data"), int):
        words.append(f"data {value['data']:#x}")
    return " ".join(words)


def _call(call: Any) -> str:
    words = [str(call[0])]
    words += [
        f"{item:#x}" if isinstance(item, int) and item >= 0 else str(item) for item in call[1:-1]
    ]
    return " ".join(words) + f" = {errno_name(call[-1]) if call[-1] < 0 else call[-1]}"


def errno_name(value: int) -> str:
    """``-EAGAIN`` for -11; the number where errno has no name for it."""
    name = errno.errorcode.get(-value)
    return f"-{name}" if name else str(value)


def _ranges(pages: list[int]) -> str:
    """``0-3 7``: ascending page offsets with runs folded."""
    out: list[str] = []
    start = previous = None
    for page in [*pages, None]:
        if previous is not None and page != previous + 1:
            out.append(str(start) if start == previous else f"{start}-{previous}")
            start = page
        elif previous is None:
            start = page
        previous = page
    return " ".join(out)
