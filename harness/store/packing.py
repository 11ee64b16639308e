# SPDX-License-Identifier: GPL-2.0-only
"""A finding as few bytes, and back, losing nothing.

Three things repeat themselves in a finding: a table of many leaves from one step to the next, a
prediction in what was observed, and both in the list of differences. So a long list is kept as
what differs from the step before; a predicted step that was observed to the letter is kept as
``1``; a difference is kept as the number of the allowed observation that it names. What is then
left is JSON under zlib.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from harness.vocabulary import Finding, ScenarioRun, StepDifference, TargetInfo
from reference_model.outcome import (
    AnnotationRun,
    LeafRun,
    Observation,
    Prediction,
    StepPrediction,
)
from reference_model.sameness import Sameness, common, common_tail
from reference_model.scenario import Scenario

#: Forms of a record: a Finding as JSON, and the form of this module; both under zlib.
PLAIN, PACKED = 1, 2
#: Bytes of a record, before zlib, beyond which its steps are not kept.
MAX_RECORD = 64 << 20
#: Shorter lists are cheaper in full.
_SHORT = 8

_Item = TypeVar("_Item")
#: The first ``head`` and the last ``tail`` items of the step before stand, with these between.
Delta: TypeAlias = tuple[int, int, tuple[_Item, ...]]


class _Step(Struct, frozen=True, array_like=True, omit_defaults=True):
    """An observation, with long lists as the difference to the step before."""

    seen: Observation
    leaves: Delta[LeafRun] | None = None
    annotations: Delta[AnnotationRun] | None = None


class _Run(Struct, frozen=True, array_like=True):
    """A run; its steps beside it."""

    bare: ScenarioRun
    steps: tuple[_Step, ...]


class _Prediction(Struct, frozen=True, omit_defaults=True):
    profile: str
    #: 1: what was observed is all that was allowed.
    steps: tuple[int | tuple[_Step, ...], ...] = ()
    skip: str = ""


class _Difference(Struct, frozen=True, omit_defaults=True):
    step: int
    channel: str
    against: str = "model"
    #: The allowed observation that holds the expected value; -1: the value stands here.
    allowed: int = -1
    expected: Any = None
    #: False: the observed value stands here, not in the step.
    seen: bool = True
    observed: Any = None


class _Record(Struct, frozen=True, omit_defaults=True):
    """A finding; what is large of it, beside it."""

    bare: Finding
    prediction: _Prediction | None = None
    run: _Run | None = None
    differences: tuple[_Difference, ...] = ()
    again: tuple[_Run, ...] = ()


_NOWHERE = TargetInfo(name="", kind="", release="")
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(_Record)


def squeeze(data: bytes) -> bytes:
    """A record as the database keeps it: zlib, the quickest level; :func:`unpack` reads it."""
    return zlib.compress(data, 1)


def digest(scenario: Scenario) -> str:
    """Sixteen hex digits that name the content of a scenario."""
    return hashlib.sha256(_encode(scenario)).hexdigest()[:16]


def pack(finding: Finding, *, limit: int = MAX_RECORD) -> bytes:
    """The record of a finding; its target is kept apart.

    Beyond ``limit`` bytes the steps of prediction and runs are left out, and ``dropped`` says so.
    """
    data = _encode(_record(finding))
    if len(data) > limit:
        data = _encode(_record(_without_steps(finding, len(data))))
    return squeeze(data)


def unpack(form: int, record: bytes, target: TargetInfo) -> Finding:
    """The finding of a record; ValueError where it cannot be read."""
    try:
        data = zlib.decompress(record)
        if form == PLAIN:
            return msgspec.json.decode(data, type=Finding)
        if form != PACKED:
            raise ValueError(f"a record of form {form}")
        return _finding(_decoder.decode(data), target)
    except (zlib.error, msgspec.DecodeError, IndexError) as error:
        raise ValueError(str(error)) from error


def _without_steps(finding: Finding, size: int) -> Finding:
    count = len(finding.run.steps) if finding.run is not None else 0
    bare = [msgspec.structs.replace(run, steps=()) for run in finding.again]
    prediction = finding.prediction
    return msgspec.structs.replace(
        finding,
        prediction=msgspec.structs.replace(prediction, steps=()) if prediction else None,
        run=msgspec.structs.replace(finding.run, steps=()) if finding.run else None,
        again=tuple(bare),
        differences=finding.differences[:1],
        dropped=f"what {count} steps showed is not kept: {size >> 20} MiB",
    )


def _record(finding: Finding) -> _Record:
    seen = finding.run.steps if finding.run is not None else ()
    return _Record(
        bare=msgspec.structs.replace(
            finding, target=_NOWHERE, prediction=None, run=None, differences=(), again=()
        ),
        prediction=_packed_prediction(finding.prediction, seen),
        run=_packed_run(finding.run) if finding.run is not None else None,
        differences=tuple(_packed_difference(one, finding) for one in finding.differences),
        again=tuple(map(_packed_run, finding.again)),
    )


def _finding(record: _Record, target: TargetInfo) -> Finding:
    run = _run(record.run) if record.run is not None else None
    prediction = _prediction(record.prediction, run, record.bare.scenario.id)
    return msgspec.structs.replace(
        record.bare,
        target=target,
        prediction=prediction,
        run=run,
        differences=tuple(_difference(one, prediction, run) for one in record.differences),
        again=tuple(map(_run, record.again)),
    )


# --- runs and predictions ----------------------------------------------------------------------


def _packed_run(run: ScenarioRun) -> _Run:
    return _Run(msgspec.structs.replace(run, steps=()), _packed_steps(run.steps))


def _run(packed: _Run) -> ScenarioRun:
    return msgspec.structs.replace(packed.bare, steps=_steps(packed.steps))


def _packed_prediction(
    prediction: Prediction | None, seen: Sequence[Observation]
) -> _Prediction | None:
    """Each step against the one observed before it: the nearest that is known when reading."""
    if prediction is None:
        return None
    steps: list[int | tuple[_Step, ...]] = []
    same = Sameness()
    for index, step in enumerate(prediction.steps):
        only = step.allowed[0] if len(step.allowed) == 1 and index < len(seen) else None
        if only is not None and same.equal(only, seen[index]):
            steps.append(1)
            continue
        before = _before(prediction, seen, index)
        steps.append(tuple(_packed_step(one, before) for one in step.allowed))
    return _Prediction(prediction.profile, tuple(steps), prediction.skip)


def _prediction(
    packed: _Prediction | None, run: ScenarioRun | None, ident: str
) -> Prediction | None:
    if packed is None:
        return None
    seen = run.steps if run is not None else ()
    steps: list[StepPrediction] = []
    out = Prediction(id=ident, profile=packed.profile, skip=packed.skip)
    for index, step in enumerate(packed.steps):
        if isinstance(step, int):
            steps.append(StepPrediction((seen[index],)))
            continue
        before = seen[index - 1] if 0 < index <= len(seen) else None
        if before is None and index:
            before = steps[index - 1].allowed[0]
        steps.append(StepPrediction(tuple(_step(one, before) for one in step)))
    return msgspec.structs.replace(out, steps=tuple(steps))


def _before(prediction: Prediction, seen: Sequence[Observation], index: int) -> Observation | None:
    if not index:
        return None
    return seen[index - 1] if index <= len(seen) else prediction.steps[index - 1].allowed[0]


def _packed_difference(one: StepDifference, finding: Finding) -> _Difference:
    allowed, prediction, run = -1, finding.prediction, finding.run
    if one.against == "model" and prediction is not None and one.step < len(prediction.steps):
        for number, choice in enumerate(prediction.steps[one.step].allowed):
            if getattr(choice, one.channel, UNSET) is one.expected:
                allowed = number
                break
    seen = (
        run is not None
        and one.step < len(run.steps)
        and getattr(run.steps[one.step], one.channel, UNSET) is one.observed
    )
    return _Difference(
        step=one.step,
        channel=one.channel,
        against=one.against,
        allowed=allowed,
        expected=one.expected if allowed < 0 else None,
        seen=seen,
        observed=None if seen else one.observed,
    )


def _difference(
    one: _Difference, prediction: Prediction | None, run: ScenarioRun | None
) -> StepDifference:
    expected, observed = one.expected, one.observed
    if one.allowed >= 0 and prediction is not None:
        expected = getattr(prediction.steps[one.step].allowed[one.allowed], one.channel)
    if one.seen and run is not None:
        observed = getattr(run.steps[one.step], one.channel)
    return StepDifference(
        step=one.step,
        channel=one.channel,
        expected=expected,
        observed=observed,
        against=one.against,
    )


# --- steps -------------------------------------------------------------------------------------


def _packed_steps(steps: Iterable[Observation]) -> tuple[_Step, ...]:
    out: list[_Step] = []
    before: Observation | None = None
    for step in steps:
        out.append(_packed_step(step, before))
        before = step
    return tuple(out)


def _steps(packed: Iterable[_Step]) -> tuple[Observation, ...]:
    out: list[Observation] = []
    for step in packed:
        out.append(_step(step, out[-1] if out else None))
    return tuple(out)


def _packed_step(seen: Observation, before: Observation | None) -> _Step:
    leaves = _delta(seen.leaves, before.leaves if before is not None else UNSET)
    annotations = _delta(seen.annotations, before.annotations if before is not None else UNSET)
    if leaves is not None:
        seen = msgspec.structs.replace(seen, leaves=UNSET)
    if annotations is not None:
        seen = msgspec.structs.replace(seen, annotations=UNSET)
    return _Step(seen, leaves, annotations)


def _step(packed: _Step, before: Observation | None) -> Observation:
    seen = packed.seen
    if packed.leaves is not None:
        known = before.leaves if before is not None else UNSET
        seen = msgspec.structs.replace(seen, leaves=_whole(packed.leaves, known))
    if packed.annotations is not None:
        owners = before.annotations if before is not None else UNSET
        seen = msgspec.structs.replace(seen, annotations=_whole(packed.annotations, owners))
    return seen


def _delta(
    items: tuple[_Item, ...] | UnsetType, before: tuple[_Item, ...] | UnsetType
) -> Delta[_Item] | None:
    """None where the list in full is as good."""
    if items is UNSET or before is UNSET or len(items) <= _SHORT:
        return None
    most = min(len(items), len(before))
    head = common(items, before, most)
    tail = common_tail(items, before, most - head)
    return head, tail, items[head : len(items) - tail]


def _whole(delta: Delta[_Item], before: tuple[_Item, ...] | UnsetType) -> tuple[_Item, ...]:
    known = () if before is UNSET else before
    head, tail, items = delta
    return (*known[:head], *items, *known[len(known) - tail :])
