# SPDX-License-Identifier: GPL-2.0-only
"""One scenario on two kernels: kernel against kernel, with what the model says of each.

Numbers that only a kernel's headers give a meaning (``enum kvm_pgtable_prot`` in the ``maps``
channel) are translated first: a renumbered enum is no difference of what the kernels do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from harness.compare.explain import explain
from harness.vocabulary import Finding, KernelPair, RunStatus, ScenarioRun, StepDifference
from reference_model.fault_knobs import ProtBits
from reference_model.outcome import CHANNELS, Observation
from reference_model.profiles import PROFILES, Environment


def pair(base: Finding, other: Finding) -> KernelPair:
    """The two kernels' observations, held against each other; both findings of one scenario."""
    reason = _unusable(base) or _unusable(other)
    if reason:
        return KernelPair(base=base, other=other, reason=reason)
    assert base.run is not None
    assert other.run is not None
    translated = _translated(other.run, other.profile, base.profile)
    compared: set[str] = set()
    one_sided: set[str] = set()
    differences: list[StepDifference] = []
    for index, (left, right) in enumerate(zip(base.run.steps, translated.steps, strict=True)):
        for channel in CHANNELS:
            mine, theirs = getattr(left, channel), getattr(right, channel)
            if mine is UNSET and theirs is UNSET:
                continue
            if mine is UNSET or theirs is UNSET:
                one_sided.add(channel)
                continue
            compared.add(channel)
            if _plain(mine) != _plain(theirs):
                differences.append(
                    StepDifference(
                        step=index,
                        channel=channel,
                        expected=mine,
                        observed=theirs,
                        against="kernel",
                    )
                )
    made = KernelPair(
        base=base,
        other=other,
        differences=tuple(differences),
        compared=tuple(name for name in CHANNELS if name in compared),
        not_compared=tuple(name for name in CHANNELS if name in one_sided - compared),
        reason="" if compared else "no channel was read on both kernels: nothing was compared",
    )
    if not differences or base.profile not in PROFILES:
        return made
    explanation = explain(
        base.scenario,
        translated,
        PROFILES[base.profile],
        Environment.parse((base.target.env | base.env).items()),
        differences,
        kernel=other.profile,
    )
    return msgspec.structs.replace(made, explanation=explanation)


def _unusable(finding: Finding) -> str:
    """Why there is nothing to compare on this side, or ""."""
    who = finding.target.name
    if finding.run is None:
        return f"{who}: {finding.verdict.value} {finding.reason}"
    if finding.run.status is not RunStatus.DONE:
        return f"{who}: {finding.run.status.value} {finding.run.detail}"
    if len(finding.run.steps) != len(finding.scenario.steps):
        return f"{who}: {len(finding.run.steps)} step records of {len(finding.scenario.steps)}"
    return ""


def _translated(run: ScenarioRun, source: str, target: str) -> ScenarioRun:
    """The run with its raw permissions written in the other profile's numbers."""
    if source == target or source not in PROFILES or target not in PROFILES:
        return run
    old, new = PROFILES[source].fault.prot, PROFILES[target].fault.prot
    return msgspec.structs.replace(run, steps=tuple(_step(step, old, new) for step in run.steps))


def _step(step: Observation, old: ProtBits, new: ProtBits) -> Observation:
    if step.maps is UNSET or old == new:
        return step
    calls = tuple((*call[:-2], _prot(call[-2], old, new), call[-1]) for call in step.maps)
    return msgspec.structs.replace(step, maps=calls)


def _prot(raw: int, old: ProtBits, new: ProtBits) -> int:
    """Permissions in the new numbers; other bits as they are."""
    known = old.r | old.w | old.x
    out = raw & ~known
    for mine, theirs in ((old.r, new.r), (old.w, new.w), (old.x, new.x)):
        if raw & mine == mine:
            out |= theirs
    return out


def _plain(value: Any) -> Any:
    """Tuples as lists, throughout: values from a record and from a database are alike."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
