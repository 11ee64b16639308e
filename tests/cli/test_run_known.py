# SPDX-License-Identifier: GPL-2.0-only
"""``harness run`` where what is found is known, on a kernel that is the model with a fault."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.simulated import Lab, wrong
from tests.cli.test_run import COUNT, campaign, run


def known(tmp_path: Path, **change: str | None) -> str:
    file = tmp_path / "known.yaml"
    entry = {
        "title": "77 for a while",
        "scenario": "guest-s1-*3",
        "channels": ["ret"],
        "kernels": ["6.12.*"],
        "reason": "a test",
        "link": "none",
        "review": "2999-01-01",
        **change,
    }
    entry = {key: value for key, value in entry.items() if value is not None}
    file.write_text(json.dumps([entry]))
    return str(file)


def test_a_known_divergence_is_no_failure(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.fault = lambda scenario, times, steps: wrong(steps) if scenario.id.endswith("3") else steps
    assert campaign("--known", known(tmp_path)) == 0
    out = capsys.readouterr().out
    assert "1 known" in out
    assert "known 1: 77 for a while" in out
    assert "take the entry out" not in out


def test_a_known_hang_is_no_failure(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.fault = lambda scenario, times, steps: steps[:2] if scenario.id.endswith("3") else steps
    assert campaign() == 1
    (hang,) = [line for line in capsys.readouterr().out.splitlines() if "✗ HANG" in line]
    assert "step 2" in hang
    file = known(tmp_path, verdict="HANG", channels=None)
    assert campaign("--known", file) == 0
    out = capsys.readouterr().out
    assert f"{COUNT - 1} match" in out
    assert "1 known" in out
    assert "known 1: 77 for a while" in out
    assert run("diff", "--all") == 0
    shown = capsys.readouterr().out
    assert "KNOWN 77 for a while: no step within 10 s" in shown
    assert re.search(r"^✗ +2 ", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "ran and matched; take the entry out"),
        ({"review": "2020-01-01", "scenario": "other-*"}, "to be looked at again by 2020-01-01"),
    ],
)
def test_a_known_divergence_that_is_none_any_more_is_told(
    lab: Lab,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    words: str,
) -> None:
    assert campaign("--known", known(tmp_path, **change)) == 0
    assert words in capsys.readouterr().out
    assert run("report") == 0
    assert words in capsys.readouterr().out


def test_a_known_file_that_is_not_there(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign("--known", "nope.yaml") == 2
    assert "check --known" in capsys.readouterr().err
    assert not Path(".harness").exists()
