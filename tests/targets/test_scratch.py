# SPDX-License-Identifier: GPL-2.0-only
"""Temporary directories are gone afterwards, also after a SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.targets import scratch

PROGRAM = """
import sys, time
from harness.targets.scratch import make_scratch
path = make_scratch("test")
(path / "file").write_text("x")
print(path, flush=True)
if sys.argv[1] == "wait":
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(scratch, "_known", set())


def test_made_private_and_removed(tmp_path: Path) -> None:
    one, two = scratch.make_scratch("a"), scratch.make_scratch("b")
    assert one != two
    assert one.stat().st_mode & 0o777 == 0o700
    (one / "file").write_text("x")
    scratch.remove_scratch(one)
    assert two.exists()
    scratch.remove_scratch(two)
    scratch.remove_scratch(two)
    assert list(tmp_path.iterdir()) == []


def test_a_normal_end_removes_all(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "end"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert str(tmp_path) in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "wait"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child:
        left = Path(child.stdout.readline().strip())
        scratch.sweep()
        assert left.exists(), "a living process's directory was swept"
        child.send_signal(signal.SIGKILL)
    assert left.exists()
    mine = scratch.make_scratch("mine")
    assert not left.exists()
    assert mine.exists()
    scratch.remove_scratch(mine)
    assert list(tmp_path.iterdir()) == []


def test_a_process_is_known_by_pid_and_start() -> None:
    start = scratch.process_start(os.getpid())
    assert start is not None
    assert scratch.process_is(os.getpid(), start)
    assert not scratch.process_is(os.getpid(), start + 1)
    assert scratch.living(os.getpid(), start + 1) is None


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert scratch.process_start(child.pid) is None
    child.wait()
