# SPDX-License-Identifier: GPL-2.0-only
"""The formats there are: a new one is a module, and a line here."""

from __future__ import annotations

from collections.abc import Callable

from harness.report.data import RunReport
from harness.report.html import write_html
from harness.report.jsonlines import write_jsonl
from harness.report.junit import write_junit
from harness.report.kcidb import write_kcidb
from harness.report.ktap import write_ktap
from harness.report.terminal import write_terminal

FORMATS: dict[str, Callable[[RunReport], str]] = {
    "terminal": write_terminal,
    "html": write_html,
    "junit": write_junit,
    "ktap": write_ktap,
    "jsonl": write_jsonl,
    "kcidb": write_kcidb,
}
