# SPDX-License-Identifier: GPL-2.0-only
"""Bad input: one line that names what, where and the mend; status 2 or 3; nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from tests.reference_model.test_language import GUEST


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_STATE", str(tmp_path / "state"))
    return tmp_path


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    return int(ended.value.code or 0)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1, err
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GUEST.replace("op: write", "op: wrote"), "unknown op 'wrote' (did you mean 'write'?)"),
        (GUEST.replace("0x80003000", "0x80003ffc"), "crosses a 4K page"),
        (GUEST.replace("0x80003000", "0xffffffffffff0000"), "out of range"),
        (GUEST + "---\n" + GUEST, "already used at"),
        ("a: [", "not YAML"),
        (GUEST.replace("suite: guest", "suite: pkvm"), "suite 'pkvm' is not in this version"),
        ("", "holds no scenario"),
    ],
)
def test_bad_scenarios(
    text: str, words: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "s.yaml").write_text(text)
    assert run("run", "s.yaml") == 2
    err = one_line(capsys)
    assert words in err
    assert "s.yaml" in err
    assert not (elsewhere / ".harness").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "--suite", "guest", "--focus", "hug"], "--focus hug: this version has: host"),
        (["run", "--suite", "race", "--focus", "huge"], "only with --suite guest"),
        (["generate", "--suite", "pgtable", "--focus", "log"], "only with --suite guest"),
        (["shrink", "--between", "v6.1", "v6.12", "--focus", "log"], "only with --suite guest"),
        (("run",), "nothing to run"),
        (("run", "missing.yaml"), "missing.yaml: cannot be read"),
        (("run", "--suite", "nope"), "--suite nope"),
        (("run", "s.yaml", "--kernel", "windows:11"), "kernel 'windows:11'"),
        (("run", "s.yaml", "--profile", "v9"), "no profile 'v9'; known: v5.10"),
        (("run", "s.yaml", "--env", "fwb=maybe"), "fwb 'maybe' is neither on nor off"),
        (("run", "s.yaml", "--env", "colour=red"), "no environment fact 'colour'"),
        (("run", "s.yaml", "--target", "nohost"), "nohost"),
        (("run", "s.yaml", "--target", "ssh:"), "names no host"),
        (("predict", "s.yaml"), "needs --profile"),
        (("diff", "nothing"), "is no file, stored run or finding id"),
        (("replay", "beef"), "no finding 'beef'"),
        (("generate", "--suite", "nope"), "no generator for suite 'nope'"),
        (("render", "s.yaml", "--id", "other"), "no scenario 'other'"),
        (("targets", "down", "nobody"), "no warm guest 'nobody'"),
    ],
)
def test_bad_command_lines(
    args: tuple[str, ...], words: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "s.yaml").write_text(GUEST)
    assert run(*args) == 2
    assert words in one_line(capsys)


def test_a_read_of_nothing_is_named_before_anything_boots(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "s.yaml").write_text(
        "{schema: 1, id: t, suite: guest, steps: [{op: host_read, gpa: 0x80000000}]}"
    )
    assert run("predict", "s.yaml", "--profile", "v6.12") == 2
    assert "scenario 't': step 0: no slot holds gpa 0x80000000" in one_line(capsys)


def test_two_files_share_an_id(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "a.yaml").write_text(GUEST)
    (elsewhere / "b.yaml").write_text(GUEST)
    assert run("predict", "a.yaml", "b.yaml", "--profile", "v6.12") == 2
    assert "already used in a.yaml" in one_line(capsys)


def test_no_qemu_no_compiler(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = elsewhere / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.delenv("HARNESS_CC", raising=False)
    (elsewhere / "s.yaml").write_text(GUEST)
    assert run("run", "s.yaml", "--kernel", "debian:trixie") == 3
    captured = capsys.readouterr()
    assert "apt-get" in captured.err + captured.out
    assert run("doctor") == 3
    out = capsys.readouterr().out
    assert "sudo apt-get install qemu-system-arm" in out
    assert "sudo apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross" in out
