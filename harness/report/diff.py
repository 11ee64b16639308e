# SPDX-License-Identifier: GPL-2.0-only
"""One finding, model beside kernel, step by step, in the manner of ``git diff``.

Lines carry a style name (``rich`` markup is applied by the caller, and only on a terminal).
"""

from __future__ import annotations

from msgspec import UNSET

from harness.report.leaves import leaf_lines
from harness.vocabulary import Finding, StepDifference, Verdict
from reference_model.describe import describe, value_text
from reference_model.outcome import Observation

#: (style, text); style is "" or a name of ``STYLES``.
Line = tuple[str, str]
STYLES = {"bad": "red", "good": "green", "head": "bold", "dim": "dim", "mark": "bold red"}
_CONTEXT = 3
_SIDES = {
    "model": ("model", "kernel"),
    "pinned": ("pinned", "kernel"),
    "model-pinned": ("pinned", "model"),
}


def diff_lines(finding: Finding, *, every_step: bool = False) -> list[Line]:
    """The finding as lines: head, steps with what they returned, differences under their step.

    Without ``every_step`` only the steps around the first differing one are shown.
    """
    target = finding.target
    head = f"{finding.scenario.id}   {target.release or target.name}, profile {finding.profile}"
    lines: list[Line] = [("head", head)]
    if finding.scenario.title:
        lines.append(("dim", f"  {finding.scenario.title}"))
    steps = finding.scenario.steps
    first = finding.differences[0].step if finding.differences else None
    if finding.run is not None and finding.verdict in (Verdict.CRASH, Verdict.HANG):
        first = finding.run.step
    width = len(str(len(steps) - 1))
    for index, op in enumerate(steps):
        if not every_step and first is not None and abs(index - first) > _CONTEXT:
            if index == first - _CONTEXT - 1:
                lines.append(("dim", f"  … {index + 1} steps before"))
            elif index == first + _CONTEXT + 1:
                lines.append(("dim", f"  … {len(steps) - index} steps after"))
            continue
        here = [difference for difference in finding.differences if difference.step == index]
        mark = "✗" if here or (first == index and not finding.differences) else " "
        text = f"{mark} {index:>{width}}  {describe(op)}"
        seen = _seen(finding, index)
        lines.append(("mark" if mark == "✗" else "", f"{text:<64}  {seen}".rstrip()))
        for difference in here:
            lines += _difference(difference)
    if finding.run is not None:
        lines += [("dim", f"    {line}") for line in finding.run.log[:40]]
    verdict = finding.verdict.value
    lines.append(("bad" if finding.verdict.is_finding else "dim", f"{verdict} {finding.reason}"))
    return lines


def _seen(finding: Finding, index: int) -> str:
    """What the kernel showed of a step, in a few words."""
    if finding.run is None or index >= len(finding.run.steps):
        return ""
    return brief(finding.run.steps[index])


def brief(seen: Observation) -> str:
    """An observation in a few words: ``ret 0 data 0x11 faults 1``; nulls are left out."""
    words = []
    for channel in ("ret", "exit", "injected", "data", "dirty", "faults"):
        value = getattr(seen, channel)
        if value is UNSET or value is None:
            continue
        if channel == "faults" and value == 0:
            continue
        words.append(f"{channel} {value_text(channel, value)}")
    if seen.leaves is not UNSET:
        words.append(f"{sum(run[7] for run in seen.leaves)} leaves")
    return " ".join(words)


def _difference(difference: StepDifference) -> list[Line]:
    left, right = _SIDES[difference.against]
    width = max(len(left), len(right))
    if difference.channel == "leaves":
        pictures = leaf_lines(difference.expected, difference.observed)
        if pictures is not None:
            expected, observed = pictures
            return [
                ("good", f"       leaves  {left:<{width}}  {expected}"),
                ("bad", f"               {right:<{width}}  {observed}"),
            ]
    name = difference.channel
    pad = " " * len(name)
    return [
        ("good", f"       {name}  {left:<{width}}  {value_text(name, difference.expected)}"),
        ("bad", f"       {pad}  {right:<{width}}  {value_text(name, difference.observed)}"),
    ]
