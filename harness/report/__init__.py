# SPDX-License-Identifier: GPL-2.0-only
"""Judged scenarios come in; text, HTML and JSON for a reader go out.

This room sees verdicts and never a kernel, a target or a compiler. The formats of a stored run are
in :mod:`harness.report.formats`, which takes longer to load than most commands need.
"""

from harness.report.data import RunReport
from harness.report.diff import diff_lines
from harness.report.jsonform import finding_json, summary_json
from harness.report.summary import Summary, summary_lines, summary_of

__all__ = [
    "RunReport",
    "Summary",
    "diff_lines",
    "finding_json",
    "summary_json",
    "summary_lines",
    "summary_of",
]
