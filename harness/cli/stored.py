# SPDX-License-Identifier: GPL-2.0-only
"""What commands take out of the results store, and how reports of it are written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from msgspec import UNSET

from harness.compare import explain_finding
from harness.render import render_one
from harness.report.data import PLAIN_VERDICTS, RunReport
from harness.report.formats import FORMATS
from harness.runs import RunInfo
from harness.store import Store, default_root
from harness.vocabulary import Explanation, Finding, HarnessError, Verdict
from reference_model.outcome import Prediction

#: Steps, and runs of leaves in their prediction, up to which a report shows the C and the words.
_MOST_STEPS = 500
_MOST_RUNS = 20_000


def run_report(store: Store, run: RunInfo) -> RunReport:
    """A run as the report formats take it; reads from the store as long as it is used."""
    state, ended = store.state(run.id)
    telling = [verdict for verdict in Verdict if verdict not in PLAIN_VERDICTS]
    return RunReport(
        run=run,
        state=state.value,
        ended=ended,
        targets=tuple(store.targets(run.id)),
        results=tuple(store.results(run.id)),
        notes=tuple(store.notes(run.id)),
        findings=lambda: store.findings(run.id, verdicts=telling),
        source=_source,
        explain=_explanation,
    )


def _source(finding: Finding) -> str:
    """The C that ran, with the model's words where they are few; or why there is none."""
    steps = len(finding.scenario.steps)
    if steps > _MOST_STEPS:
        return f"/* {steps} steps: harness render shows them */\n"
    prediction = finding.prediction
    if prediction is not None and _runs(prediction) > _MOST_RUNS:
        prediction = None
    try:
        return render_one(finding.scenario, prediction)
    except (HarnessError, ValueError) as error:
        return f"/* no C: {error} */\n"


def _explanation(finding: Finding) -> Explanation | None:
    """What the model can say about it; nothing where asking it again would take long."""
    if len(finding.scenario.steps) > _MOST_STEPS:
        return None
    return explain_finding(finding)


def _runs(prediction: Prediction) -> int:
    """Runs of leaves in all that is allowed."""
    allowed = (one for step in prediction.steps for one in step.allowed)
    return sum(len(one.leaves) for one in allowed if one.leaves is not UNSET)


def report_folder(run: RunInfo) -> Path:
    """The folder of a run's files under this working directory; it need not be there yet."""
    return default_root() / "runs" / run.id


def write_report(report: RunReport, name: str, path: Path) -> None:
    """Write a format of a report to a file, whole or not at all."""
    text = FORMATS[name](report)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
