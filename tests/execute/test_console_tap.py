# SPDX-License-Identifier: GPL-2.0-only
"""Records that come over the console, between the kernel's own lines."""

from __future__ import annotations

import pytest

from harness.execute import run_batch, runner
from harness.execute.console_tap import ConsoleTap
from harness.vocabulary import RunStatus, TransportLostError
from tests.execute.fake import PANIC, RESET, Exit, FakeTarget, Log, Lost, program, scenario


class ConsoleTarget(FakeTarget):
    console = "/dev/ttyTEST0"


def tap_of(*script: Log | Lost | Exit | str) -> ConsoleTap:
    return ConsoleTap(ConsoleTarget(list(script)), ["/fake/batch", "--sync"])


def drain(tap: ConsoleTap) -> list[str]:
    lines: list[str] = []
    while (got := tap.read(0.5)) is not None:
        lines += got
    return lines


def test_records_and_the_kernels_lines_are_told_apart() -> None:
    tap = tap_of(
        Log(("KTAP version 1", "# start 0 a", "[    3.100000] kvm: hello", "said by a program")),
        Log(('# step {"n":0,"ret":0}',)),
        Exit(4),
    )
    assert drain(tap) == [
        "KTAP version 1",
        "# start 0 a",
        "said by a program",
        '# step {"n":0,"ret":0}',
    ]
    assert tap.log == ["[    3.100000] kvm: hello"]
    assert tap.status == 4


def test_a_record_that_the_kernel_cut_into_is_dropped_and_its_line_kept() -> None:
    tap = tap_of(Log(('# step {"n":0,[    5.100000] Unable to handle kernel paging request',)))
    assert drain(tap) == []
    assert tap.log == ["[    5.100000] Unable to handle kernel paging request"]


def test_what_was_written_before_the_link_broke_is_read_first() -> None:
    tap = tap_of(Log(("# start 0 a", *PANIC)), RESET)
    assert tap.read(0.5) == ["# start 0 a"]
    with pytest.raises(TransportLostError):
        drain(tap)
    assert tuple(tap.log) == PANIC


def test_what_goes_wrong_before_the_program_starts_comes_over_the_link() -> None:
    assert drain(tap_of("sh: can't create /dev/ttyTEST0: not there", Exit(2))) == [
        "sh: can't create /dev/ttyTEST0: not there"
    ]


def test_the_console_is_used_for_the_repeat_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "MARGIN", 0.05)
    records = scenario(1, "b", steps=3)[:4]
    target = ConsoleTarget(
        [*scenario(0, "a"), "# start 1 b", Log(PANIC), RESET],
        [Log((*records, *PANIC)), RESET],
        [*scenario(2, "c"), Exit(0)],
    )
    runs = {run.id: run for run in run_batch(target, program("a", "b", "c"), scenario_timeout=0.1)}
    assert [runs[name].status for name in "abc"] == [
        RunStatus.DONE,
        RunStatus.CRASH,
        RunStatus.DONE,
    ]
    assert (runs["b"].step, len(runs["b"].steps)) == (3, 3)
    first, repeated, rest = target.started
    assert target.console in repeated[2]
    assert first[0] == rest[0] == "/fake/batch"
