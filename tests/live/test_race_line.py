# SPDX-License-Identifier: GPL-2.0-only
"""The race suite on a real kernel: blocks, forced orders, restored states, steps behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

CORPUS = Path(__file__).resolve().parents[2] / "scenarios" / "race"
KERNEL = "debian:trixie"
KERNELS = ["debian:bullseye", "debian:bookworm", KERNEL, "debian:sid", "debian:trixie-backports"]
TEXT = """\
schema: 1
id: stores
suite: race
vm: {vcpus: 2}
steps:
  - {op: slot_add, slot: 1, gpa: 0x80000000, size: 64K, backing: {prefill: true}, flags: [log_dirty]}
  - parallel:
      - [{op: write, vcpu: 0, gpa: 0x80003000, value: 1}]
      - [{op: write, vcpu: 1, gpa: 0x80003000, value: 2}]
    repeat: 24
  - {op: dirty_get, slot: 1}
  - {op: read, gpa: 0x80003000}
---
schema: 1
id: held
suite: race
vm: {vcpus: 2}
steps:
  - {op: slot_add, slot: 1, gpa: 0x80000000, size: 64K, backing: {prefill: true}, flags: [log_dirty]}
  - parallel:
      - [{op: write, vcpu: 0, gpa: 0x80003000, value: 1}]
      - [{op: write, vcpu: 1, gpa: 0x80003000, value: 2}]
    repeat: 10
    hold: [0x80003000]
---
schema: 1
id: anew
suite: race
vm: {vcpus: 2, manual_protect: init_set}
steps:
  - {op: slot_add, slot: 1, gpa: 0x80000000, size: 64K, backing: {prefill: true}, flags: [log_dirty]}
  - parallel:
      - [{op: write, vcpu: 0, gpa: 0x80003000, value: 1}]
      - [{op: dirty_clear, slot: 1, pages: [3]}, {op: host_read, gpa: 0x80003000}]
    repeat: 8
  - parallel:
      - [{op: read, vcpu: 1, gpa: 0x80003000}]
      - [{op: slot_flags, slot: 1}]
    repeat: 8
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    path = tmp_path_factory.mktemp("race") / "races.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return {one["id"]: one for one in findings(path, KERNEL, path.parent)}


def findings(scenarios: Path, kernel: str, folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "harness",
            "run",
            str(scenarios),
            "--kernel",
            kernel,
            "--json",
            "-q",
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        check=False,
        timeout=500,
    )
    return list(json.loads(done.stdout))


def histogram(found: dict[str, dict[str, Any]], ident: str, step: int = 1) -> list[list[Any]]:
    observed = found[ident]["observed"]
    assert isinstance(observed, list)
    rows = observed[step]["histogram"]
    assert isinstance(rows, list)
    return rows


def test_every_block_matches(found: dict[str, dict[str, Any]]) -> None:
    assert {ident: one["verdict"] for ident, one in found.items()} == {
        "stores": "MATCH",
        "held": "MATCH",
        "anew": "MATCH",
    }


def test_every_repeat_is_counted(found: dict[str, dict[str, Any]]) -> None:
    assert sum(row[0] for row in histogram(found, "stores")) == 24
    assert sum(row[0] for row in histogram(found, "held")) == 10
    assert [sum(row[0] for row in histogram(found, "anew", at)) for at in (1, 2)] == [8, 8]


def test_a_held_fault_loses_each_time(found: dict[str, dict[str, Any]]) -> None:
    observed = found["held"]["observed"]
    assert isinstance(observed, list)
    counts = observed[1]["counts"]
    assert counts["refused"] == [[10, 1]]
    assert counts["marked"] == [[10, 1]]


def test_a_wrong_model_is_noticed_and_the_replay_says_how_often(tmp_path: Path) -> None:
    """Dirty logs of 16K pages are predicted for a kernel with 4K: every report is wrong."""
    text = TEXT.partition("---\n")[0].replace("repeat: 24", "repeat: 12")
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    done = harness(tmp_path, "run", "r.yaml", "--kernel", KERNEL, "--env", "granule=16K")
    assert done.returncode == 1, done.stdout
    found = re.search(r"not allowed, in \d+ of 12 repeats.*\[(\w+)\]", done.stdout)
    assert found is not None, done.stdout
    again = harness(tmp_path, "replay", found[1], "--repeat", "30")
    assert again.returncode == 1
    # The last repeat's memory and log are left to the steps behind it.
    came = re.search(r"came back: (\d+ of \d+) repeats .*\(at first (\d+ of \d+)\)", again.stdout)
    assert came is not None, again.stdout
    assert came.groups() == ("29 of 30", "11 of 12")


def harness(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *args],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_corpus_matches(kernel: str, tmp_path: Path) -> None:
    verdicts = {one["id"]: one["verdict"] for one in findings(CORPUS, kernel, tmp_path)}
    assert len(verdicts) > 15
    assert set(verdicts.values()) == {"MATCH"}, verdicts
