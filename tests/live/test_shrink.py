# SPDX-License-Identifier: GPL-2.0-only
"""From a red run to a small scenario, on a real kernel: profile 6.1 forced onto 6.12."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reference_model.language import dump_yaml, load_text
from tests.shrink.test_reduce import forty

pytestmark = [pytest.mark.live, pytest.mark.timeout(1200)]

KERNEL = "debian:trixie"
Harness = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    monkeypatch.setenv("HARNESS_STATE", str(tmp_path / "state"))

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness", *args],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    yield run
    run("targets", "down", "--all")


@pytest.fixture
def warm(harness: Harness) -> str:
    up = harness("targets", "up", "warm", "--kernel", KERNEL)
    if up.returncode == 3:
        pytest.skip(up.stderr)
    assert up.returncode == 0, up.stderr
    return "warm"


def red(harness: Harness, warm: str, count: int) -> list[dict[str, Any]]:
    """Findings of generated scenarios under the wrong profile, each of another kind."""
    done = harness(
        "run", "--suite", "pgtable", "--count", str(count), "--profile", "v6.1",
        "--target", warm, "--json",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    return [one for one in json.loads(done.stdout) if one["verdict"] == "DIVERGE"]


def shrunk(harness: Harness, warm: str, ident: str) -> dict[str, Any]:
    done = harness("shrink", ident, "--target", warm, "--json")
    assert done.returncode == 1, done.stderr
    return dict(json.loads(done.stdout))


def kind(finding: dict[str, Any]) -> tuple[str, str, str]:
    first = finding["differences"][0]
    return first["channel"], str(first["expected"])[:20], str(first["observed"])[:20]


def test_findings_end_small_and_stay_the_same(harness: Harness, warm: str, tmp_path: Path) -> None:
    findings = red(harness, warm, 24)
    kinds = {kind(one): one for one in findings if kind(one)[0] != "tlbi"}
    kinds = dict(sorted(kinds.items(), key=lambda one: one[0][0] == "ret"))
    assert len(kinds) >= 2
    told: list[str] = []
    for number, finding in enumerate(list(kinds.values())[-3:]):
        small = shrunk(harness, warm, finding["short_id"])
        assert small["verdict"] == "DIVERGE"
        assert small["steps"] <= 4
        assert small["signature"]["channel"] == finding["differences"][0]["channel"]
        assert small["finished"]
        assert load_text(small["scenario"], "small.yaml")
        diff = harness("diff", small["short_id"], "--html", f"{number}.html")
        assert diff.returncode == 1
        assert "why the model says so: profile v6.1" in diff.stdout
        assert "explains the difference" in diff.stdout
        assert "explains the difference" in (tmp_path / f"{number}.html").read_text()
        told.append(diff.stdout)
    # What two knobs make together takes a whole profile; not all are of that kind.
    assert any("one knob explains the difference" in text for text in told), told

    made = harness("repro", small["short_id"], "-o", "t.c")
    assert made.returncode == 0, made.stderr
    assert "MODULE_LICENSE" in (tmp_path / "t.c").read_text()


@pytest.mark.slow
def test_ten_of_forty_steps_each(harness: Harness, warm: str, tmp_path: Path) -> None:
    made = [forty("v6.1", "v6.12", seed) for seed in range(60)]
    # Some make 6.12 warn of sizes that only 6.1 ignores: a crash is another finding.
    joined = [one for one in made if one is not None and len(one.steps) >= 40][:40]
    (tmp_path / "forty.yaml").write_text("---\n".join(map(dump_yaml, joined)))
    done = harness("run", "forty.yaml", "--profile", "v6.1", "--target", warm, "--json")
    findings = [one for one in json.loads(done.stdout) if one["verdict"] == "DIVERGE"]
    assert len(findings) >= 10, done.stderr
    for finding in findings[:10]:
        assert shrunk(harness, warm, finding["short_id"])["steps"] <= 4


@pytest.mark.slow
def test_two_kernels_apart(harness: Harness) -> None:
    done = harness("shrink", "--between", "debian:bookworm", KERNEL, "--count", "40", "--json")
    assert done.returncode == 1, done.stderr
    small = json.loads(done.stdout)
    assert small["steps"] <= 3
    (file,) = [Path(__file__).resolve().parents[2] / "scenarios" / "pgtable" / "seed-story.yaml"]
    told = harness("diff", str(file), "--kernel", "debian:bookworm", "--kernel", KERNEL)
    assert told.returncode == 1, told.stderr
    assert "each does what its profile says (v6.1, v6.12)" in told.stdout
    assert "one knob explains the difference: on_eagain=go" in told.stdout
