# SPDX-License-Identifier: GPL-2.0-only
"""What differs at a step, as boxes to draw: leaves of a table, or pages of a dirty log.

A picture has a row a side (before the step, model, kernel) over one range of addresses. Numbers
are in units of the drawing; the template turns them into SVG.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET, Struct

from harness.report.diff import reads_outputs
from harness.vocabulary import Finding, StepDifference
from reference_model.describe import size_text

#: Units a picture is wide at most; the least width of one in the drawing, and of all.
_MOST_UNITS = 64
_UNIT = 14
_LEAST_WIDTH = 360
#: Leaves of one run that are looked at.
_MOST_LEAVES = 4096

_SIDES = {
    "model": ("model", "kernel"),
    "pinned": ("pinned", "kernel"),
    "model-pinned": ("pinned", "model"),
    "invariant": ("promised", "kernel"),
}

#: Address -> size, and everything else that tells one leaf from another.
_Cells = Mapping[int, tuple[int, tuple[Any, ...]]]


class Box(Struct, frozen=True):
    """One leaf or page: where, how wide, what class of colour, whether it differs, in words."""

    x: int
    width: int
    kind: str
    differs: bool
    words: str


class Row(Struct, frozen=True):
    """One side (model, pinned, promised or kernel), and a box for each leaf or page it has."""

    label: str
    boxes: tuple[Box, ...]


class Picture(Struct, frozen=True, kw_only=True):
    """Rows over one range, from ``low`` to ``high`` as text; a box is a ``unit``, leaf or page."""

    title: str
    unit: str
    width: int
    rows: tuple[Row, ...]
    low: str
    high: str


def pictures(finding: Finding) -> list[Picture]:
    """A picture for each channel of the first differing step that can be drawn.

    Where the kernel differs from the model and from a pin, the model's is drawn.
    """
    out: list[Picture] = []
    drawn_channels: set[str] = set()
    first = finding.differences[0].step if finding.differences else None
    for difference in finding.differences:
        if difference.step != first:
            break
        if difference.channel == "leaves":
            drawn = _leaves_picture(finding, difference)
        elif difference.channel == "dirty":
            drawn = _dirty_picture(difference)
        else:
            drawn = None
        if drawn is not None and difference.channel not in drawn_channels:
            drawn_channels.add(difference.channel)
            out.append(drawn)
    return out


def _leaves_picture(finding: Finding, difference: StepDifference) -> Picture | None:
    left, right = _SIDES[difference.against]
    try:
        outputs = reads_outputs(finding)
        shown = ((left, difference.expected), (right, difference.observed))
        sides = {side: _cells(runs, outputs=outputs) for side, runs in shown}
        before = _before(finding, difference.step)
        rows = ({} if before is None else {"before": _cells(before, outputs=outputs)}) | sides
    except (TypeError, ValueError):
        return None  # a side is no list of leaves: the text shows it
    differing = _differing(sides[left], sides[right])
    if not differing:
        return None
    unit = min(cells[at][0] for cells in sides.values() for at in differing if at in cells)
    low = max(min(differing) // unit * unit - 2 * unit, 0)
    end = max(at + cells[at][0] for cells in sides.values() for at in differing if at in cells)
    count = min(-(-(end + unit - low) // unit), _MOST_UNITS)
    return _picture(f"leaves at step {difference.step}", rows, differing, low, unit, count, hex)


def _dirty_picture(difference: StepDifference) -> Picture | None:
    left, right = _SIDES[difference.against]
    if not all(isinstance(one, list | tuple) for one in (difference.expected, difference.observed)):
        return None
    sides = {
        left: dict.fromkeys(difference.expected, (1, ("dirty",))),
        right: dict.fromkeys(difference.observed, (1, ("dirty",))),
    }
    differing = _differing(sides[left], sides[right])
    if not differing:
        return None
    low = max(min(differing) - 2, 0)
    count = min(max(differing) + 3 - low, _MOST_UNITS)
    title = f"dirty pages at step {difference.step}"
    return _picture(title, sides, differing, low, 1, count, str)


def _picture(
    title: str,
    rows: Mapping[str, _Cells],
    differing: set[int],
    low: int,
    unit: int,
    count: int,
    text: Any,
) -> Picture:
    high = low + count * unit
    scale = max(_UNIT, _LEAST_WIDTH // count)
    return Picture(
        title=title,
        unit="leaf" if text is hex else "page",
        width=count * scale,
        rows=tuple(
            Row(label, tuple(_boxes(cells, differing, low, high, scale / unit)))
            for label, cells in rows.items()
        ),
        low=text(low),
        high=text(high),
    )


def _boxes(cells: _Cells, differing: set[int], low: int, high: int, scale: float) -> Iterable[Box]:
    for at in sorted(cells):
        size, what = cells[at]
        start, end = max(at, low), min(at + size, high)
        if start >= end:
            continue
        yield Box(
            x=int((start - low) * scale),
            width=max(int((end - start) * scale), 2),
            kind=_kind(what),
            differs=at in differing,
            words=_words(at, size, what),
        )


def _kind(what: tuple[Any, ...]) -> str:
    if len(what) == 1:
        return str(what[0])
    return "".join(letter for letter in "rwx" if letter in str(what[1])) or "none"


def _words(at: int, size: int, what: tuple[Any, ...]) -> str:
    if len(what) == 1:
        return f"page {at}"
    pa, prot, sw, af, attr = what
    extra = f" sw={sw:#x}" if sw else ""
    age = "" if af else " old"
    kind = "" if attr == "normal" else f" {attr}"
    to = "" if pa is None else f" -> {pa:#x}"
    return f"{at:#x} {size_text(size)}{to} {prot or 'no access'}{extra}{age}{kind}"


def _cells(runs: Any, *, outputs: bool) -> dict[int, tuple[int, tuple[Any, ...]]]:
    cells: dict[int, tuple[int, tuple[Any, ...]]] = {}
    for ipa, size, pa, prot, sw, af, attr, count in runs:
        for index in range(min(count, _MOST_LEAVES)):
            step = index * size
            cells[ipa + step] = (size, (pa + step if outputs else None, prot, sw, af, attr))
    return cells


def _differing(left: _Cells, right: _Cells) -> set[int]:
    return {at for at in left.keys() | right.keys() if left.get(at) != right.get(at)}


def _before(finding: Finding, step: int) -> Any:
    """The kernel's leaves before a step; None where they are not known."""
    if step == 0:
        return ()
    if finding.run is None or step > len(finding.run.steps):
        return None
    leaves = finding.run.steps[step - 1].leaves
    return None if leaves is UNSET else leaves
