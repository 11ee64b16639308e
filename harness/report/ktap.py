# SPDX-License-Identifier: GPL-2.0-only
"""KTAP version 1, nested: target, suite, scenario (Documentation/dev-tools/ktap.rst).

A SKIP is skipped, a KNOWN divergence is an expected failure, a HANG is a TIMEOUT and INFRA is an
ERROR. What was not compared stands in diagnostic lines before the result of the suite.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

from harness.report.data import RunReport, environment_text, one_line
from harness.report.summary import summary_of
from harness.runs import Result, RunTarget
from harness.vocabulary import Verdict

_INDENT = "  "
_DIRECTIVE = {Verdict.SKIP: "SKIP", Verdict.HANG: "TIMEOUT", Verdict.INFRA: "ERROR"}
_OK = (Verdict.MATCH, Verdict.SKIP, Verdict.KNOWN)


def write_ktap(report: RunReport) -> str:
    """A stored run as KTAP lines; a target or suite is ``ok`` if all that is in it is."""
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: RunReport) -> Iterator[str]:
    targets = [(target, suites) for target, suites in report.by_target() if suites]
    yield "KTAP version 1"
    yield f"# run {one_line(report.run.id)}: {one_line(' '.join(report.run.command))}"
    for note in (*report.notes, report.incomplete):
        if note:
            yield f"# {one_line(note)}"
    yield f"1..{len(targets)}"
    for number, (target, suites) in enumerate(targets, 1):
        fine = yield from _target(target, suites)
        yield f"{_ok(fine)} {number} {_name(target.info.name)}"


def _target(target: RunTarget, suites: dict[str, list[Result]]) -> Generator[str, None, bool]:
    """The lines of a target; returns whether all went well."""
    info = target.info
    pad = _INDENT
    yield f"{pad}KTAP version 1"
    yield f"{pad}# Subtest: {_name(info.name)}"
    yield f"{pad}# kernel {one_line(f'{info.release} {info.version} {info.build_id}')}"
    yield f"{pad}# profile {one_line(target.profile)}, {one_line(environment_text(target))}"
    yield f"{pad}1..{len(suites)}"
    fine = True
    for number, (suite, results) in enumerate(suites.items(), 1):
        yield from _suite(target, suite, results)
        well = all(result.verdict in _OK for result in results)
        yield f"{pad}{_ok(well)} {number} {_name(suite)}"
        fine = fine and well
    return fine


def _suite(target: RunTarget, suite: str, results: list[Result]) -> Iterator[str]:
    pad = 2 * _INDENT
    yield f"{pad}KTAP version 1"
    yield f"{pad}# Subtest: {_name(suite)}"
    yield f"{pad}1..{len(results)}"
    for number, result in enumerate(results, 1):
        yield from _result(number, result)
    summary = summary_of(results, [target])
    yield f"{pad}# compared: {' '.join(summary.compared) or 'nothing'}"
    for channel, why in summary.not_compared.items():
        yield f"{pad}# not compared: {channel}: {one_line(why)}"


def _result(number: int, result: Result) -> Iterator[str]:
    pad = 2 * _INDENT
    reason = one_line(result.reason)
    verdict = result.verdict
    if verdict is not Verdict.MATCH and verdict is not Verdict.SKIP:
        yield f"{pad}# {_name(result.scenario)}: {verdict.value} {reason}"
    if verdict not in _OK and verdict is not Verdict.INFRA:
        yield f"{pad}# harness replay {result.short_id}"
    line = f"{pad}{_ok(verdict in _OK)} {number} {_name(result.scenario)}"
    if verdict is Verdict.KNOWN:
        line += f" # XFAIL {one_line(result.known)}"
    elif verdict in _DIRECTIVE:
        line += f" # {_DIRECTIVE[verdict]} {reason}"
    yield line


def _ok(well: bool) -> str:
    return "ok" if well else "not ok"


def _name(text: str) -> str:
    """A description has no ``#``, and begins and ends with what is no blank."""
    return re.sub(r"[#\\]", "_", one_line(text)) or "unnamed"
