# SPDX-License-Identifier: GPL-2.0-only
"""Records of /dev/kmsg to lines as dmesg prints them. Pure."""

from __future__ import annotations

import re

#: ``prio,seq,usec,flags[,…];text`` (Documentation/ABI/testing/dev-kmsg)
_RECORD = re.compile(r"\d+,(\d+),(\d+),[^;]*;(.*)")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


class KmsgReader:
    """Gives every record once: after a restart the kernel tells all of them again."""

    def __init__(self) -> None:
        self._seen = -1

    def line(self, record: str) -> str | None:
        """``[   12.345678] text``; None for a record seen before and for its dictionary."""
        match = _RECORD.fullmatch(record)
        if match is None or int(match[1]) <= self._seen:
            return None
        self._seen = int(match[1])
        micros = int(match[2])
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), match[3])
        return f"[{micros // 1_000_000:5d}.{micros % 1_000_000:06d}] {text}"
