# SPDX-License-Identifier: GPL-2.0-only
"""What differs between a file and its last version at the far end of a slow link."""

from __future__ import annotations

from msgspec import Struct

#: Bytes that are compared, and copied, at once.
PAGE = 4096
#: Pages that are alike and yet copied: a run of its own costs a program's start at the far end,
#: which is some milliseconds in an emulated guest.
_GAP = 4
#: More runs, or a larger share of the file, and all of it is copied.
_MOST_RUNS = 16
_MOST_SHARE = 0.6

#: $0 the file, $1 its size, then FIRST+COUNT for each run of pages; the pages come on stdin.
REPLACE_SCRIPT = (
    'size=$1 && shift && for run; do dd of="$0" bs=4096 seek="${run%+*}" count="${run#*+}" '
    "conv=notrunc iflag=fullblock 2>/dev/null || exit 1; done; "
    'truncate -s "$size" "$0" && echo "$size"'
)


class Changes(Struct, frozen=True):
    """Runs of pages ``(first, count)`` in ascending order, and their bytes one after another.

    The last page is filled up with zeroes.
    """

    runs: tuple[tuple[int, int], ...]
    data: bytes

    def arguments(self) -> list[str]:
        """The runs as arguments of :data:`REPLACE_SCRIPT`."""
        return [f"{first}+{count}" for first, count in self.runs]


def changes(old: bytes, new: bytes) -> Changes | None:
    """What makes ``new`` of ``old``, but for its length; None: it is not worth it."""
    runs: list[list[int]] = []
    for page in range(-(-len(new) // PAGE)):
        at = page * PAGE
        if old[at : at + PAGE] == new[at : at + PAGE]:
            continue
        if runs and page - sum(runs[-1]) <= _GAP:
            runs[-1][1] = page + 1 - runs[-1][0]
        else:
            runs.append([page, 1])
    copied = sum(count for _, count in runs) * PAGE
    if not old or len(runs) > _MOST_RUNS or copied > _MOST_SHARE * len(new):
        return None
    data = b"".join(new[first * PAGE : (first + count) * PAGE] for first, count in runs)
    return Changes(tuple((first, count) for first, count in runs), data.ljust(copied, b"\0"))
