# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import tempfile

import psutil
import pytest

from harness.kernels.command import complaint_of, run
from harness.vocabulary import InfraError, ToolMissingError


def test_output_status_and_input() -> None:
    done = run(["sh", "-c", "cat; echo problem >&2; exit 3"], limit=30, stdin=b"in")
    assert (done.status, done.stdout, done.stderr) == (3, b"in", "problem\n")
    with tempfile.TemporaryFile() as spool:
        assert run(["echo", "x"], limit=30, stdout=spool).stdout == b""
        spool.seek(0)
        assert spool.read() == b"x\n"


def test_a_missing_tool_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolMissingError, match="sudo apt-get install dpkg"):
        run(["dpkg-deb", "--version"], limit=30)


def test_past_the_limit_the_whole_group_is_gone() -> None:
    with pytest.raises(InfraError, match="killed"):
        run(["sh", "-c", "sleep 987 & sleep 987"], limit=0.3)
    left = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "987"]]
    assert left == []


def test_the_complaint_is_the_error_not_the_warning() -> None:
    text = "W: something\n\nE: Failed to fetch\nE: Unable\n"
    assert complaint_of(text) == "E: Failed to fetch"
    assert complaint_of("plain words\n") == "plain words"
    assert complaint_of("") == "it said nothing"
