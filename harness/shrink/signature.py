# SPDX-License-Identifier: GPL-2.0-only
"""What makes two findings the same: not that they differ, but how they first do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from harness.vocabulary import Finding, StepDifference, UsageError, Verdict
from reference_model.outcome import CHANNELS
from reference_model.scenario import Scenario

_LEAF_FIELDS = ("size", "output", "prot", "sw", "af", "attr")
_MOST_LEAVES = 1 << 14
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,}\b|\d+")


class Signature(Struct, frozen=True, kw_only=True):
    """How a finding first shows: verdict, operation, channel, and what differs on it.

    ``details``: for ``ret`` both values; for ``leaves`` which of missing, extra and the fields of
    a leaf; for a CRASH its headline without numbers. A candidate may show some of them, and shows
    no other.
    """

    verdict: str
    op: str
    channel: str = ""
    details: frozenset[str] = frozenset()

    def covers(self, other: Signature | None) -> bool:
        """The other is the same finding, or a part of it."""
        return (
            other is not None
            and (self.verdict, self.op, self.channel) == (other.verdict, other.op, other.channel)
            and other.details <= self.details
        )

    def words(self) -> str:
        """``map, leaves: missing`` as a note shows it."""
        details = f": {', '.join(sorted(self.details))}" if self.details else ""
        return f"{self.verdict} in {self.op or 'some step'}, {self.channel or 'log'}{details}"


def signature_of(finding: Finding) -> Signature | None:
    """The signature of a finding; None of one that shows nothing (MATCH, SKIP, INFRA)."""
    if finding.died is not None:
        return Signature(
            verdict=finding.died.value,
            op=_op(finding.scenario, finding.step),
            details=frozenset({headline(_crashed_with(finding))})
            if finding.died is Verdict.CRASH
            else frozenset(),
        )
    against_model = [one for one in finding.differences if one.against == "model"]
    if not against_model or finding.verdict in (Verdict.SKIP, Verdict.INFRA):
        return None
    return of_differences(finding.scenario, against_model)


def of_differences(scenario: Scenario, differences: Sequence[StepDifference]) -> Signature:
    """The signature of differences in their order; UsageError where there is none."""
    if not differences:
        raise UsageError("nothing differs, so that there is nothing to make smaller")
    step = min(one.step for one in differences)
    here = {one.channel: one for one in differences if one.step == step}
    channel = next(name for name in CHANNELS if name in here)
    return Signature(
        verdict=Verdict.DIVERGE.value,
        op=_op(scenario, step),
        channel=channel,
        details=_details(here[channel]),
    )


def _crashed_with(finding: Finding) -> str:
    """The kernel's own words; the reason of a KNOWN one begins with its title."""
    return finding.run.detail if finding.known and finding.run is not None else finding.reason


def headline(reason: str) -> str:
    """A crash's reason without what differs from one time to the next."""
    return _NUMBERS.sub("N", reason.partition(" (")[0])


def _op(scenario: Scenario, step: int | None) -> str:
    if step is None or step >= len(scenario.steps):
        return ""
    return str(getattr(scenario.steps[step], "name", type(scenario.steps[step]).__name__))


def _details(difference: StepDifference) -> frozenset[str]:
    expected, observed = difference.expected, difference.observed
    if difference.channel == "ret" and isinstance(expected, int) and isinstance(observed, int):
        return frozenset({f"{_sign(expected)} for {_sign(observed)}"})
    if difference.channel == "leaves":
        left, right = _leaves(expected), _leaves(observed)
        kinds = {"missing" for ipa in left if ipa not in right}
        kinds |= {"extra" for ipa in right if ipa not in left}
        for ipa in left.keys() & right.keys():
            pairs = zip(_LEAF_FIELDS, left[ipa], right[ipa], strict=True)
            kinds |= {name for name, mine, theirs in pairs if mine != theirs}
        return frozenset(kinds)
    if isinstance(expected, Mapping) and isinstance(observed, Mapping):
        return frozenset(
            str(key) for key in expected.keys() | observed.keys()
            if expected.get(key) != observed.get(key)
        )  # fmt: skip
    return frozenset()


def _sign(value: int) -> str:
    """An errno by its number; what is none as one word, so that a count may shrink."""
    return str(value) if value <= 0 else "a count"


def _leaves(runs: Any) -> dict[int, tuple[Any, ...]]:
    out: dict[int, tuple[Any, ...]] = {}
    for ipa, size, pa, prot, sw, af, attr, count in runs:
        for index in range(min(count, _MOST_LEAVES)):
            out[ipa + index * size] = (size, pa + index * size, prot, sw, af, attr)
    return out
