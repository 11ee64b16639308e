# SPDX-License-Identifier: GPL-2.0-only
"""The serial console of a guest, read from the file that QEMU writes it to.

QEMU writes every character to the file as the guest sends it, so the file is complete when the
guest is dead, needs no thread, and can be read by another process than the one that started QEMU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from harness.targets.lines import LineBuffer
from harness.targets.splat import message

#: Seconds between two looks at the file while waiting.
_LOOK = 0.005


class Console:
    """New lines of a console file, each given out once."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self._offset = offset
        self._buffer = LineBuffer()

    def read(self) -> tuple[str, ...]:
        """Lines completed since the last call; an incomplete last line waits for its end."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return ()
        self._offset += len(data)
        return tuple(self._buffer.feed(data)) if data else ()

    def drain(self) -> tuple[str, ...]:
        """As :meth:`read`, with an incomplete last line too: for a console that has ended."""
        return (*self.read(), *self._buffer.rest())

    def wait_for(
        self, *texts: str, timeout: float, alive: Callable[[], bool]
    ) -> tuple[str, tuple[str, ...]]:
        """Read until a line whose message begins with one of ``texts``.

        Gives that message, "" if none came in time, and all lines read. Ends early when ``alive``
        says no.
        """
        deadline = time.monotonic() + timeout
        seen: list[str] = []
        while True:
            living = alive()
            lines = self.read()
            seen += lines
            for line in lines:
                if (said := message(line)).startswith(texts):
                    return said, tuple(seen)
            if not living or time.monotonic() > deadline:
                return "", (*seen, *self._buffer.rest())
            time.sleep(_LOOK)
