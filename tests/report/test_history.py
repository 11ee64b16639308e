# SPDX-License-Identifier: GPL-2.0-only
"""Series over runs: what matched when, what flips, what is slower than all the others."""

from __future__ import annotations

import msgspec
import pytest

from harness.report.history import history
from harness.runs import Result, result_of
from harness.vocabulary import Verdict
from tests.store.samples import judged, scenarios

BASE = result_of(judged(scenarios("guest", 1)[0]), run="r1")


def results(
    verdicts: str, *, name: str = "a", micros: tuple[int, ...] = (), digest: str = "same"
) -> list[Result]:
    by_letter = {
        "M": Verdict.MATCH,
        "D": Verdict.DIVERGE,
        "F": Verdict.FLAKY,
        "i": Verdict.INFRA,
        "s": Verdict.SKIP,
    }
    times = micros or (5000,) * len(verdicts)
    return [
        msgspec.structs.replace(
            BASE,
            run=f"r{number}",
            scenario=name,
            verdict=by_letter[letter],
            micros=time,
            digest=digest,
        )
        for number, (letter, time) in enumerate(zip(verdicts, times, strict=True), 1)
    ]


@pytest.mark.parametrize(
    ("verdicts", "last_match", "flaky"),
    [
        ("MMM", "r3", False),
        ("MMD", "r2", True),
        ("DDD", "", False),
        ("MiM", "r3", False),
        ("MsM", "r3", False),
        ("F", "", True),
    ],
)
def test_series(verdicts: str, last_match: str, flaky: bool) -> None:
    (one,) = history(results(verdicts))
    assert one.verdicts == verdicts
    assert one.last_match == last_match
    assert one.flaky is flaky
    assert one.runs == len(verdicts)


def test_another_content_is_no_flake() -> None:
    changed = [msgspec.structs.replace(one, digest="other") for one in results("D")]
    (one,) = history([*results("M"), *changed])
    assert not one.flaky


def test_kernels_and_profiles_are_kept_apart() -> None:
    other = [msgspec.structs.replace(one, release="6.1.0") for one in results("D")]
    first, second = history([*results("M"), *other])
    assert (first.verdicts, second.verdicts) == ("M", "D")
    assert not first.flaky


def test_slower() -> None:
    (one,) = history(results("MMMM", micros=(5000, 5100, 4900, 20_000)))
    assert one.slower == pytest.approx(4.0)
    (one,) = history(results("MMMM", micros=(5000, 5100, 4900, 6000)))
    assert one.slower == 0
    (one,) = history(results("MM", micros=(5000, 20_000)))
    assert one.slower == 0, "one run before tells nothing"


def test_a_busy_machine_slows_nothing_in_particular() -> None:
    rows: list[Result] = []
    for number in range(5):
        rows += results("MMM", name=f"s{number}", micros=(5000, 5000, 20_000))
    rows += results("MMM", name="really", micros=(5000, 5000, 80_000))
    slower = {one.scenario: one.slower for one in history(rows) if one.slower}
    assert slower == {"really": pytest.approx(4.0)}
