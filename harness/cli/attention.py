# SPDX-License-Identifier: GPL-2.0-only
"""Somebody asks how far it is: by SIGUSR1, or by a key pressed in the terminal."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Seconds within which a key is noticed, and the end.
_PATIENCE = 0.2


@contextmanager
def attention(asked: Callable[[], None]) -> Iterator[None]:
    """While it lasts, SIGUSR1 and any key call ``asked``, which must only set a flag.

    Keys are read where standard input and error are a terminal and this process is in its
    foreground; the terminal is as it was afterwards.
    """
    handler = None
    if threading.current_thread() is threading.main_thread():

        def on_signal(number: int, frame: FrameType | None) -> None:
            del number, frame
            asked()

        handler = signal.signal(signal.SIGUSR1, on_signal)
    try:
        with _keys(asked):
            yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGUSR1, handler)


@contextmanager
def _keys(asked: Callable[[], None]) -> Iterator[None]:
    terminal = _terminal()
    if terminal is None:
        yield
        return
    before = termios.tcgetattr(terminal)
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            ready, _, _ = select.select([terminal], [], [], _PATIENCE)
            if ready and not os.read(terminal, 64):
                return
            if ready:
                asked()

    thread = threading.Thread(target=watch, name="keys", daemon=True)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)  # Ctrl-C stays what it is
        thread.start()
        yield
    finally:
        over.set()
        if thread.is_alive():
            thread.join(2 * _PATIENCE)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _terminal() -> int | None:
    """The file number of a terminal in which this process is in the foreground."""
    try:
        number = sys.stdin.fileno()
        if not os.isatty(number) or not sys.stderr.isatty():
            return None
        return number if os.tcgetpgrp(number) == os.getpgrp() else None
    except (OSError, ValueError):
        return None  # standard input is closed, or no file
