# SPDX-License-Identifier: GPL-2.0-only
"""A run in numbers: what was compared where, who failed and at which step, the exit status."""

from __future__ import annotations

import msgspec
import pytest

from harness.report import Summary, finding_json, summary_json, summary_lines, summary_of
from harness.report import jsonform as form
from harness.runs import RunTarget
from harness.vocabulary import Finding, Verdict
from tests.report.samples import GUEST, PGTABLE, every_verdict, report_of
from tests.store.samples import P61, P612, TARGET, judged

OTHER = msgspec.structs.replace(TARGET, name="debian:sid", missing={"tlbi": "no tracefs"})


def lines(findings: list[Finding]) -> list[str]:
    summary = Summary()
    for finding in findings:
        summary.add(finding)
    return [text for _, text in summary_lines(summary)]


def without(finding: Finding, *channels: str) -> Finding:
    kept = tuple(name for name in finding.compared if name not in channels)
    return msgspec.structs.replace(finding, compared=kept, not_compared=channels)


def test_a_channel_that_was_nowhere_compared() -> None:
    text = "\n".join(lines([without(judged(GUEST[0]), "tlbi")]))
    assert "not compared: tlbi (no probe point)" in text


def test_a_channel_that_some_scenarios_lack() -> None:
    found = judged(GUEST[0])
    text = "\n".join(lines([found, without(judged(GUEST[1]), "data")]))
    assert "not compared: data (in some scenarios: not read on this target)" in text


def test_a_channel_that_one_of_two_targets_lacks() -> None:
    here = msgspec.structs.replace(judged(PGTABLE[0], model=P61, kernel=P61))
    there = without(judged(PGTABLE[0], model=P61, kernel=P61, target=OTHER), "tlbi")
    text = "\n".join(lines([here, there]))
    assert "not compared: tlbi (on debian:sid: no tracefs)" in text


def test_one_line_a_failure_of_the_machine() -> None:
    broken = [
        msgspec.structs.replace(judged(one), verdict=Verdict.INFRA, reason="the link broke")
        for one in GUEST
    ]
    (line,) = [text for text in lines(broken) if "INFRA" in text]
    assert f"{len(GUEST)} scenarios ({GUEST[0].id} … {GUEST[-1].id})" in line


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ([], 3),
        ([Verdict.MATCH], 0),
        ([Verdict.MATCH, Verdict.KNOWN], 0),
        ([Verdict.MATCH, Verdict.SKIP], 0),
        ([Verdict.MATCH, Verdict.INFRA], 3),
        ([Verdict.MATCH, Verdict.FLAKY], 1),
        ([Verdict.INFRA, Verdict.DIVERGE], 1),
        ([Verdict.CRASH], 1),
        ([Verdict.HANG], 1),
    ],
)
def test_exit_status(verdicts: list[Verdict], status: int) -> None:
    summary = Summary()
    for verdict in verdicts:
        summary.add(msgspec.structs.replace(judged(GUEST[0]), verdict=verdict, known="k"))
    assert summary.exit_status() == status


def test_nothing_compared_is_no_success() -> None:
    summary = Summary()
    skip = msgspec.structs.replace(judged(GUEST[0]), verdict=Verdict.SKIP, compared=())
    summary.add(skip)
    assert summary.exit_status() == 3


def test_transitions() -> None:
    targets = [
        RunTarget(info=TARGET, transitions=(214, 219)),
        RunTarget(info=OTHER, transitions=(214, 219)),
    ]
    text = [line for _, line in summary_lines(summary_of([], targets))]
    assert "transitions of the model: 214 of 219 reached" in text
    targets[1] = RunTarget(info=OTHER, transitions=(200, 219))
    text = [line for _, line in summary_lines(summary_of([], targets))]
    assert "transitions of the model: 200 of 219 reached on debian:sid" in text


def test_the_same_from_findings_and_from_the_store() -> None:
    findings = every_verdict()
    summary = Summary()
    for finding in findings:
        summary.add(finding)
    assert summary_json(report_of(findings).summary) == summary_json(summary)


# --- one finding as JSON -------------------------------------------------------------------------


def test_json_of_a_large_finding_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = judged(PGTABLE[0], kernel=P61, model=P612)
    assert {"steps", "observed"} <= finding_json(finding).keys()
    monkeypatch.setattr(form, "MOST_RUNS", 0)
    small = finding_json(finding)
    assert not {"steps", "observed"} & small.keys()
    assert "runs of leaves" in small["omitted"]
    assert small["verdict"] == finding.verdict.value
    assert len(small.get("differences", [])) <= 1


def test_json_says_what_was_not_compared() -> None:
    assert finding_json(without(judged(GUEST[0]), "data"))["not_compared"] == ["data"]


def test_json_of_a_skip_has_its_reason() -> None:
    told = msgspec.structs.replace(
        judged(GUEST[0]), verdict=Verdict.SKIP, reason="no swap on this target"
    )
    assert finding_json(told)["skip"] == "no swap on this target"
