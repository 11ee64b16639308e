# SPDX-License-Identifier: GPL-2.0-only
"""One self-contained HTML page of a run: no network, no script that is needed to read it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import jinja2

from harness.report.diff import diff_lines
from harness.report.summary import Summary, counts_text
from harness.resources import resource_dir
from harness.vocabulary import Finding, RunInfo, TargetInfo, Verdict

_MAX_DIFFS = 500


def write_html(
    path: Path,
    run: RunInfo,
    summary: Summary,
    targets: Iterable[TargetInfo],
    findings: Iterable[Finding],
) -> None:
    """Write the page atomically; ``findings`` is read once, matches are counted, not listed."""
    shown: list[tuple[Finding, list[tuple[str, str]]]] = []
    for finding in findings:
        if finding.verdict in (Verdict.MATCH, Verdict.SKIP) or len(shown) >= _MAX_DIFFS:
            continue
        shown.append((finding, diff_lines(finding, every_step=True)))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource_dir("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        run=run,
        counts=counts_text(summary.verdicts),
        summary=summary,
        targets=list(targets),
        shown=shown,
        command=" ".join(run.command),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".report-")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(page)
    Path(name).replace(path)
