# SPDX-License-Identifier: GPL-2.0-only
"""A packed finding is the finding again, and small."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.store.packing import PACKED, PLAIN, pack, squeeze, unpack
from harness.vocabulary import Finding, RunStatus, ScenarioRun, Verdict
from reference_model.outcome import LeafRun, Observation, Prediction, StepPrediction
from tests.store.samples import P61, TARGET, crashed, judged, scenarios

PGTABLE = scenarios("pgtable", 40, profile=P61)
GUEST = scenarios("guest", 20)


def same(left: Finding, right: Finding) -> bool:
    """Equal as JSON: values of open type come back as JSON has them, tuples as lists."""
    return msgspec.json.encode(left) == msgspec.json.encode(right)


@pytest.mark.parametrize("scenario", [*PGTABLE[:20], *GUEST], ids=lambda one: one.id)
def test_round_trip(scenario: object) -> None:
    for finding in (
        judged(scenario),  # type: ignore[arg-type]
        judged(scenario, model=P61),  # type: ignore[arg-type]
        crashed(scenario, "BUG \x1b[1m", "…"),  # type: ignore[arg-type]
    ):
        assert same(unpack(PACKED, pack(finding), TARGET), finding)


def test_some_of_them_diverge() -> None:
    verdicts = {judged(scenario, model=P61).verdict for scenario in PGTABLE}
    assert Verdict.DIVERGE in verdicts


def test_repeats_come_back() -> None:
    finding = judged(GUEST[0])
    assert finding.run is not None
    finding = msgspec.structs.replace(
        finding, again=(finding.run, finding.run), verdict=Verdict.FLAKY, env={"fwb": "on"}
    )
    assert same(unpack(PACKED, pack(finding), TARGET), finding)


def test_plain_records_are_read() -> None:
    finding = judged(GUEST[0])
    assert same(unpack(PLAIN, squeeze(msgspec.json.encode(finding)), TARGET), finding)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_damaged_records_are_a_value_error(data: bytes, form: int) -> None:
    with pytest.raises(ValueError):
        unpack(form, data, TARGET)
    with pytest.raises(ValueError):
        unpack(form, squeeze(data), TARGET)


runs = st.lists(
    st.tuples(
        st.integers(0, 40).map(lambda page: page << 12),
        st.just(4096),
        st.integers(0, 4).map(lambda page: page << 12),
        st.sampled_from(["rw", "r", ""]),
        st.just(0),
        st.booleans(),
        st.just("normal"),
        st.integers(1, 3),
    ),
    max_size=30,
).map(tuple)


@settings(deadline=None)
@given(st.lists(st.tuples(runs, runs), min_size=1, max_size=6))
def test_any_tables_come_back(
    tables: list[tuple[tuple[LeafRun, ...], tuple[LeafRun, ...]]],
) -> None:
    finding = judged(PGTABLE[0])
    predicted = tuple(
        StepPrediction((Observation(ret=0, leaves=said), Observation(leaves=seen)))
        for said, seen in tables
    )
    seen = tuple(Observation(ret=0, leaves=seen) for _, seen in tables)
    finding = msgspec.structs.replace(
        finding,
        prediction=Prediction(id=finding.scenario.id, profile="v6.12", steps=predicted),
        run=ScenarioRun(id=finding.scenario.id, status=RunStatus.DONE, steps=seen),
        differences=(),
    )
    assert same(unpack(PACKED, pack(finding), TARGET), finding)


def large(steps: int, runs: int) -> Finding:
    """Each step adds a leaf to a table of many."""
    table = [(page << 13, 4096, page << 12, "rw", 0, True, "normal", 1) for page in range(runs)]
    seen = [Observation(ret=0, leaves=tuple(table))]
    for page in range(runs, runs + steps - 1):
        table.append((page << 13, 4096, page << 12, "rw", 0, True, "normal", 1))
        seen.append(Observation(ret=0, leaves=tuple(table)))
    finding = judged(PGTABLE[0])
    return msgspec.structs.replace(
        finding,
        prediction=Prediction(
            id=finding.scenario.id,
            profile="v6.12",
            steps=tuple(StepPrediction((one,)) for one in seen),
        ),
        run=ScenarioRun(id=finding.scenario.id, status=RunStatus.DONE, steps=tuple(seen)),
        differences=(),
    )


def test_many_leaves_over_many_steps_are_small() -> None:
    finding = large(500, 5000)
    began = time.monotonic()
    record = pack(finding)
    assert time.monotonic() - began < 10
    assert len(record) < 100_000
    assert unpack(PACKED, record, TARGET) == finding


def test_what_is_too_large_is_said_to_be_left_out() -> None:
    finding = unpack(PACKED, pack(large(20, 100), limit=1000), TARGET)
    assert finding.run is not None
    assert finding.run.steps == ()
    assert finding.prediction is not None
    assert finding.prediction.steps == ()
    assert "20 steps" in finding.dropped
