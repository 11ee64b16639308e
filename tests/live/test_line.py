# SPDX-License-Identifier: GPL-2.0-only
"""The main job on real kernels, through the command: verdicts, wrong models, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.compare import parse_known
from reference_model.language import load_text

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).resolve().parents[2]
CORPUS = REPOSITORY / "scenarios" / "guest"
#: Two generations in every run; all of them in ci/test --all.
GENERATIONS = ["debian:bullseye", "debian:trixie"]
OTHERS = ["debian:bookworm", "debian:sid", "debian:trixie-backports"]

Harness = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness", *args],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )

    return run


def guests() -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["name"])
        if (process.info["name"] or "").startswith("qemu-system")
    ]


def findings(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return list(json.loads(done.stdout))


def pinned_for_other_pages(granule: str) -> set[str]:
    """The scenarios of the corpus that say they need a granule, and not this one."""
    return {
        scenario.id
        for path in CORPUS.glob("*.yaml")
        for scenario in load_text(path.read_text(encoding="utf-8"), path.name)
        if scenario.env.get("granule", granule) != granule
    }


@pytest.mark.parametrize(
    ("kernel", "count"),
    [
        *((kernel, 60) for kernel in GENERATIONS),
        *(pytest.param(kernel, 200, marks=pytest.mark.slow) for kernel in GENERATIONS + OTHERS),
        pytest.param("debian:trixie/arm64-16k", 200, marks=pytest.mark.slow),
    ],
)
def test_corpus_and_generated_scenarios_match(harness: Harness, kernel: str, count: int) -> None:
    large = [str(REPOSITORY / "scenarios" / "guest-16k")] if "16k" in kernel else []
    done = harness(
        "run", str(CORPUS), *large, "--suite", "guest", "--count", str(count), "--seed", "1",
        "--kernel", kernel, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    judged = findings(done)
    assert len(judged) >= count + 25
    assert {finding["verdict"] for finding in judged} <= {"MATCH", "SKIP", "KNOWN"}
    listed = parse_known((CORPUS.parent / "known.yaml").read_text(), "known.yaml")
    known = {finding["known"] for finding in judged if finding["verdict"] == "KNOWN"}
    assert known <= {entry.title for entry in listed}
    granule = "16K" if large else "4K"
    skipped = {finding["id"]: finding["skip"] for finding in judged if finding["verdict"] == "SKIP"}
    other = {name: skipped.pop(name, "") for name in pinned_for_other_pages(granule)}
    assert all(f"the target has {granule}" in reason for reason in other.values())
    assert len(skipped) < (len(judged) - len(other)) // 4, "most of the corpus runs everywhere"
    assert all(skipped.values())
    compared = {channel for finding in judged for channel in finding["compared"]}
    assert compared >= {"ret", "exit", "data", "dirty", "faults", "maps", "injected"}


def test_two_programs_at_once_see_what_one_sees(harness: Harness) -> None:
    done = harness(
        "run", str(CORPUS), "--suite", "guest", "--count", "60", "--lanes", "2", "--json"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "one program at a time" not in done.stderr
    judged = findings(done)
    assert {finding["verdict"] for finding in judged} <= {"MATCH", "SKIP", "KNOWN"}
    assert Counter(finding["verdict"] for finding in judged)["MATCH"] > 200


def test_a_wrong_model_and_a_wrong_pin_are_noticed(harness: Harness, tmp_path: Path) -> None:
    done = harness("diff", str(CORPUS / "slots.yaml"), "--profile", "v5.10", "--json")
    assert done.returncode == 1, done.stderr[-3000:]
    diverging = [finding for finding in findings(done) if finding["verdict"] == "DIVERGE"]
    assert "t24-beyond-ipa-injects" in {finding["id"] for finding in diverging}

    text = (CORPUS / "dirty-log.yaml").read_text()
    wrong = text.replace("{dirty: [3]}", "{dirty: [4]}", 1)
    assert wrong != text
    (tmp_path / "wrong.yaml").write_text(wrong)
    done = harness("diff", "wrong.yaml", "--kernel", "debian:trixie")
    assert done.returncode == 1, done.stderr[-3000:]
    marked = [line for line in done.stdout.splitlines() if line.startswith("✗ 2 ")]
    assert marked
    assert "pinned  {4}" in done.stdout
    assert "kernel  {3}" in done.stdout


@pytest.mark.parametrize(("after", "lanes"), [(1.5, "1"), (4.0, "1"), (9.0, "1"), (9.0, "2")])
def test_interrupt_leaves_nothing(tmp_path: Path, after: float, lanes: str) -> None:
    before = {process.pid for process in guests()}
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    running = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "harness",
            "run",
            "--suite",
            "guest",
            "--count",
            "3000",
            "--lanes",
            lanes,
        ],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    time.sleep(after)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    deadline = time.monotonic() + 10
    while {process.pid for process in guests()} - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not {process.pid for process in guests()} - before
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == []
