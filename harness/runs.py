# SPDX-License-Identifier: GPL-2.0-only
"""Runs as words: which run it was, the targets as it met them, and its results in plain facts.

``cli`` makes them, ``store`` keeps them, ``report`` shows them; what goes to a target, and what
is found there, is in :mod:`harness.vocabulary`. Nothing here does I/O.
"""

from __future__ import annotations

from msgspec import Struct

from harness.vocabulary import Finding, TargetInfo, Verdict


class RunInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One invocation of ``harness run``: enough to run it again.

    ``profile``, ``env`` and ``timeout`` are as the command line gave them; ``expected`` is the
    number of results there are when all is judged, 0 where that is not known.
    """

    id: str
    started: str
    command: tuple[str, ...]
    seed: int | None
    version: str
    profile: str | None = None
    env: tuple[str, ...] = ()
    timeout: float = 10.0
    expected: int = 0


class RunTarget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A target as one run met it.

    ``env`` are the facts it was judged under (the probe's, and ``--env`` over them);
    ``transitions`` is (reached, all) of the page-table model's transitions, None where no such
    scenario ran there.
    """

    info: TargetInfo
    profile: str = ""
    note: str = ""
    env: dict[str, str] = {}
    transitions: tuple[int, int] | None = None


class Result(Struct, frozen=True, kw_only=True):
    """A finding without its evidence: what a summary, a list and a history need.

    ``steps`` were observed, and took ``micros`` inside the selftest; ``digest`` names the content
    of the scenario, so that two runs of one id can be told to be of one input.
    """

    run: str
    short_id: str
    scenario: str
    suite: str
    target: str
    release: str
    profile: str
    verdict: Verdict
    reason: str
    step: int | None
    compared: tuple[str, ...]
    not_compared: tuple[str, ...]
    steps: int
    micros: int
    digest: str
    known: str = ""


def result_of(finding: Finding, *, run: str = "", digest: str = "") -> Result:
    """The plain facts of a finding; a summary needs neither the run nor the scenario's digest."""
    ran = finding.run
    return Result(
        run=run,
        short_id=finding.short_id,
        scenario=finding.scenario.id,
        suite=finding.scenario.suite,
        target=finding.target.name,
        release=finding.target.release,
        profile=finding.profile,
        verdict=finding.verdict,
        reason=finding.reason,
        step=finding.step,
        compared=finding.compared,
        not_compared=finding.not_compared,
        steps=len(ran.steps) if ran is not None and finding.compared else 0,
        micros=ran.micros if ran is not None else 0,
        digest=digest,
        known=finding.known,
    )
