# SPDX-License-Identifier: GPL-2.0-only
"""What a target is: one small interface that every transport implements.

The only primitive with waiting in it is :meth:`Command.read`, and its wait is bounded by the
caller; so whoever drives a target decides how long silence may last, and no transport needs a
time-out policy of its own.
"""

from __future__ import annotations

import enum
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from harness.vocabulary import TargetError, TargetInfo


class RunTimeoutError(TargetError):
    """A command on a target did not end within its time; it was closed."""


class Health(enum.Enum):
    """In what state a target is, as far as it can be told from outside."""

    #: It answers.
    ALIVE = "alive"
    #: It is there and does not answer: a kernel that hangs.
    HUNG = "hung"
    #: The kernel under test ended itself: a reset or power-off of the guest.
    RESET = "reset"
    #: It is not the one it was, and who ended it is not known: a host that was started again.
    GONE = "gone"
    #: The link is gone and nothing is known of the kernel.
    LOST = "lost"
    #: The machine around the kernel failed: QEMU crashed or was killed.
    BROKEN = "broken"


class Condition(Struct, frozen=True):
    """The state of a target and, in one line, how that is known."""

    health: Health
    detail: str = ""


class Command(Protocol):
    """A program that runs on a target; its stdout and stderr arrive as lines."""

    @property
    def status(self) -> int | None:
        """Exit status once it ended, 128 + n after signal n; None before, or if it is unknown."""

    def read(self, wait: float) -> list[str] | None:
        """Lines that came, without line ends.

        Waits at most ``wait`` seconds for the first: ``[]`` when none came. None once the program
        ended and all of its output was read. TransportLostError when the link broke.
        """

    def close(self) -> None:
        """Give it up: the program loses its output and is expected to end. Never raises."""


class Target(Protocol):
    """A place where selftests run."""

    @property
    def info(self) -> TargetInfo:
        """What the probe found."""

    @property
    def console(self) -> str:
        """Device on the target whose output comes back through :meth:`kernel_log`; "" if none.

        What is written there is seen even if the kernel dies in the next instruction.
        """

    def put(self, local: Path, name: str) -> str:
        """Copy a program into the target's private work directory; the path there."""

    def start(self, argv: Sequence[str]) -> Command:
        """Start a program as root."""

    def kernel_log(self, *, settle: bool = False) -> tuple[str, ...]:
        """Kernel log lines that came since the last call; works on a dead target too.

        With ``settle`` first waits (bounded) until all that the kernel has logged has arrived.
        """

    def examine(self) -> Condition:
        """How the target is, asked by a bounded round trip. Never raises."""

    def replace(self) -> float:
        """A fresh machine or a fresh link in place of this one; the seconds it took.

        QEMU: the guest is killed and booted anew. A host: connected again. The work directory is
        empty afterwards. TargetError when there is none to be had.
        """

    def close(self) -> None:
        """End what was started and remove what was left. Never raises."""


def run(
    target: Target,
    argv: Sequence[str],
    *,
    timeout: float,
    on_line: Callable[[str], None],
) -> int:
    """Run a program on a target to its end and pass on its lines; its exit status.

    RunTimeoutError after ``timeout`` seconds in all; TransportLostError when the link broke.
    """
    command = target.start(argv)
    deadline = time.monotonic() + timeout
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise RunTimeoutError(
                    f"{target.info.name}: '{shlex.join(argv)[:80]}' did not end in {timeout:g} s"
                )
            lines = command.read(left)
            if lines is None:
                break
            for line in lines:
                on_line(line)
    finally:
        command.close()
    return -1 if command.status is None else command.status
