# SPDX-License-Identifier: GPL-2.0-only
"""Silence is the target's: a machine that stands still, and a busy consumer, are none."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from harness.execute import session
from harness.execute.session import End, Session

#: Seconds without a sign of life.
SILENCE = 20.0


class _Played:
    """Time, and a target and its command in one: each read takes its seconds and gives lines."""

    def __init__(self, reads: Sequence[tuple[float, list[str] | None]]) -> None:
        self.now = 1000.0
        self._reads = deque(reads)
        self.status = 0
        self.console = ""

    def monotonic(self) -> float:
        return self.now

    def start(self, _argv: Sequence[str]) -> _Played:
        return self

    def read(self, wait: float) -> list[str] | None:
        seconds, lines = self._reads.popleft() if self._reads else (wait, [])
        self.now += seconds
        return lines

    def close(self) -> None:
        """Nothing to close."""


def _ended(monkeypatch: pytest.MonkeyPatch, played: _Played, *, busy: float = 0.0) -> End:
    monkeypatch.setattr(session, "time", played)
    target: Any = played
    one = Session(target, ["batch"], ["a"], silence=SILENCE, console=False)
    for _ in one.runs():
        played.now += busy
    return one.ended.end


def test_a_target_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    played = _Played([])
    assert _ended(monkeypatch, played) is End.SILENT
    assert SILENCE <= played.now - 1000.0 < SILENCE + 1.0


def test_a_machine_that_stood_still_heard_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _ended(monkeypatch, _Played([(0.1, []), (90.0, []), (0.1, None)])) is End.EXIT


def test_a_slow_read_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[tuple[float, list[str] | None]] = [(1.5, [])] * 30
    assert _ended(monkeypatch, _Played([*reads, (0.1, None)])) is End.SILENT


def test_a_consumer_that_takes_long_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[tuple[float, list[str] | None]] = [(0.1, [])] * 3
    assert _ended(monkeypatch, _Played([*reads, (0.1, None)]), busy=15.0) is End.EXIT


def test_lines_that_are_no_records_are_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[tuple[float, list[str] | None]] = [(0.1, ["[    1.0] noise"])] * 500
    assert _ended(monkeypatch, _Played([*reads, (0.1, None)])) is End.SILENT
