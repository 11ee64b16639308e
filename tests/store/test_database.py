# SPDX-License-Identifier: GPL-2.0-only
"""Results survive the round trip; databases that are not ours to touch are left alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from harness.store import Store
from harness.store.database import SCHEMA_VERSION, short_id
from harness.vocabulary import (
    Finding,
    RunInfo,
    RunStatus,
    ScenarioRun,
    StepDifference,
    TargetInfo,
    UsageError,
    Verdict,
)
from reference_model import predict
from reference_model.language import load_text
from reference_model.profiles import PROFILES, Environment
from tests.reference_model.test_language import GUEST

RUN = RunInfo(id="2026-01-01-1", started="t", command=("harness",), seed=1, version="0")


def finding(verdict: Verdict = Verdict.DIVERGE) -> Finding:
    (scenario,) = load_text(GUEST, "g")
    prediction = predict(scenario, PROFILES["v6.12"], Environment())
    steps = tuple(step.allowed[0] for step in prediction.steps)
    return Finding(
        scenario=scenario,
        target=TargetInfo(name="debian:trixie", kind="qemu", release="6.12"),
        profile="v6.12",
        verdict=verdict,
        prediction=prediction,
        run=ScenarioRun(id=scenario.id, status=RunStatus.DONE, steps=steps),
        differences=(StepDifference(step=1, channel="faults", expected=1, observed=2),),
        compared=("ret",),
        short_id=short_id(RUN.id, scenario.id, "debian:trixie"),
    )


def test_round_trip(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add_run(RUN)
        store.add(RUN.id, [finding()])
    with Store(tmp_path) as store:
        assert store.runs() == [RUN]
        assert list(store.findings(RUN.id)) == [finding()]
        assert store.find(finding().short_id) == finding()
        assert store.find("nope") is None
        assert store.new_run_id("2026-01-01") == "2026-01-01-2"


def test_only_findings(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add_run(RUN)
        store.add(RUN.id, [finding(Verdict.MATCH)])
        assert list(store.findings(RUN.id, only_findings=True)) == []


def test_newer_schema_is_left_alone(tmp_path: Path) -> None:
    with Store(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "harness.db") as database:
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(UsageError, match="newer than this version"):
        Store(tmp_path)


def test_damaged_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "harness.db").write_bytes(b"this is no database, whatever its name says" * 100)
    before = (tmp_path / "harness.db").read_bytes()
    with pytest.raises(UsageError, match="cannot be used"):
        Store(tmp_path)
    assert (tmp_path / "harness.db").read_bytes() == before
