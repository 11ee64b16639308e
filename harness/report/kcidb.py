# SPDX-License-Identifier: GPL-2.0-only
"""KCIDB's report schema, version 5.0: a build a target's kernel, a test a scenario.

A divergence, crash, hang or flake is FAIL; a SKIP is SKIP; INFRA is MISS, for the test could not
be run; a KNOWN divergence is DONE, with a comment. Nothing of it says where to send it.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from harness.report.data import RunReport, environment_text, one_line, where_text
from harness.report.summary import summary_of
from harness.runs import Result, RunTarget
from harness.vocabulary import Verdict

ORIGIN = "kvm_arm64_harness"
_STATUS = {
    Verdict.MATCH: "PASS",
    Verdict.KNOWN: "DONE",
    Verdict.SKIP: "SKIP",
    Verdict.INFRA: "MISS",
}


def write_kcidb(report: RunReport) -> str:
    """A stored run as a submission, in JSON: a checkout and a build for each target, and its tests.

    A target without results has none. Ids begin with ``ORIGIN`` and the run's id.
    """
    checkouts, builds, tests = [], [], []
    for target, suites in report.by_target():
        if not suites:
            continue
        ident = one_line(f"{ORIGIN}:{report.run.id}/{target.info.name}")
        checkouts.append(_checkout(ident, target))
        builds.append(_build(ident, target))
        for results in suites.values():
            absent = summary_of(results, [target]).not_compared
            tests += [_test(report, ident, target, result, absent) for result in results]
    document = {
        "version": {"major": 5, "minor": 0},
        "checkouts": checkouts,
        "builds": builds,
        "tests": tests,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode() + "\n"


def _checkout(ident: str, target: RunTarget) -> dict[str, Any]:
    return {
        "id": ident,
        "origin": ORIGIN,
        "comment": one_line(f"{target.info.release} {target.info.version}".strip()),
        "misc": {"built_elsewhere": True},
    }


def _build(ident: str, target: RunTarget) -> dict[str, Any]:
    return {
        "id": ident,
        "checkout_id": ident,
        "origin": ORIGIN,
        "architecture": "arm64",
        "comment": one_line(f"{target.info.release} {target.info.version}".strip()),
        "status": "PASS",
        "misc": {"gnu_build_id": target.info.build_id, "release": target.info.release},
    }


def _test(
    report: RunReport, ident: str, target: RunTarget, result: Result, absent: dict[str, str]
) -> dict[str, Any]:
    status = _STATUS.get(result.verdict, "FAIL")
    misc: dict[str, Any] = {
        "verdict": result.verdict.value,
        "profile": result.profile,
        "compared": result.compared,
        "not_compared": {name: absent.get(name, "") for name in result.not_compared},
        "run": report.run.id,
        "short_id": result.short_id,
    }
    if result.reason:
        misc["reason"] = one_line(result.reason)
    return {
        "id": f"{ident}/{result.suite}/{result.scenario}",
        "build_id": ident,
        "origin": ORIGIN,
        "path": f"kvm-arm64.{_word(result.suite)}.{_word(result.scenario)}",
        "comment": one_line(result.reason)[:200],
        "environment": {
            "comment": one_line(f"{where_text(target)} {environment_text(target)}".strip()),
        },
        "status": status,
        "start_time": report.run.started,
        "duration": result.micros / 1e6,
        "misc": misc,
    }


def _word(text: str) -> str:
    """A part of a test's path."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text) or "_"
