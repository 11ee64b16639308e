# SPDX-License-Identifier: GPL-2.0-only
"""Values of channels as the C files write them."""

from __future__ import annotations

from typing import Any

from reference_model.describe import value_text
from reference_model.outcome import AnnotationRun, LeafRun

_MOST_RUNS = 6


def leaf_words(run: LeafRun) -> str:
    """``0x80000000: 3 x 0x1000 -> 0x40000 rw``; numbers as the kernel's ``%#llx`` writes them."""
    ipa, size, pa, prot, sw, young, kind, count = run
    words = [f"{ipa:#x}: {count} x {size:#x} -> {pa:#x} {prot}"]
    words += [f"sw={sw:#x}"] if sw else []
    words += [] if young else ["old"]
    words += [] if kind == "normal" else [kind]
    return " ".join(words)


def owner_words(run: AnnotationRun) -> str:
    """``0x80000000: 2 x 0x1000 value 0x4``: invalid entries that hold something."""
    ipa, size, value, count = run
    return f"{ipa:#x}: {count} x {size:#x} value {value:#x}"


def channel_words(channel: str, value: Any) -> list[str]:
    """A channel's value in lines; long lists are cut."""
    if channel in ("leaves", "annotations") and isinstance(value, (list, tuple)):
        form = leaf_words if channel == "leaves" else owner_words
        lines = [form(run) for run in value[:_MOST_RUNS]]
        lines += [f"and {len(value) - _MOST_RUNS} runs more"] if len(value) > _MOST_RUNS else []
        return lines or ["none"]
    return [value_text(channel, value)]
