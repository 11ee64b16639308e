# SPDX-License-Identifier: GPL-2.0-only
"""One JSON object a line: the run, its targets, a result a scenario, and the summary.

``type`` tells them apart. Results that are neither MATCH nor SKIP are followed by a ``finding``
with the scenario and the differences.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.report.data import RunReport
from harness.report.jsonform import summary_json

_encode = msgspec.json.Encoder().encode


def write_jsonl(report: RunReport) -> str:
    """A stored run as JSON lines, each ended by a newline: the run first, the summary last."""
    lines = [_line("run", report.run, state=report.state, ended=report.ended)]
    lines += [_line("target", target) for target in report.targets]
    lines += [_line("note", {"text": note}) for note in report.notes]
    lines += [_line("result", result) for result in report.results]
    for finding in report.findings():
        log = finding.run.log if finding.run is not None else ()
        body = {
            "short_id": finding.short_id,
            "scenario": finding.scenario,
            "differences": finding.differences,
            "log": log,
            "repeats": len(finding.again),
        }
        lines.append(_line("finding", body))
    summary = {**summary_json(report.summary), "incomplete": report.incomplete}
    lines.append(_line("summary", summary))
    return "".join(lines)


def _line(kind: str, body: Any, **more: Any) -> str:
    plain = body if isinstance(body, dict) else msgspec.to_builtins(body)
    return _encode({"type": kind, **plain, **more}).decode() + "\n"
