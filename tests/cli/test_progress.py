# SPDX-License-Identifier: GPL-2.0-only
"""Who waits sees that time passes, and may ask; what is printed does nothing to the terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import msgspec
import pytest

from harness.cli import progress
from harness.cli.attention import attention
from harness.cli.progress import Pace, RunView, duration_text
from harness.runs import RunTarget
from harness.vocabulary import Finding
from reference_model.profiles import PROFILES
from tests.store.samples import TARGET, judged, scenarios

GUEST = scenarios("guest", 3)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def test_pace() -> None:
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    assert pace.left(100) is None
    for second in range(1, 6):
        now[0] = second
        pace.mark(2 * second, 20 * second)
    assert pace.rates() == (2.0, 20.0)
    assert pace.left(100) == 45.0
    now[0] = 10.0  # nothing for five seconds: it has become slower
    assert pace.rates() == (1.0, 10.0)
    for second in range(100, 130):
        now[0] = second
        pace.mark(10 + 5 * (second - 99), 0)
    assert pace.rates()[0] == pytest.approx(5.0)
    assert pace.left(0) == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (0, "0 s"), (89, "89 s"), (600, "10 min"), (7260, "2 h 1 min")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_heartbeat_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT", 0.05)
    said: list[str] = []

    def beaten() -> bool:
        said.append(capsys.readouterr().err)
        return "1/3  1 match  0 diverge" in said[-1]

    with RunView("guest", 3, quiet=False) as view:
        view.on_finding(judged(GUEST[0]))
        until(beaten)
    assert f"last {GUEST[0].id} on debian:trixie" in "".join(said)


def test_quiet_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT", 0.01)
    with RunView("guest", 3, quiet=True) as view:
        view.on_target(TARGET, PROFILES["v6.12"], "a note")
        view.on_note("another")
        view.on_finding(judged(GUEST[0]))
        time.sleep(0.6)
    assert capsys.readouterr().err == ""
    assert view.summary.total == 1


def test_who_asks_by_signal_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []

    def answered() -> bool:
        said.append(capsys.readouterr().err)
        return "0/3" in said[-1]

    before = signal.getsignal(signal.SIGUSR1)
    with RunView("guest", 3, quiet=True):
        os.kill(os.getpid(), signal.SIGUSR1)
        until(answered)
    assert "nothing judged yet" in "".join(said)
    assert signal.getsignal(signal.SIGUSR1) == before


def test_everything_goes_to_the_store_too() -> None:
    kept: list[Finding | RunTarget | str] = []
    with RunView("guest", 3, quiet=True, env=(("fwb", "on"),)) as view:
        view.keep = kept.append
        view.on_target(TARGET, PROFILES["v6.12"], "a note")
        view.on_note("guest replaced")
        view.on_finding(judged(GUEST[0]))
    target, note, finding = kept
    assert isinstance(target, RunTarget)
    assert target.env["fwb"] == "on"
    assert note == "guest replaced"
    assert finding == judged(GUEST[0])


def test_verbose_names_what_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    bad = msgspec.structs.replace(judged(GUEST[1]), reason="\x1b[31mred")
    with RunView("guest", 3, quiet=False, verbose=2) as view:
        view.on_finding(judged(GUEST[0]))
        view.on_finding(bad)
    err = capsys.readouterr().err
    assert f"MATCH    {GUEST[0].id}" in err
    assert r"\x1b[31mred" in err
    assert "\x1b" not in err


_ASKED = """
import sys, time
from harness.cli.attention import attention
asked = []
with attention(lambda: asked.append(1)):
    print("ready", flush=True)
    deadline = time.monotonic() + 30
    while not asked and time.monotonic() < deadline:
        time.sleep(0.01)
print("asked" if asked else "not asked", flush=True)
import termios
flags = termios.tcgetattr(0)[3]
print("canonical" if flags & termios.ICANON else "raw", flush=True)
"""


def test_a_key_in_a_terminal() -> None:
    """In a process of its own that has a terminal, and is in its foreground."""
    main, side = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", "import os, fcntl, termios\nos.setsid()\n"
         "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n" + _ASKED],
        stdin=side, stdout=side, stderr=side,
    )  # fmt: skip
    os.close(side)
    out = b""
    pressed = False
    try:
        deadline = time.monotonic() + 60
        while b"canonical" not in out and b"raw" not in out and time.monotonic() < deadline:
            try:
                out += os.read(main, 1024)
            except OSError:
                break
            if b"ready" in out and not pressed:
                os.write(main, b"x")
                pressed = True
    finally:
        child.kill()
        child.wait(10)
        os.close(main)
    assert b"asked" in out, out
    assert b"not asked" not in out
    assert b"canonical" in out, "the terminal was left as no shell wants it"


def test_in_another_thread_there_are_no_signals() -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with attention(lambda: None):
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert failures == []
