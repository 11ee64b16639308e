# SPDX-License-Identifier: GPL-2.0-only
"""Findings and summaries as plain data for machines."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from harness.report.summary import Summary
from harness.vocabulary import Finding, ScenarioRun, Verdict
from reference_model.outcome import to_json

#: Runs of leaves over all steps of a finding beyond which its JSON has none of them.
MOST_RUNS = 300_000


def finding_json(finding: Finding) -> dict[str, Any]:
    """The form of ``harness predict --json`` with ``observed`` and ``verdict`` beside it.

    Tables of more than ``MOST_RUNS`` runs of leaves in all are left out: ``omitted`` says so then.
    """
    large = _runs(finding)
    if large > MOST_RUNS:
        out: dict[str, Any] = {"id": finding.scenario.id, "profile": finding.profile}
        out["omitted"] = f"steps and observed: {large} runs of leaves; harness diff shows them"
    elif finding.prediction is not None:
        out = to_json(finding.prediction)
    else:
        out = {"id": finding.scenario.id, "profile": finding.profile}
    out["target"] = msgspec.to_builtins(finding.target)
    out["verdict"] = finding.verdict.value
    out["short_id"] = finding.short_id
    if finding.reason:
        out["reason"] = finding.reason
    if finding.verdict is Verdict.SKIP:
        out.setdefault("skip", finding.reason)  # the target, not the model, said so
    out["compared"] = list(finding.compared)
    out["not_compared"] = list(finding.not_compared)
    if finding.run is not None and large <= MOST_RUNS:
        out["observed"] = msgspec.to_builtins(finding.run.steps)
    if finding.run is not None and finding.run.log:
        out["log"] = list(finding.run.log)
    if finding.differences:
        shown = finding.differences if large <= MOST_RUNS else finding.differences[:1]
        out["differences"] = msgspec.to_builtins(shown)
    if finding.again:
        out["repeats"] = [_repeat(finding, run) for run in finding.again]
    for key in ("known", "dropped"):
        if getattr(finding, key):
            out[key] = getattr(finding, key)
    return out


def _repeat(finding: Finding, run: ScenarioRun) -> dict[str, Any]:
    """A run of the same input: how it ended, and what it showed at the step that differed."""
    out: dict[str, Any] = {"status": run.status.value, "detail": run.detail}
    if finding.step is not None and finding.step < len(run.steps):
        out["observed"] = msgspec.to_builtins(run.steps[finding.step])
    return out


def _runs(finding: Finding) -> int:
    """Runs of leaves in what was observed, which is about as many as in what was predicted."""
    if finding.run is None:
        return 0
    return sum(len(step.leaves) for step in finding.run.steps if step.leaves is not UNSET)


def summary_json(summary: Summary) -> dict[str, Any]:
    """Counts, channels, skips and the exit status."""
    return {
        "verdicts": {verdict.value: count for verdict, count in summary.verdicts.items()},
        "compared": list(summary.compared),
        "not_compared": summary.not_compared,
        "skips": dict(summary.skips),
        "known": dict(summary.known),
        "transitions": {name: list(share) for name, share in summary.transitions.items()},
        "notes": list(summary.notes),
        "steps": summary.steps,
        "exit_status": summary.exit_status(),
    }
