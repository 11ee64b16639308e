# SPDX-License-Identifier: GPL-2.0-only
"""The stage-2 page table inside real kernels: the corpus, generated programs, foreign profiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.test_line import GENERATIONS, OTHERS, REPOSITORY, Harness, findings, harness

__all__ = ["harness"]
pytestmark = [pytest.mark.live, pytest.mark.timeout(1500)]

CORPUS = REPOSITORY / "scenarios" / "pgtable"
#: Channels that every kernel shows; 5.10 has no callbacks to count, nVHE hides its TLBI.
ALWAYS = {"ret", "leaves", "annotations", "tables", "alloc", "refcounts"}
NVHE = ("--append", "kvm-arm.mode=nvhe")


@pytest.mark.parametrize(
    ("kernel", "options", "count"),
    [
        *((kernel, (), 150) for kernel in GENERATIONS),
        *(
            pytest.param(kernel, (), 2000, marks=pytest.mark.slow)
            for kernel in [*GENERATIONS, *OTHERS, "debian:trixie/arm64-16k"]
        ),
        pytest.param("debian:trixie", NVHE, 2000, marks=pytest.mark.slow),
    ],
)
def test_generated_programs_match(
    harness: Harness, kernel: str, options: tuple[str, ...], count: int
) -> None:
    done = harness(
        "run", str(CORPUS), "--suite", "pgtable", "--count", str(count), "--seed", "1",
        "--kernel", kernel, *options, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    judged = findings(done)
    generated = [finding for finding in judged if "-s1-" in finding["id"]]
    assert len(generated) == count
    assert {finding["verdict"] for finding in generated} == {"MATCH"}
    channels = ALWAYS | (set() if "bullseye" in kernel else {"cmo", "cmo_pages"})
    for finding in generated:
        assert set(finding["compared"]) >= channels


@pytest.mark.parametrize(
    "profile",
    ["v6.1", *(pytest.param(p, marks=pytest.mark.slow) for p in ("v7.2", "v5.10", "seed-2021"))],
)
def test_a_foreign_profile_diverges(harness: Harness, profile: str, tmp_path: Path) -> None:
    done = harness("run", str(CORPUS), "--profile", profile, "--kernel", "debian:trixie", "--json")
    assert done.returncode == 1, done.stderr[-3000:]
    verdicts = {finding["verdict"] for finding in findings(done)}
    assert "DIVERGE" in verdicts
