# SPDX-License-Identifier: GPL-2.0-only
"""How often a race's forbidden outcome came back."""

from __future__ import annotations

import msgspec
import pytest

from harness.compare import comeback
from harness.compare.comeback import forbidden_of
from harness.vocabulary import Finding, RunStatus, ScenarioRun, TargetInfo, Verdict
from reference_model.outcome import Outcome
from tests.compare.test_histogram import RIGHT, SCENARIO, outcomes, run

GOOD = outcomes(RIGHT)[0]


def bad(page: int) -> Outcome:
    assert not isinstance(GOOD.after, msgspec.UnsetType)
    return msgspec.structs.replace(
        GOOD, after=msgspec.structs.replace(GOOD.after, dirty={"1": (page,)})
    )


def finding(*histogram: tuple[int, Outcome]) -> Finding:
    return of(run(histogram))


def of(done: ScenarioRun) -> Finding:
    return Finding(
        scenario=SCENARIO,
        target=TargetInfo(name="t", kind="qemu", release="6.12.0"),
        profile="v6.12",
        verdict=Verdict.DIVERGE,
        prediction=RIGHT,
        run=done,
    )


FIRST = finding((198, GOOD), (2, bad(7)))


@pytest.mark.parametrize(
    ("again", "line"),
    [
        (
            finding((395, GOOD), (5, bad(7))),
            "came back: 5 of 400 repeats had an outcome that is not allowed (at first 2 of 200)",
        ),
        (
            finding((190, GOOD), (7, bad(8)), (3, bad(7))),
            "came back: 10 of 200 repeats had an outcome that is not allowed, 3 of them in one "
            "that was seen at first (at first 2 of 200)",
        ),
        (
            finding((200, GOOD)),
            "did not come back: none of 200 repeats had an outcome that is not allowed "
            "(at first 2 of 200); more repeats: --repeat",
        ),
    ],
)
def test_the_line_of_a_replay(again: Finding, line: str) -> None:
    assert comeback(FIRST, again) == line


def test_a_replay_that_did_not_end_says_nothing_of_it() -> None:
    hung = msgspec.structs.replace(run([(200, GOOD)]), status=RunStatus.HANG)
    again = msgspec.structs.replace(of(hung), verdict=Verdict.HANG)
    assert comeback(FIRST, again).startswith("whether it comes back is not known: the replay is H")


def test_what_was_no_race_has_no_line() -> None:
    assert comeback(finding((200, GOOD)), FIRST) == ""
    bare = of(ScenarioRun(id="r", status=RunStatus.DONE, steps=()))
    assert forbidden_of(bare) is None
    assert comeback(bare, FIRST) == ""
