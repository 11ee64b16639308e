# SPDX-License-Identifier: GPL-2.0-only
"""A stored run as text: kernels, the counts, and every scenario that is no match."""

from __future__ import annotations

from harness.report.data import RunReport, environment_text, printable
from harness.report.diff import Line
from harness.report.summary import summary_lines


def terminal_lines(report: RunReport) -> list[Line]:
    """Styled lines; the caller prints them."""
    run = report.run
    lines: list[Line] = [
        ("head", f"run {run.id}   {run.started}   harness {run.version}"),
        ("", printable(" ".join(run.command))),
    ]
    for target in report.targets:
        info = target.info
        text = f"kernel  {info.describe()}   profile {target.profile}"
        build = "  ".join(part for part in (info.version, info.build_id) if part)
        lines.append(("", printable(text)))
        lines += [("dim", f"        {line}") for line in (build, environment_text(target)) if line]
        lines += [("dim", f"        note: {target.note}")] if target.note else []
        lines += [
            ("dim", printable(f"        without {channel}: {reason}"))
            for channel, reason in info.missing.items()
        ]
    if report.incomplete:
        lines.append(("bad", report.incomplete))
    return lines + [(style, printable(text)) for style, text in summary_lines(report.summary)]


def write_terminal(report: RunReport) -> str:
    """A stored run as plain text: :func:`terminal_lines` without their styles."""
    return "".join(f"{text}\n" for _, text in terminal_lines(report))
