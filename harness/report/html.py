# SPDX-License-Identifier: GPL-2.0-only
"""One self-contained HTML page of a run: no network, no script that is needed to read it.

A row for every result, and a section for every finding until the page is large enough; what is
left out is counted on the page.
"""

from __future__ import annotations

from typing import Any

import jinja2
from markupsafe import Markup
from msgspec import Struct

from harness.report.data import PLAIN_VERDICTS, RunReport, environment_text, printable, where_text
from harness.report.diff import Line, brief, diff_lines
from harness.report.pictures import Picture, pictures
from harness.report.summary import counts_text, transition_lines
from harness.resources import resource_dir
from harness.runs import Result
from harness.vocabulary import Finding, ScenarioRun, Verdict
from reference_model.describe import describe

#: Bytes of all sections, of one section's parts, and rows: about 8 MB of page in all.
_MOST_SECTIONS = 4_500_000
_MOST_SOURCE = 20_000
_MOST_LINES = 400
_MOST_LOG = 200
_MOST_ROWS = 20_000
#: Sections there are at most; those with the C source; and those of which the model is asked for an
#: explanation, which takes it some time.
_MOST = 500
_MOST_SOURCES = 200
_MOST_EXPLAINED = 20
_MOST_MARKS = 200


class Mark(Struct, frozen=True):
    """One step of a time line: ``kind`` is ok, bad or unseen; ``words`` say what it does."""

    kind: str
    words: str


class Section(Struct, frozen=True, kw_only=True):
    """One finding, ready to print.

    ``marks`` are of the steps from number ``marks_from`` on; ``lines`` are (style, text), as in
    the terminal; ``log`` the last kernel log lines; ``source`` the C, "" where it is not shown.
    """

    finding: Finding
    anchor: str
    marks: tuple[Mark, ...]
    marks_from: int
    pictures: tuple[Picture, ...]
    lines: tuple[Line, ...]
    log: tuple[str, ...]
    repeats: tuple[str, ...]
    source: str


def write_html(report: RunReport) -> str:
    """A stored run as one HTML page that needs no other file.

    Findings are shown in their order until there are ``_MOST`` sections or the page is full;
    the page says how many were left out.
    """
    sections: list[Section] = []
    size = 0
    for finding in report.findings():
        if size > _MOST_SECTIONS or len(sections) >= _MOST:
            break
        section = _section(report, finding, len(sections))
        size += _size(section)
        sections.append(section)
    summary = report.summary
    shown = len(sections) + sum(summary.verdicts[verdict] for verdict in PLAIN_VERDICTS)
    rows = sorted(report.results, key=_order)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=report.run,
            state=report.state,
            incomplete=report.incomplete,
            summary=summary,
            counts=counts_text(summary.verdicts),
            verdicts=[(v.value, summary.verdicts[v]) for v in Verdict if summary.verdicts[v]],
            suites=sorted(summary.suites),
            transitions=transition_lines(summary),
            targets=[(one, where_text(one), environment_text(one)) for one in report.targets],
            rows=rows[:_MOST_ROWS],
            rows_left_out=max(len(rows) - _MOST_ROWS, 0),
            sections=sections,
            anchors={section.anchor for section in sections},
            left_out=summary.total - shown,
            notes=report.notes,
            command=" ".join(report.run.command),
        )
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource_dir("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )


def _finalize(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _order(result: Result) -> bool:
    return result.verdict in PLAIN_VERDICTS


def _section(report: RunReport, finding: Finding, number: int) -> Section:
    explanation = report.explain(finding) if number < _MOST_EXPLAINED else None
    lines = diff_lines(finding, explanation=explanation)
    log = finding.run.log if finding.run is not None else ()
    if log:
        # The log has its place below: diff_lines put its first lines before the verdict.
        lines = [line for line in lines if line[1][4:] not in set(log)]
    first = max((finding.step or 0) - _MOST_MARKS // 2, 0)
    source = report.source(finding) if number < _MOST_SOURCES else ""
    if len(source) > _MOST_SOURCE:
        source = source[:_MOST_SOURCE] + "\n/* … cut: harness render */\n"
    return Section(
        finding=finding,
        anchor=finding.short_id,
        marks=_marks(finding)[first : first + _MOST_MARKS],
        marks_from=first,
        pictures=tuple(pictures(finding)),
        lines=tuple(lines[:_MOST_LINES]),
        log=log[-_MOST_LOG:],
        repeats=tuple(_repeat(finding, number, run) for number, run in enumerate(finding.again, 2)),
        source=source,
    )


def _repeat(finding: Finding, number: int, run: ScenarioRun) -> str:
    """What a repeat did at the step that differed at first."""
    words = [f"run {number}: {run.status.value}", run.detail]
    if finding.step is not None and finding.step < len(run.steps):
        words.append(f"step {finding.step}: {brief(run.steps[finding.step])}")
    return " ".join(word for word in words if word)


def _marks(finding: Finding) -> tuple[Mark, ...]:
    differing = {one.step for one in finding.differences}
    ended = len(finding.run.steps) if finding.run is not None else 0
    marks = []
    for index, step in enumerate(finding.scenario.steps):
        kind = "ok"
        if index in differing or (index == finding.step and not differing):
            kind = "bad"
        elif index >= ended:
            kind = "unseen"
        marks.append(Mark(kind, f"{index} {describe(step)}"))
    return tuple(marks)


def _size(section: Section) -> int:
    """About as many bytes as it takes on the page."""
    text = sum(len(line) + 30 for _, line in section.lines)
    boxes = sum(len(row.boxes) for picture in section.pictures for row in picture.rows)
    return (
        2_000
        + text
        + 180 * boxes
        + sum(len(mark.words) + 60 for mark in section.marks)
        + sum(map(len, section.log))
        + len(section.source)
    )
