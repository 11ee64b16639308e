# SPDX-License-Identifier: GPL-2.0-only
"""Prediction x observation -> verdict.

A channel is compared where both sides have it. A channel that only one side has is not compared
and is never a match: ``Judgement.compared`` and ``not_compared`` say which were which.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import astuple

from harness.compare.histogram import CHANNEL, is_block, judge_block
from harness.vocabulary import RunStatus, ScenarioRun, StepDifference, Verdict
from reference_model.describe import value_text
from reference_model.guest_invariants import broken_promises
from reference_model.invariants import violations
from reference_model.outcome import CHANNELS, Observation, Prediction, StepPrediction
from reference_model.profiles import Environment
from reference_model.sameness import Sameness
from reference_model.scenario import Expect, GuestScenario, PgtableScenario, Scenario

_ENDED = {
    RunStatus.CRASH: Verdict.CRASH,
    RunStatus.HANG: Verdict.HANG,
    RunStatus.INFRA: Verdict.INFRA,
    RunStatus.SKIP: Verdict.SKIP,
}

#: Characters of one side in a headline; the diff shows all.
_MAX_WORDS = 70


class Judgement(Struct, frozen=True, kw_only=True):
    """The verdict, why, and on which channels it rests."""

    verdict: Verdict
    reason: str = ""
    differences: tuple[StepDifference, ...] = ()
    compared: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    #: Of the allowed outcomes of parallel blocks: how many were seen, and how many there are.
    outcomes: tuple[int, int] = (0, 0)


def judge(
    scenario: Scenario,
    prediction: Prediction,
    run: ScenarioRun | None,
    profile: str,
    env: Environment | None = None,
) -> Judgement:
    """The verdict on one scenario.

    A pinned expectation is held against the model and against the kernel; with an environment, so
    are the invariants that hold in every profile. ``run`` is None where the prediction is a skip
    and nothing was sent.
    """
    if prediction.skip:
        return Judgement(verdict=Verdict.SKIP, reason=prediction.skip)
    assert run is not None
    if run.status is not RunStatus.DONE:
        return _ended_early(scenario, prediction, run, profile, env)
    if len(run.steps) != len(prediction.steps):
        missing = f"{len(run.steps)} step records of {len(prediction.steps)} arrived"
        return Judgement(verdict=Verdict.INFRA, reason=missing)
    compared: set[str] = set()
    one_sided: set[str] = set()
    differences: list[StepDifference] = []
    outcomes = (0, 0)
    same = Sameness()
    for index, (allowed, seen) in enumerate(zip(prediction.steps, run.steps, strict=True)):
        if is_block(allowed):
            found = judge_block(index, allowed, seen, compared, one_sided)
            differences += found.differences
            outcomes = (outcomes[0] + found.seen, outcomes[1] + len(allowed.allowed))
        else:
            differences += _step(index, allowed, seen, compared, one_sided, same)
    for pin in scenario.expect:
        if pin.applies(profile):
            differences += _pinned(pin, prediction, run)
    if env is not None:
        differences += _invariants(scenario, run, env, differs=bool(differences))
    channels = tuple(name for name in CHANNELS if name in compared)
    absent = tuple(name for name in CHANNELS if name in one_sided and name not in compared)
    if differences:
        differences.sort(key=lambda difference: difference.step)
        verdict, reason = Verdict.DIVERGE, _headline(differences[0], run)
    elif not channels:
        verdict, reason = Verdict.INFRA, "no channel was read on both sides: nothing was compared"
    else:
        verdict, reason = Verdict.MATCH, ""
    return Judgement(
        verdict=verdict,
        reason=reason,
        differences=tuple(differences),
        compared=channels,
        not_compared=absent,
        outcomes=outcomes,
    )


def _ended_early(
    scenario: Scenario,
    prediction: Prediction,
    run: ScenarioRun,
    profile: str,
    env: Environment | None,
) -> Judgement:
    """By how it ended. Where the kernel complained and went on, what it showed is told too."""
    ended = Judgement(verdict=_ENDED[run.status], reason=run.detail or run.status.value)
    if run.status is not RunStatus.CRASH or len(run.steps) != len(prediction.steps):
        return ended
    done = msgspec.structs.replace(run, status=RunStatus.DONE)
    shown = judge(scenario, prediction, done, profile, env)
    return msgspec.structs.replace(shown, verdict=ended.verdict, reason=ended.reason)


def _step(
    index: int,
    prediction: StepPrediction,
    seen: Observation,
    compared: set[str],
    one_sided: set[str],
    same: Sameness,
) -> list[StepDifference]:
    """Differences to the nearest allowed observation; none if one allowed agrees throughout."""
    if any(same.equal(allowed, seen) for allowed in prediction.allowed):  # the common case, in C
        compared.update(
            name for name, value in zip(CHANNELS, astuple(seen), strict=True) if value is not UNSET
        )
        return []
    nearest: list[StepDifference] | None = None
    for allowed in prediction.allowed:
        found: list[StepDifference] = []
        for channel in CHANNELS:
            expected, observed = getattr(allowed, channel), getattr(seen, channel)
            if expected is UNSET and observed is UNSET:
                continue
            if expected is UNSET or observed is UNSET:
                one_sided.add(channel)
                continue
            compared.add(channel)
            if _differ(channel, expected, observed, same):
                found.append(
                    StepDifference(
                        step=index, channel=channel, expected=expected, observed=observed
                    )
                )
        if not found:
            return []
        if nearest is None or len(found) < len(nearest):
            nearest = found
    return nearest or []


def _differ(channel: str, expected: Any, observed: Any, same: Sameness) -> bool:
    """Whether one channel differs; only in values of open type is a tuple as good as a list."""
    if channel in ("leaves", "annotations"):
        return not same.channel(channel, expected, observed)
    return bool(expected != observed) and _plain(expected) != _plain(observed)


def _invariants(
    scenario: Scenario, run: ScenarioRun, env: Environment, *, differs: bool
) -> list[StepDifference]:
    """Promises that a run broke. A page table that is as predicted breaks none (see its tests)."""
    if isinstance(scenario, GuestScenario):
        return [
            StepDifference(
                step=one.step,
                channel=one.channel,
                expected=one.promised,
                observed=one.seen,
                against="invariant",
            )
            for one in broken_promises(scenario, run.steps, env)
        ]
    if isinstance(scenario, PgtableScenario) and differs:
        return [
            StepDifference(
                step=one.step,
                channel="leaves",
                expected=one.invariant,
                observed=one.text,
                against="invariant",
            )
            for one in violations(scenario, run.steps, env)
        ]
    return []


def _pinned(pin: Expect, prediction: Prediction, run: ScenarioRun) -> list[StepDifference]:
    found: list[StepDifference] = []
    for index, channels in enumerate(pin.steps):
        seen = run.steps[index]
        allowed = prediction.steps[index].allowed
        for channel, wanted in channels.items():
            observed = getattr(seen, channel)
            if observed is not UNSET and not pin_agrees(wanted, _plain(observed)):
                found.append(
                    StepDifference(
                        step=index,
                        channel=channel,
                        expected=wanted,
                        observed=observed,
                        against="pinned",
                    )
                )
            modelled = [getattr(one, channel) for one in allowed]
            if not any(one is UNSET or pin_agrees(wanted, _plain(one)) for one in modelled):
                found.append(
                    StepDifference(
                        step=index,
                        channel=channel,
                        expected=wanted,
                        observed=modelled[0],
                        against="model-pinned",
                    )
                )
    return found


def pin_agrees(wanted: Any, value: Any) -> bool:
    """A pinned mapping names the keys that count; a word stands for ``reason``; else equality."""
    if isinstance(wanted, dict) and isinstance(value, dict):
        return all(key in value and pin_agrees(item, value[key]) for key, item in wanted.items())
    if isinstance(wanted, str) and isinstance(value, dict):
        return bool(value.get("reason", value.get("ec")) == wanted)
    return bool(wanted == value)


def _headline(first: StepDifference, run: ScenarioRun) -> str:
    histogram = run.steps[first.step].histogram
    if first.channel == CHANNEL and histogram is not UNSET:
        times, outcome = first.observed
        total = sum(count for count, _ in histogram)
        return (
            f"step {first.step}: an outcome that is not allowed, in {times} of {total} repeats: "
            + _short(CHANNEL, outcome)
        )
    side = {"model": "model", "pinned": "pinned", "model-pinned": "pinned"}.get(
        first.against, first.against
    )
    other = "model" if first.against == "model-pinned" else "kernel"
    return (
        f"step {first.step} {first.channel}: "
        f"{side} {_short(first.channel, first.expected)}, "
        f"{other} {_short(first.channel, first.observed)}"
    )


def _short(channel: str, value: Any) -> str:
    text = value_text(channel, value)
    return text if len(text) <= _MAX_WORDS else text[: _MAX_WORDS - 1] + "…"


def _plain(value: Any) -> Any:
    """Tuples as lists, throughout: what JSON and YAML would give."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
