# SPDX-License-Identifier: GPL-2.0-only
"""Why model and kernel differ, as far as the model can tell: which knob explains it.

The model is asked again, each time with one knob of the profile set to the value that another
profile has. A value with which it says what the kernel did explains the difference; a knob that
changes what it says at the differing step is why it said what it said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from harness.compare.judge import judge
from harness.vocabulary import (
    Explanation,
    Finding,
    KnobFlip,
    KnobReason,
    RunStatus,
    ScenarioRun,
    StepDifference,
)
from reference_model import predict
from reference_model.fault_sources import FAULT_KNOB_SOURCES
from reference_model.guest_machine import UnpredictableError
from reference_model.outcome import Prediction
from reference_model.profiles import (
    PROFILES,
    Environment,
    SemanticsProfile,
    profile_for_release,
)
from reference_model.scenario import Scenario
from reference_model.stage2_sources import KNOB_SOURCES

_SECTIONS = ("stage2", "fault")
#: Steps up to which a scenario is predicted again for each knob.
_MAX_STEPS = 2_000


class Variant(Struct, frozen=True, kw_only=True):
    """A profile with one knob set to the value it has in other profiles."""

    knob: str
    value: Any
    profiles: tuple[str, ...]
    profile: SemanticsProfile


def variants(profile: SemanticsProfile) -> Iterator[Variant]:
    """Every single knob set to every value that another profile has for it."""
    for section in _SECTIONS:
        own = getattr(profile, section)
        for knob in own.__struct_fields__:
            values: dict[Any, list[str]] = {}
            for other in PROFILES.values():
                value = getattr(getattr(other, section), knob)
                if value != getattr(own, knob):
                    values.setdefault(value, []).append(other.name)
            for value, names in values.items():
                changed = msgspec.structs.replace(own, **{knob: value})
                yield Variant(
                    knob=knob,
                    value=value,
                    profiles=tuple(names),
                    profile=msgspec.structs.replace(profile, **{section: changed}),
                )


def explain_finding(finding: Finding) -> Explanation | None:
    """The explanation of a DIVERGE; None where there is no difference from the model.

    A finding that the model would predict otherwise today gets a note in place of it.
    """
    against_model = [one for one in finding.differences if one.against != "model-pinned"]
    if finding.run is None or not against_model or finding.profile not in PROFILES:
        return None
    env = Environment.parse((finding.target.env | finding.env).items())
    profile = PROFILES[finding.profile]
    if finding.prediction is not None and finding.prediction.steps:
        again = _predict(finding.scenario, profile, env)
        if msgspec.json.encode(again.steps) != msgspec.json.encode(finding.prediction.steps):
            return Explanation(
                step=against_model[0].step,
                profile=profile.name,
                note="the model says otherwise now; run it again: harness replay "
                + finding.short_id,
            )
    return explain(
        finding.scenario, finding.run, profile, env, against_model, kernel=_own_profile(finding)
    )


def _own_profile(finding: Finding) -> str:
    """The profile that the kernel would be judged by unless told otherwise; "" if none is."""
    try:
        return profile_for_release(finding.target.release).profile.name
    except ValueError:
        return ""


def explain(
    scenario: Scenario,
    run: ScenarioRun,
    profile: SemanticsProfile,
    env: Environment,
    differences: Sequence[StepDifference],
    kernel: str = "",
) -> Explanation:
    """Which knobs bear on the first of ``differences``, and which explain it.

    ``run`` holds an observation for each step of ``scenario``; pins are left out of account. What
    the profile ``kernel`` has is named first.
    """
    first = differences[0].step
    if first > _MAX_STEPS:
        return Explanation(
            step=first,
            profile=profile.name,
            note=f"not explained: it is behind step {_MAX_STEPS}; harness shrink makes it smaller",
        )
    channels = tuple(one.channel for one in differences if one.step == first)
    scenario = msgspec.structs.replace(scenario, expect=())
    head, head_run = _head(scenario, run, first)
    said = _at(_predict(head, profile, env), first, channels)
    because: list[KnobReason] = []
    flips: list[KnobFlip] = []
    whole_too = len(scenario.steps) <= _MAX_STEPS
    for variant in variants(profile):
        prediction = _predict(head, variant.profile, env)
        says = _at(prediction, first, channels)
        if says == said or any(UNSET in one for one in says) or not says:
            continue
        reason = _reason(variant.knob, profile)
        if reason not in because:
            because.append(reason)
        if not _agrees(head, prediction, head_run, channels):
            continue
        whole = whole_too and _agrees(
            scenario, _predict(scenario, variant.profile, env), run, channels
        )
        names = tuple(sorted(variant.profiles, key=lambda name: name != kernel))
        flips.append(
            KnobFlip(
                knob=variant.knob,
                value=knob_text(variant.value),
                profiles=names,
                source=_source(variant.knob, names[0]),
                whole=whole,
            )
        )
    flips.sort(key=lambda flip: (not flip.whole, kernel not in flip.profiles))
    profiles = tuple(
        other.name
        for other in PROFILES.values()
        if whole_too
        and other.name != profile.name
        and _agrees(scenario, _predict(scenario, other, env), run, channels)
    )
    note = ""
    if not because:
        note = "no knob bears on it: every profile says the same of this step"
    elif not flips and not profiles:
        note = "no single knob and no other profile explains it"
    return Explanation(
        step=first,
        profile=profile.name,
        because=tuple(because),
        flips=tuple(flips),
        profiles=profiles,
        note=note,
    )


def knob_text(value: Any) -> str:
    """A knob's value in a few words: ``stop``, ``yes``, ``shared handle_fault``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, Struct):
        return " ".join(f"{name}={getattr(value, name)}" for name in value.__struct_fields__)
    return str(value)


def _head(scenario: Scenario, run: ScenarioRun, last: int) -> tuple[Scenario, ScenarioRun]:
    """Both cut behind step ``last``."""
    return (
        msgspec.structs.replace(scenario, steps=scenario.steps[: last + 1]),
        msgspec.structs.replace(run, steps=run.steps[: last + 1], status=RunStatus.DONE),
    )


def _predict(scenario: Scenario, profile: SemanticsProfile, env: Environment) -> Prediction:
    try:
        return predict(scenario, profile, env)
    except UnpredictableError as error:
        return Prediction(id=scenario.id, profile=profile.name, skip=str(error))


def _at(prediction: Prediction, step: int, channels: Sequence[str]) -> list[list[Any]]:
    """What is allowed on these channels of one step."""
    if prediction.skip:
        return []
    allowed = prediction.steps[step].allowed
    return [[getattr(one, channel) for channel in channels] for one in allowed]


def _agrees(
    scenario: Scenario, prediction: Prediction, run: ScenarioRun, channels: Sequence[str]
) -> bool:
    """The prediction says what the kernel did, also on the channels that differed."""
    if prediction.skip or len(run.steps) != len(prediction.steps):
        return False
    judgement = judge(scenario, prediction, run, prediction.profile)
    return not judgement.differences and set(channels) <= set(judgement.compared)


def _reason(knob: str, profile: SemanticsProfile) -> KnobReason:
    section = profile.stage2 if knob in profile.stage2.__struct_fields__ else profile.fault
    doc = KNOB_SOURCES.get(knob) or FAULT_KNOB_SOURCES.get(knob)
    return KnobReason(
        knob=knob,
        value=knob_text(getattr(section, knob)),
        what=doc.what if doc else "",
        source=_source(knob, profile.name),
    )


def _source(knob: str, profile: str) -> str:
    doc = KNOB_SOURCES.get(knob) or FAULT_KNOB_SOURCES.get(knob)
    return doc.sources.get(profile, "") if doc else ""
