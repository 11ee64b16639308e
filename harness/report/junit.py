# SPDX-License-Identifier: GPL-2.0-only
"""JUnit XML: a test suite a target and suite of scenarios, a test case a scenario.

A divergence, crash, hang or flake is a failure; what the machine failed at is an error; a SKIP or
a KNOWN divergence is skipped, with its reason. What was not compared is a property of its suite.
"""

from __future__ import annotations

import io
from xml.etree import ElementTree

from junitparser import Error, Failure, JUnitXml, Skipped
from junitparser.xunit2 import TestCase, TestSuite

from harness.report.data import RunReport, environment_text, one_line, printable
from harness.report.diff import diff_lines
from harness.report.summary import summary_of
from harness.runs import Result, RunTarget
from harness.vocabulary import Finding, Verdict

#: Characters of one failure's text.
_MOST_TEXT = 8_000
#: Failures whose text is given; all have their message.
_MOST_DIFFS = 1_000


def write_junit(report: RunReport) -> str:
    """A stored run as one XML document, indented, with its declaration.

    Texts of failures are cut to ``_MOST_TEXT`` characters, and only ``_MOST_DIFFS`` have one.
    """
    texts = _texts(report)
    document = JUnitXml()
    number = 0
    for target, suites in report.by_target():
        for suite, results in suites.items():
            document.append(_suite(report, target, suite, results, texts, number))
            number += 1
    stream = io.BytesIO()
    document.write(stream)
    tree = ElementTree.fromstring(stream.getvalue())  # noqa: S314 (our own)
    ElementTree.indent(tree)
    text = ElementTree.tostring(tree, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(
    report: RunReport,
    target: RunTarget,
    suite: str,
    results: list[Result],
    texts: dict[tuple[str, str], str],
    number: int,
) -> TestSuite:
    summary = summary_of(results, [target])
    out = TestSuite(one_line(f"{suite} on {target.info.name}"))
    out.id = str(number)
    out.package = "kvm-arm64"
    out.timestamp = report.run.started[:19]
    out.hostname = one_line(target.info.name).replace(" ", "_") or "unknown"
    facts = {
        "run": report.run.id,
        "command": " ".join(report.run.command),
        "harness": report.run.version,
        "seed": str(report.run.seed),
        "kernel": target.info.release,
        "kernel version": target.info.version,
        "kernel build id": target.info.build_id,
        "profile": target.profile,
        "environment": environment_text(target),
        "compared": " ".join(summary.compared),
        **{f"not compared: {name}": why for name, why in summary.not_compared.items()},
        **{f"skipped {count}": reason for reason, count in summary.skips.items()},
        "incomplete": report.incomplete,
    }
    for name, value in facts.items():
        if value:
            out.add_property(one_line(name), one_line(value))
    out.add_testcases(
        [_case(result, texts.get((result.target, result.scenario), "")) for result in results]
    )
    # The common schema wants these, empty or not, after the cases.
    out.system_out = printable("\n".join(report.notes))
    out.system_err = ""
    return out


def _case(result: Result, text: str) -> TestCase:
    case = TestCase(one_line(result.scenario))
    case.classname = one_line(f"kvm-arm64.{result.suite}")
    case.time = result.micros / 1e6
    message = one_line(f"{result.verdict.value}: {result.reason}")
    if result.verdict in (Verdict.SKIP, Verdict.KNOWN):
        case.result = [Skipped(message)]
    elif result.verdict is Verdict.INFRA:
        outcome = Error(message, result.verdict.value)
        outcome.text = printable(text or result.reason)
        case.result = [outcome]
    elif result.verdict is not Verdict.MATCH:
        failure = Failure(message, result.verdict.value)
        failure.text = printable(f"{text or result.reason}\nharness replay {result.short_id}\n")
        case.result = [failure]
    return case


def _texts(report: RunReport) -> dict[tuple[str, str], str]:
    """The differences of findings in words, by target and scenario."""
    texts: dict[tuple[str, str], str] = {}
    for finding in report.findings():
        if len(texts) >= _MOST_DIFFS:
            break
        texts[finding.target.name, finding.scenario.id] = _text(finding)
    return texts


def _text(finding: Finding) -> str:
    text = "\n".join(text for _, text in diff_lines(finding))
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "\n… cut: harness diff"
