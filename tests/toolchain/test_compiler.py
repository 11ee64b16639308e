# SPDX-License-Identifier: GPL-2.0-only
"""Which compiler is taken, and what is said where there is none or where it fails."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from harness.toolchain import find_compiler
from harness.toolchain.compiler import first_error, run_compiler
from harness.vocabulary import BuildError, ToolMissingError


def _script(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def _fake(folder: Path, name: str, machine: str) -> Path:
    return _script(
        folder, name, f'case "$*" in *-dumpmachine) echo {machine};; *) echo "{name} 1.2";; esac'
    )


def test_none_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HARNESS_CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(ToolMissingError, match="apt-get install gcc-aarch64-linux-gnu"):
        find_compiler()


def test_none_on_arm64_names_plain_gcc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HARNESS_CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(ToolMissingError, match="apt-get install gcc libc6-dev"):
        find_compiler()


def test_native_gcc_on_arm64(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake(tmp_path, "gcc", "aarch64-linux-gnu")
    monkeypatch.delenv("HARNESS_CC", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    compiler = find_compiler()
    assert compiler.command == (str(tmp_path / "gcc"),)
    assert compiler.version == "aarch64-linux-gnu gcc 1.2"


def test_override(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = _fake(tmp_path, "mycc", "aarch64-none-linux-gnu")
    monkeypatch.setenv("HARNESS_CC", f"{mine} -pipe")
    assert find_compiler().command == (str(mine), "-pipe")


def test_override_that_is_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CC", "no-such-compiler")
    with pytest.raises(ToolMissingError, match="HARNESS_CC is 'no-such-compiler'"):
        find_compiler()


def test_override_for_another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = _fake(tmp_path, "wrongcc", "x86_64-linux-gnu")
    monkeypatch.setenv("HARNESS_CC", str(mine))
    with pytest.raises(ToolMissingError, match="compiles for x86_64-linux-gnu, not for arm64"):
        find_compiler()


def test_failure_is_its_first_error_line(tmp_path: Path) -> None:
    failing = _script(tmp_path, "cc", 'echo "x.c: In f:" >&2; echo "x.c:1: error: no" >&2; exit 1')
    with pytest.raises(BuildError, match=r"x\.c:1: error: no$"):
        run_compiler([str(failing)], [], tmp_path)


def test_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    slow = _script(tmp_path, "cc", f"sleep 300 & echo $! > {tmp_path}/pid; wait")
    with pytest.raises(BuildError, match="took longer than"):
        run_compiler([str(slow)], [], tmp_path, 0.5)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(500):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    pytest.fail("the compiler's child lives on")


@pytest.mark.parametrize(
    ("stderr", "wanted"),
    [
        ("a.c: In function 'f':\na.c:3:1: error: first\na.c:4:1: error: second\n", "first"),
        ("ld: a.o: in function `f':\na.c:(.text+0x1): undefined reference to `g'\n", "`g'"),
        ("a.S: Assembler messages:\na.S:1: Error: unknown mnemonic `x'\n", "unknown mnemonic"),
        ("something odd\n", "something odd"),
        ("", "exit status 4 without a word"),
    ],
)
def test_first_error(stderr: str, wanted: str) -> None:
    assert wanted in first_error(stderr, 4)


def test_a_very_long_error_line_is_cut() -> None:
    assert len(first_error("error: " + "x" * 10_000, 1)) < 400
