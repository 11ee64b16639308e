# SPDX-License-Identifier: GPL-2.0-only
"""A batch program whose records come over the target's console instead of its SSH channel."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from harness.targets import Command, Target
from harness.vocabulary import TransportLostError

#: Seconds between two looks at the console.
_LOOK = 0.01
#: A serial port that sleeps (runtime PM, since 6.5) takes a write and sends it a moment later,
#: which is too late for the last words of a program that ends its kernel: keep it awake.
_SCRIPT = """
for port in /sys/bus/serial-base/devices/*/power/control; do
	[ -w "$port" ] && echo on >"$port"
done
exec "$0" "$@" >{console}
"""
#: The head of a kernel message: at the start of a line, or where it cut into a record.
_STAMP = re.compile(r"\[ *\d+\.\d{6}\]")


class ConsoleTap:
    """A :class:`harness.targets.Command`; the kernel's own lines are kept in :attr:`log`."""

    def __init__(self, target: Target, argv: Sequence[str]) -> None:
        self._target = target
        self.log: list[str] = []
        script = _SCRIPT.format(console=target.console)
        self._command: Command = target.start(["sh", "-c", script, *argv])
        self._lost: TransportLostError | None = None
        self._ended = False

    @property
    def status(self) -> int | None:
        """Exit status of the program."""
        return self._command.status

    def read(self, wait: float) -> list[str] | None:
        """See :meth:`harness.targets.Command.read`."""
        deadline = time.monotonic() + wait
        while True:
            final = self._ended or self._lost is not None
            if records := self._records(settle=self._ended):
                return records
            if self._lost is not None:
                raise self._lost
            if final:
                return None
            if not self._ended and (said := self._step()):
                return said
            if time.monotonic() >= deadline and not (self._ended or self._lost):
                return []

    def close(self) -> None:
        """Give it up."""
        self._command.close()

    def _step(self) -> list[str]:
        try:
            said = self._command.read(_LOOK)
        except TransportLostError as error:
            self._lost = error
            return []
        if said is None:
            self._ended = True
        return said or []

    def _records(self, *, settle: bool) -> list[str]:
        records = []
        for line in self._target.kernel_log(settle=settle):
            if stamp := _STAMP.search(line):
                self.log.append(line[stamp.start() :])
            elif line:
                records.append(line)
        return records
