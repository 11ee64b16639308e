# SPDX-License-Identifier: GPL-2.0-only
"""Runs to report, with names and logs that mean harm."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.report import RunReport
from harness.runs import RunInfo, RunTarget, result_of
from harness.vocabulary import Finding, RunStatus, ScenarioRun, Verdict
from tests.store.samples import P61, P612, TARGET, crashed, judged, scenarios

NASTY = "</pre><script>alert('x')</script> ]]> & \x1b[2J\x00\x07 # not ok 9 ¶ \ufffe \U0001f427"
PGTABLE = scenarios("pgtable", 30, profile=P61)
GUEST = scenarios("guest", 4)
INFO = RunInfo(
    id="2026-01-01-1",
    started="2026-01-01T10:00:00+00:00",
    command=("harness", "run", NASTY),
    seed=1,
    version="0.1.0",
)


def report_of(findings: Sequence[Finding], **more: object) -> RunReport:
    targets = {finding.target.name: finding for finding in findings}
    return RunReport(
        run=INFO,
        state="done",
        ended=INFO.started,
        targets=tuple(
            RunTarget(info=one.target, profile=one.profile, env={"granule": "4K", "mode": "vhe"})
            for one in targets.values()
        ),
        results=[result_of(finding, run=INFO.id) for finding in findings],
        findings=lambda: [
            one for one in findings if one.verdict not in (Verdict.MATCH, Verdict.SKIP)
        ],
        **more,  # type: ignore[arg-type]
    )


def every_verdict() -> list[Finding]:
    """One of each verdict on one target, a crash on another with a name that means harm."""
    bad = [judged(scenario, kernel=P61, model=P612) for scenario in PGTABLE[1:20]]
    diverge = next(
        one
        for one in bad
        if one.verdict is Verdict.DIVERGE
        and "leaves" in {d.channel for d in one.differences if d.step == one.differences[0].step}
    )
    change = msgspec.structs.replace
    scenario = change(GUEST[2], title=NASTY)
    infra = ScenarioRun(id=GUEST[3].id, status=RunStatus.INFRA, detail=NASTY)
    assert diverge.run is not None
    return [
        change(judged(GUEST[0]), not_compared=("tlbi",)),
        diverge,
        change(
            diverge,
            scenario=change(PGTABLE[20]),
            verdict=Verdict.KNOWN,
            known="an old story",
            reason=f"an old story: {diverge.reason}",
            short_id="aaaaa1",
        ),
        change(
            diverge,
            scenario=change(PGTABLE[21]),
            verdict=Verdict.FLAKY,
            again=(diverge.run,),
            short_id="aaaaa2",
        ),
        change(
            judged(PGTABLE[22]),
            verdict=Verdict.SKIP,
            reason=f"no such thing {NASTY}",
            run=None,
            compared=(),
        ),
        change(crashed(GUEST[1], NASTY), verdict=Verdict.HANG, reason="no step within 10 s"),
        change(judged(GUEST[3]), verdict=Verdict.INFRA, reason=NASTY, run=infra, compared=()),
        change(
            crashed(scenario, "BUG: " + NASTY, NASTY),
            reason=f"kernel BUG {NASTY}",
            target=change(TARGET, name=f"ssh:{NASTY}"),
        ),
    ]
