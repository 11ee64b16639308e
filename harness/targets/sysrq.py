# SPDX-License-Identifier: GPL-2.0-only
"""What a guest that hangs can still be asked: magic SysRq over the serial line.

A kernel whose user space does not run, or runs but is stuck in the kernel, still takes a BREAK and
a key from its console, and prints where its CPUs and its blocked tasks are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path

from qemu.qmp import QMPClient, QMPError

from harness.targets.console import Console
from harness.targets.qemu_config import CONSOLE_CHARDEV, Wiring

#: 8: everything to the console; l: backtraces of all CPUs; w: tasks that are blocked.
_KEYS = "8lw"
_PRESS_TIMEOUT = 5.0
#: Seconds until the kernel has taken a key, without an answer that could be waited for.
_KEY_PAUSE = 0.1
#: Seconds of silence after which the answer is taken to be whole, and in all.
_QUIET = 0.5
_LIMIT = 5.0


def ask_where_it_hangs(wiring: Wiring, console: Console) -> tuple[str, ...]:
    """The console's lines after SysRq 8, l and w; none if the kernel takes no key either."""
    logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)
    with contextlib.suppress(QMPError, OSError, TimeoutError):
        asyncio.run(asyncio.wait_for(_press(wiring.qmp, wiring.serial), _PRESS_TIMEOUT))
    return _until_quiet(console)


async def _press(qmp_path: Path, serial_path: Path) -> None:
    qmp = QMPClient("harness")
    await qmp.connect(str(qmp_path))
    try:
        _, serial = await asyncio.open_unix_connection(str(serial_path))
        try:
            for key in _KEYS:
                await qmp.execute("chardev-send-break", {"id": CONSOLE_CHARDEV})
                serial.write(key.encode())
                await serial.drain()
                await asyncio.sleep(_KEY_PAUSE)
        finally:
            serial.close()
    finally:
        await qmp.disconnect()


def _until_quiet(console: Console) -> tuple[str, ...]:
    lines: list[str] = []
    deadline = time.monotonic() + _LIMIT
    quiet = time.monotonic() + _QUIET
    while time.monotonic() < min(deadline, quiet):
        if new := console.read():
            lines += new
            quiet = time.monotonic() + _QUIET
        time.sleep(0.02)
    return tuple(lines)
