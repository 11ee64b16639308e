# SPDX-License-Identifier: GPL-2.0-only
"""Leaves of two tables as two pictures of the same address range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reference_model.describe import size_text

_CELLS = 32


def leaf_lines(expected: Any, observed: Any) -> tuple[str, str] | None:
    """``80000000 ###. 80004000  3 x 4K rw`` for both sides over the range where they differ.

    None where a side is no list of leaf runs.
    """
    try:
        left, right = _cells(expected), _cells(observed)
    except (TypeError, ValueError, IndexError):
        return None
    differing = {ipa for ipa in left.keys() | right.keys() if left.get(ipa) != right.get(ipa)}
    if not differing:
        return None
    sizes = [(left.get(ipa) or right[ipa])[0] for ipa in differing]
    unit = min(sizes)
    low = max(min(differing) - 2 * unit, 0)
    high = max(ipa + size for ipa, size in zip(differing, sizes, strict=True)) + unit
    count = min((high - low) // unit, _CELLS)
    return _picture(left, low, unit, count), _picture(right, low, unit, count)


def picture(runs: Sequence[Sequence[Any]]) -> str:
    """All leaves of a small table as one picture: ``80000000 ██·█ 80004000   3 x 4K rw``."""
    cells = _cells(runs)
    if not cells:
        return "nothing mapped"
    unit = min(cell[0] for cell in cells.values())
    low = min(cells) // (4 * unit) * (4 * unit)
    high = max(ipa + cell[0] for ipa, cell in cells.items())
    count = -(-(high - low) // (4 * unit)) * 4
    return _picture(cells, low, unit, min(count, _CELLS))


def _cells(runs: Sequence[Sequence[Any]]) -> dict[int, tuple[Any, ...]]:
    """Every leaf by its IPA; long runs are cut: a picture has few cells."""
    out: dict[int, tuple[Any, ...]] = {}
    for ipa, size, pa, prot, sw, af, attr, count in runs:
        for index in range(min(count, 1 << 14)):
            out[ipa + index * size] = (size, pa + index * size, prot, sw, af, attr)
    return out


def _picture(cells: dict[int, tuple[Any, ...]], low: int, unit: int, count: int) -> str:
    drawn: list[str] = []
    inside: list[tuple[Any, ...]] = []
    for index in range(count):
        ipa = low + index * unit
        cell = cells.get(ipa)
        if cell is not None:
            inside.append(cell)
        covered = cell is not None or any(
            start <= ipa < start + leaf[0] for start, leaf in cells.items() if leaf[0] > unit
        )
        drawn.append("█" if covered else "·")
    return f"{low:x} {''.join(drawn)} {low + count * unit:x}   {_words(inside)}"


def _words(leaves: list[tuple[Any, ...]]) -> str:
    kinds: dict[str, int] = {}
    for size, _pa, prot, sw, af, attr in leaves:
        text = f"{size_text(size)} {prot or 'none'}"
        text += f" sw{sw}" if sw else ""
        text += "" if af else " old"
        text += "" if attr == "normal" else f" {attr}"
        kinds[text] = kinds.get(text, 0) + 1
    return ", ".join(f"{number} x {text}" for text, number in kinds.items()) or "nothing mapped"
