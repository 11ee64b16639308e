# SPDX-License-Identifier: GPL-2.0-only
"""How long reports of a large run take: 10,000 results, of which every tenth diverges."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.cli.stored import run_report
from harness.compare import judge
from harness.generate import generate
from harness.report.formats import FORMATS
from harness.runs import RunInfo
from harness.store import Store
from harness.vocabulary import Finding, RunStatus, ScenarioRun, TargetInfo, Verdict
from reference_model import predict
from reference_model.outcome import Prediction
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import Scenario

COUNT = 10_000
_SAMPLES = 100
_TARGET = TargetInfo(name="bench", kind="none", release="6.1.0")
_RUN = RunInfo(id="bench", started="", command=(), seed=1, version="", expected=COUNT)


def report_times() -> dict[str, float]:
    """Seconds from the store to the whole text, by format."""
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder, Store(Path(folder)) as db:
        db.add_run(_RUN)
        db.add(_RUN.id, _findings())
        for name, write in FORMATS.items():
            began = time.perf_counter()
            write(run_report(db, _RUN))
            times[name] = time.perf_counter() - began
    return times


def _findings() -> Iterator[Finding]:
    """A few judged scenarios under many names: a kernel as v6.1, every tenth judged by v6.12."""
    env = Environment()
    kernel, other = PROFILES["v6.1"], PROFILES["v6.12"]
    scenarios = list(generate("pgtable", _SAMPLES, 1, kernel, env))
    runs = [_run(scenario, predict(scenario, kernel, env)) for scenario in scenarios]
    good = [
        _judged(s, predict(s, kernel, env), run) for s, run in zip(scenarios, runs, strict=True)
    ]
    bad = [_judged(s, predict(s, other, env), run) for s, run in zip(scenarios, runs, strict=True)]
    bad = [finding for finding in bad if finding.verdict is Verdict.DIVERGE]
    for at in range(COUNT):
        source = good if at % 10 else bad
        finding = source[at % len(source)]
        named = msgspec.structs.replace(finding.scenario, id=f"{finding.scenario.id}-{at:05}")
        yield msgspec.structs.replace(finding, scenario=named, short_id=f"{at:06x}")


def _run(scenario: Scenario, prediction: Prediction) -> ScenarioRun:
    steps = tuple(step.allowed[0] for step in prediction.steps)
    return ScenarioRun(id=scenario.id, status=RunStatus.DONE, steps=steps, micros=1000)


def _judged(scenario: Scenario, prediction: Prediction, run: ScenarioRun) -> Finding:
    judgement = judge(scenario, prediction, run, prediction.profile)
    return Finding(
        scenario=scenario,
        target=_TARGET,
        profile=prediction.profile,
        verdict=judgement.verdict,
        prediction=prediction,
        run=run,
        differences=judgement.differences,
        reason=judgement.reason,
        compared=judgement.compared,
    )
