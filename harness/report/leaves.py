# SPDX-License-Identifier: GPL-2.0-only
"""Leaves of tables as pictures of one address range, and the leaves that differ by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from reference_model.describe import size_text

#: Cells of a picture.
_CELLS = 32
#: Leaves of one run that are drawn; a longer run goes on as its first leaves do.
_MOST_LEAVES = 1 << 14
_MOST_NAMED = 4

#: Size, output address (None: not read), permissions, software bits, access flag, memory type.
Leaf = tuple[int, int | None, str, int, bool, str]
Leaves = Mapping[int, Leaf]


class Pictures(Struct, frozen=True, kw_only=True):
    """The same address range in several tables: a line each, and marks below what differs.

    ``named`` are the leaves that differ, in words.
    """

    lines: tuple[str, ...]
    marks: str
    named: tuple[str, ...]


def leaf_pictures(
    expected: Any,
    observed: Any,
    before: Any = None,
    sides: tuple[str, str] = ("model", "kernel"),
    *,
    outputs: bool = True,
) -> Pictures | None:
    """Two tables, and after them the one ``before`` if given, where the two differ.

    ``outputs``: output addresses were read; suite guest writes them as 0, and not as they are.
    None where a side is no list of leaf runs, or nothing differs.
    """
    try:
        left, right = _leaves(expected, outputs=outputs), _leaves(observed, outputs=outputs)
        old = None if before is None else _leaves(before, outputs=outputs)
    except (TypeError, ValueError, IndexError):
        return None
    differing = [
        ipa for ipa in sorted(left.keys() | right.keys()) if left.get(ipa) != right.get(ipa)
    ]
    if not differing:
        return None
    sizes = [leaves[ipa][0] for leaves in (left, right) for ipa in differing if ipa in leaves]
    unit = min(sizes)
    low = max(differing[0] - 2 * unit, 0)
    ends = [ipa + leaves[ipa][0] for leaves in (left, right) for ipa in differing if ipa in leaves]
    count = min(-(-(max(ends) + unit - low) // unit), _CELLS)
    shown = (left, right) if old is None else (left, right, old)
    marked = set(differing)
    marks = "".join("^" if low + at * unit in marked else " " for at in range(count))
    return Pictures(
        lines=tuple(_picture(leaves, low, unit, count) for leaves in shown),
        marks=f"{' ' * len(f'{low:x}')} {marks}".rstrip(),
        named=tuple(_named(left, right, differing, sides)),
    )


def picture(runs: Sequence[Sequence[Any]]) -> str:
    """All leaves of a small table as one picture: ``80000000 ██·█ 80004000   3 x 4K rw``."""
    leaves = _leaves(runs)
    if not leaves:
        return "nothing mapped"
    unit = min(leaf[0] for leaf in leaves.values())
    low = min(leaves) // (4 * unit) * (4 * unit)
    high = max(ipa + leaf[0] for ipa, leaf in leaves.items())
    count = -(-(high - low) // (4 * unit)) * 4
    return _picture(leaves, low, unit, min(count, _CELLS))


def _leaves(runs: Sequence[Sequence[Any]], *, outputs: bool = True) -> dict[int, Leaf]:
    """Every leaf by its IPA; long runs are cut: a picture has few cells."""
    out: dict[int, Leaf] = {}
    for ipa, size, pa, prot, sw, af, attr, count in runs:
        for index in range(min(count, _MOST_LEAVES)):
            output = pa + index * size if outputs else None
            out[ipa + index * size] = (size, output, prot, sw, af, attr)
    return out


def _picture(leaves: Leaves, low: int, unit: int, count: int) -> str:
    larger = [(ipa, ipa + leaf[0]) for ipa, leaf in leaves.items() if leaf[0] > unit]
    drawn: list[str] = []
    inside: list[Leaf] = []
    for ipa in range(low, low + count * unit, unit):
        leaf = leaves.get(ipa)
        if leaf is not None:
            inside.append(leaf)
        covered = leaf is not None or any(start <= ipa < stop for start, stop in larger)
        drawn.append("█" if covered else "·")
    return f"{low:x} {''.join(drawn)} {low + count * unit:x}   {_kinds(inside)}"


def _kinds(leaves: Sequence[Leaf]) -> str:
    kinds: dict[str, int] = {}
    for leaf in leaves:
        text = _kind(leaf)
        kinds[text] = kinds.get(text, 0) + 1
    return ", ".join(f"{number} x {text}" for text, number in kinds.items()) or "nothing mapped"


def _kind(leaf: Leaf) -> str:
    size, _pa, prot, sw, af, attr = leaf
    words = [size_text(size), prot or "no access"]
    words += [f"sw={sw:#x}"] if sw else []
    words += [] if af else ["old"]
    words += [] if attr == "normal" else [attr]
    return " ".join(words)


def _named(
    left: Leaves, right: Leaves, differing: Sequence[int], sides: tuple[str, str]
) -> list[str]:
    """``80003000: model not mapped, kernel 4K rw -> 0x43000``."""
    out = []
    for ipa in differing[:_MOST_NAMED]:
        words = [f"{side} {_leaf_text(leaves.get(ipa))}" for side, leaves in
                 zip(sides, (left, right), strict=True)]  # fmt: skip
        out.append(f"{ipa:x}: {', '.join(words)}")
    if len(differing) > _MOST_NAMED:
        out.append(f"{len(differing) - _MOST_NAMED} more leaves differ")
    return out


def _leaf_text(leaf: Leaf | None) -> str:
    if leaf is None:
        return "no leaf"
    return _kind(leaf) if leaf[1] is None else f"{_kind(leaf)} -> {leaf[1]:#x}"
