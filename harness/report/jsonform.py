# SPDX-License-Identifier: GPL-2.0-only
"""Findings and summaries as plain data for machines."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.report.summary import Summary
from harness.vocabulary import Finding
from reference_model.outcome import to_json


def finding_json(finding: Finding) -> dict[str, Any]:
    """The form of ``harness predict --json`` with ``observed`` and ``verdict`` beside it."""
    if finding.prediction is not None:
        out = to_json(finding.prediction)
    else:
        out = {"id": finding.scenario.id, "profile": finding.profile}
    out["target"] = msgspec.to_builtins(finding.target)
    out["verdict"] = finding.verdict.value
    out["short_id"] = finding.short_id
    if finding.reason:
        out["reason"] = finding.reason
    out["compared"] = list(finding.compared)
    if finding.run is not None:
        out["observed"] = msgspec.to_builtins(finding.run.steps)
    if finding.differences:
        out["differences"] = msgspec.to_builtins(finding.differences)
    return out


def summary_json(summary: Summary) -> dict[str, Any]:
    """Counts, channels, skips and the exit status."""
    return {
        "verdicts": {verdict.value: count for verdict, count in summary.verdicts.items()},
        "compared": list(summary.compared),
        "not_compared": summary.not_compared,
        "skips": dict(summary.skips),
        "steps": summary.steps,
        "exit_status": summary.exit_status(),
    }
