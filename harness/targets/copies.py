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

#: $0 the file, then FIRST+COUNT for each run of pages; the pages come on stdin, and after them the
#: file's new size, which is printed in the end. dd takes an early end of its input for a good one,
#: but then it has eaten the size as well. A file that is gone would be made anew, full of holes.
REPLACE_SCRIPT = (
    '[ -x "$0" ] || exit 1; '
    'for run; do dd of="$0" bs=4096 seek="${run%+*}" count="${run#*+}" '
    "conv=notrunc iflag=fullblock 2>/dev/null || exit 1; done; "
    'read -r size && truncate -s "$size" "$0" && echo "$size"'
)


class Changes(Struct, frozen=True):
    """Runs of pages ``(first, count)`` in ascending order, and their bytes one after another.

    The last page is filled up with zeroes; ``size`` is that of the whole new file, in bytes.
    """

    runs: tuple[tuple[int, int], ...]
    data: bytes
    size: int

    def arguments(self) -> list[str]:
        """The runs as arguments of :data:`REPLACE_SCRIPT`."""
        return [f"{first}+{count}" for first, count in self.runs]

    def stdin(self) -> bytes:
        """What :data:`REPLACE_SCRIPT` reads; it prints ``size`` if all of this came, in order."""
        return self.data + f"{self.size}\n".encode()


def changes(old: bytes, new: bytes) -> Changes | None:
    """What makes ``new`` of ``old``; None: it is not worth it."""
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
    return Changes(
        runs=tuple((first, count) for first, count in runs),
        data=data.ljust(copied, b"\0"),
        size=len(new),
    )
