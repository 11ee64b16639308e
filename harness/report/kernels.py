# SPDX-License-Identifier: GPL-2.0-only
"""One scenario on two kernels, step by step: what each did where they differ, and whether the
model of each says so."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.diff import (
    Line,
    difference_lines,
    explanation_lines,
    leaves_before,
    reads_outputs,
    shown_steps,
)
from harness.vocabulary import Finding, KernelPair, StepDifference

_INDENT = " " * 7


def kernel_pair_lines(pair: KernelPair, *, every_step: bool = False) -> list[Line]:
    """The pair as lines; without ``every_step`` only the steps around the first difference."""
    base, other = pair.base, pair.other
    sides = side_names(base, other)
    lines: list[Line] = [("head", base.scenario.id)]
    if base.scenario.title:
        lines.append(("dim", f"  {base.scenario.title}"))
    for mark, side, finding in zip("-+", sides, (base, other), strict=True):
        release = finding.target.release or finding.target.name
        lines.append(("dim", f"  {mark} {side}: {release}, profile {finding.profile}"))
    if pair.reason:
        return [*lines, ("bad", f"not compared: {pair.reason}")]
    first = pair.differences[0].step if pair.differences else None
    for index, text in shown_steps(base, first, every_step=every_step):
        if index is None:
            lines.append(("dim", text))
            continue
        here = [one for one in pair.differences if one.step == index]
        lines.append(("mark" if here else "", f"{'✗' if here else ' '} {text}"))
        if here and index != first and not every_step:
            names = " ".join(dict.fromkeys(one.channel for one in here))
            lines.append(("dim", f"{_INDENT}differs too: {names}"))
            continue
        for one in here:
            before = leaves_before(base, index)
            lines += difference_lines(one, sides, before, outputs=reads_outputs(base))
        if here:
            lines.append(("", f"{_INDENT}model  {_model_says(pair, index, sides)}"))
        if index == first and pair.explanation is not None:
            lines += explanation_lines(pair.explanation)
    return [*lines, _closing(pair)]


def side_names(base: Finding, other: Finding) -> tuple[str, str]:
    """What the two are called: their targets' names, releases where those are one."""
    names = (base.target.name, other.target.name)
    return names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")


def _model_says(pair: KernelPair, step: int, sides: tuple[str, str]) -> str:
    wrong = [
        f"{side} differs from its model ({finding.profile}) on {_channels(finding, step)}"
        for side, finding in zip(sides, (pair.base, pair.other), strict=True)
        if any(one.step == step for one in finding.differences)
    ]
    if wrong:
        return ", ".join(wrong)
    if pair.base.profile == pair.other.profile:
        return f"allows both (profile {pair.base.profile})"
    return f"each does what its profile says ({pair.base.profile}, {pair.other.profile})"


def _channels(finding: Finding, step: int) -> str:
    return " ".join(dict.fromkeys(one.channel for one in finding.differences if one.step == step))


def _closing(pair: KernelPair) -> Line:
    absent = f"   not compared: {' '.join(pair.not_compared)}" if pair.not_compared else ""
    if not pair.differences:
        return "good", f"ALIKE on {' '.join(pair.compared)}{absent}"
    return "bad", f"DIFFER {_headline(pair.differences)}{absent}"


def _headline(differences: Sequence[StepDifference]) -> str:
    steps = sorted({one.step for one in differences})
    channels = " ".join(dict.fromkeys(one.channel for one in differences))
    return f"in {len(steps)} step{'s' if len(steps) > 1 else ''}, first {steps[0]}: {channels}"
