# SPDX-License-Identifier: GPL-2.0-only
"""Commands on this machine."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from harness.targets import LocalTarget, local
from harness.targets.base import run
from harness.targets.local import LocalCommand, LocalLog
from harness.vocabulary import TargetError


def read_all(command: LocalCommand) -> list[str]:
    lines: list[str] = []
    while (got := command.read(5.0)) is not None:
        lines += got
    return lines


def test_output_and_status() -> None:
    command = LocalCommand(["sh", "-c", "echo a; echo b >&2; printf c; exit 3"])
    assert command.status is None or command.status == 3
    assert read_all(command) == ["a", "b", "c"]
    assert command.status == 3
    assert command.read(0.0) is None


def test_a_signal_is_a_status_above_128() -> None:
    command = LocalCommand(["sh", "-c", "kill -KILL $$"])
    assert read_all(command) == []
    assert command.status == 128 + 9


def test_a_wait_is_bounded() -> None:
    command = LocalCommand(["sleep", "60"])
    began = time.monotonic()
    assert command.read(0.05) == []
    assert time.monotonic() - began < 30
    command.close()
    assert command.status is not None


def test_close_ends_the_whole_group(tmp_path: Path) -> None:
    command = LocalCommand(["sh", "-c", "sleep 60 & echo $!; wait"])
    (pid,) = command.read(5.0) or ["none"]
    command.close()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(int(pid)) and time.monotonic() < deadline:
        if psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.01)
    else:
        assert not psutil.pid_exists(int(pid))


def test_one_that_ignores_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_GRACE", 0.2)
    command = LocalCommand(["sh", "-c", "trap '' TERM HUP; echo on; while :; do sleep 1; done"])
    assert command.read(5.0) == ["on"]
    command.close()
    assert command.status == 128 + 9


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(TargetError, match="cannot be started"):
        LocalCommand(["/nonexistent/program"])


def test_another_architecture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(TargetError, match="x86_64, not arm64"):
        LocalTarget()


def test_without_root_and_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("os.getuid", lambda: 1000)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(TargetError, match="root is needed"):
        LocalTarget()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> LocalTarget:
    """This machine, taken for one that will do."""
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("os.getuid", lambda: 0)
    monkeypatch.setattr("harness.targets.probe.require_kvm", lambda facts, where: None)
    return LocalTarget()


def test_as_a_target(here: LocalTarget, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$1 $0"\n')
    with here as target:
        remote = target.put(program, "batch")
        lines: list[str] = []
        assert run(target, [remote, "a b"], timeout=20, on_line=lines.append) == 0
        assert lines == [f"a b {remote}"]
        target.put(program, "batch")
        assert target.kernel_log(settle=True) is not None
        target.replace()
        assert not Path(remote).exists()
        again = target.put(program, "batch")
    assert not Path(again).exists()


def test_what_still_runs_is_ended_with_the_target(here: LocalTarget) -> None:
    command = here.start(["sleep", "60"])
    here.close()
    assert command.status is not None


def test_the_kernel_log_reader_takes_records_once(tmp_path: Path) -> None:
    fifo = tmp_path / "kmsg"
    fifo.write_text("")
    log = LocalLog(str(fifo))
    fifo.write_text("4,7,5000000,-;WARNING: x\n")
    assert log.read() == ("[    5.000000] WARNING: x",)
    assert log.read() == ()
    log.close()
