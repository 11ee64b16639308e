# SPDX-License-Identifier: GPL-2.0-only
"""Judged scenarios come in; text, HTML and JSON for a reader go out.

This room sees verdicts and never a kernel, a target or a compiler.
"""

from harness.report.diff import diff_lines
from harness.report.html import write_html
from harness.report.jsonform import finding_json, summary_json
from harness.report.summary import Summary, summary_lines

__all__ = [
    "Summary",
    "diff_lines",
    "finding_json",
    "summary_json",
    "summary_lines",
    "write_html",
]
