# SPDX-License-Identifier: GPL-2.0-only
"""One finding, model beside kernel, step by step, in the manner of ``git diff``.

Lines carry a style name (``rich`` markup is applied by the caller, and only on a terminal).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import UNSET

from harness.report.leaves import leaf_pictures
from harness.vocabulary import Explanation, Finding, KnobReason, StepDifference
from reference_model.describe import describe, value_text
from reference_model.outcome import Observation

#: (style, text); style is "" or a name of ``STYLES``.
Line = tuple[str, str]
STYLES = {"bad": "red", "good": "green", "head": "bold", "dim": "dim", "mark": "bold red"}
#: Steps shown on either side of the first that differs.
_CONTEXT = 3
_STEP_WIDTH = 64
_MOST_LOG = 40
_MOST_WHY = 3
_INDENT = " " * 7
_SIDES = {
    "model": ("model", "kernel"),
    "pinned": ("pinned", "kernel"),
    "model-pinned": ("pinned", "model"),
    "invariant": ("promised", "kernel"),
}


def diff_lines(
    finding: Finding, *, every_step: bool = False, explanation: Explanation | None = None
) -> list[Line]:
    """The finding as lines: head, steps with what they returned, differences under their step.

    Without ``every_step`` only the steps around the first differing one are shown, and of those
    that differ after it only the channels are named. ``explanation`` stands under the first.
    """
    target = finding.target
    head = f"{finding.scenario.id}   {target.release or target.name}, profile {finding.profile}"
    lines: list[Line] = [("head", head)]
    if finding.scenario.title:
        lines.append(("dim", f"  {finding.scenario.title}"))
    first = first_bad_step(finding)
    for index, text in shown_steps(finding, first, every_step=every_step):
        if index is None:
            lines.append(("dim", text))
            continue
        here = [difference for difference in finding.differences if difference.step == index]
        bad = bool(here) or (first == index and not finding.differences)
        seen = _seen(finding, index)
        line = f"{'✗' if bad else ' '} {text:<{_STEP_WIDTH - 2}}  {seen}".rstrip()
        lines.append(("mark" if bad else "", line))
        if here and index != first and not every_step:
            names = " ".join(dict.fromkeys(one.channel for one in here))
            lines.append(("dim", f"{_INDENT}differs too: {names}"))
            continue
        for difference in here:
            lines += difference_lines(
                difference,
                _SIDES[difference.against],
                leaves_before(finding, index),
                outputs=reads_outputs(finding),
            )
        if index == first and explanation is not None:
            lines += explanation_lines(explanation)
    if finding.run is not None:
        lines += [("dim", f"    {line}") for line in finding.run.log[:_MOST_LOG]]
    verdict = finding.verdict.value
    lines.append(("bad" if finding.verdict.is_finding else "dim", f"{verdict} {finding.reason}"))
    return lines


def first_bad_step(finding: Finding) -> int | None:
    """The first step that differs, or the one at which the run ended early; None: neither."""
    if finding.differences:
        return min(difference.step for difference in finding.differences)
    return finding.step if finding.died is not None else None


def shown_steps(
    finding: Finding, first: int | None, *, every_step: bool
) -> Iterator[tuple[int | None, str]]:
    """Steps as (number, words); (None, words) for those left out before and after ``first``."""
    steps = finding.scenario.steps
    width = len(str(len(steps) - 1))
    low, high = 0, len(steps)
    if first is not None and not every_step:
        low, high = max(first - _CONTEXT, 0), min(first + _CONTEXT + 1, len(steps))
    if low:
        yield None, f"  … {low} steps before"
    for index in range(low, high):
        yield index, f"{index:>{width}}  {describe(steps[index])}"
    if high < len(steps):
        yield None, f"  … {len(steps) - high} steps after"


def leaves_before(finding: Finding, index: int) -> Any:
    """The leaves that the kernel showed before a step; None where they were not read."""
    if finding.run is None:
        return None
    if index == 0:
        return ()
    if index > len(finding.run.steps):
        return None
    leaves = finding.run.steps[index - 1].leaves
    return None if leaves is UNSET else leaves


def reads_outputs(finding: Finding) -> bool:
    """Whether its leaves say where they lead: those of a private table do."""
    return finding.scenario.suite == "pgtable"


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


def difference_lines(
    difference: StepDifference,
    sides: tuple[str, str],
    before: Any = None,
    *,
    outputs: bool = True,
) -> list[Line]:
    """One channel of one step: a line for each of the two ``sides``, and what differs by name.

    ``before``: the leaves before the step, for a picture of them beside those after it;
    ``outputs``: with the addresses they lead to.
    """
    left, right = sides
    name = difference.channel
    width = max(len(left), len(right), 6)
    pad = " " * len(name)
    if name == "leaves":
        pictures = leaf_pictures(
            difference.expected, difference.observed, before, sides, outputs=outputs
        )
        if pictures is not None:
            lines = [] if len(pictures.lines) < 3 else [
                ("dim", f"{_INDENT}{name}  {'before':<{width}}  {pictures.lines[2]}")
            ]  # fmt: skip
            label = pad if lines else name
            lines.append(("good", f"{_INDENT}{label}  {left:<{width}}  {pictures.lines[0]}"))
            lines.append(("bad", f"{_INDENT}{pad}  {right:<{width}}  {pictures.lines[1]}"))
            lines.append(("mark", f"{_INDENT}{pad}  {' ' * width}  {pictures.marks}"))
            return lines + [("", f"{_INDENT}{pad}  {text}") for text in pictures.named]
    lines = [
        ("good", f"{_INDENT}{name}  {left:<{width}}  {_text(name, difference.expected)}"),
        ("bad", f"{_INDENT}{pad}  {right:<{width}}  {_text(name, difference.observed)}"),
    ]
    named = _named(difference, sides)
    return [*lines, ("", f"{_INDENT}{pad}  {named}")] if named else lines


def _text(channel: str, value: Any) -> str:
    if channel == "annotations" and isinstance(value, (list, tuple)):
        return ", ".join(f"{ipa:x} +{size * count:#x} owner {owner:#x}"
                         for ipa, size, owner, count in value) or "none"  # fmt: skip
    return value_text(channel, value)


def _named(difference: StepDifference, sides: tuple[str, str]) -> str:
    """Pages of the dirty log that one side has and the other has not; "" for other channels."""
    both = (difference.expected, difference.observed)
    if difference.channel != "dirty" or not all(isinstance(one, (list, tuple)) for one in both):
        return ""
    only = [sorted(set(both[at]) - set(both[1 - at])) for at in (0, 1)]
    words = [
        f"only {side}: page{'s' if len(pages) > 1 else ''} "
        + value_text("dirty", pages).strip("{}")
        for side, pages in zip(sides, only, strict=True)
        if pages
    ]
    return ", ".join(words)


def explanation_lines(explanation: Explanation) -> list[Line]:
    """Why the model says so, and what would make it say what the kernel did."""
    indent = " " * 5
    lines: list[Line] = []
    for number, reason in enumerate(_told(explanation)):
        start = "why the model says so: " if number == 0 else " " * 23
        of = f"profile {explanation.profile}, " if number == 0 else ""
        lines.append(("", f"{indent}{start}{of}{reason.knob}={reason.value} ({reason.source})"))
    for flip in explanation.flips:
        what = "the difference" if flip.whole else "this step, not all"
        names = ", ".join(flip.profiles)
        lines.append(
            ("", f"{indent}one knob explains {what}: {flip.knob}={flip.value}  → profile {names}")
        )
        lines.append(("dim", f"{indent}{' ' * 23}{flip.source}"))
    if explanation.profiles and not any(flip.whole for flip in explanation.flips):
        names = ", ".join(explanation.profiles)
        lines.append(("", f"{indent}a whole profile explains the difference: {names}"))
    if explanation.note:
        lines.append(("dim", f"{indent}{explanation.note}"))
    return lines


def _told(explanation: Explanation) -> Sequence[KnobReason]:
    """The reasons that are shown: those whose other value explains it, else the first few."""
    explaining = {flip.knob for flip in explanation.flips}
    told = [reason for reason in explanation.because if reason.knob in explaining]
    return told or explanation.because[:_MOST_WHY]
