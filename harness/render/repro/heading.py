# SPDX-License-Identifier: GPL-2.0-only
"""The comment on top: what is expected, what was seen, where, why, and how to build and run it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from harness.render.repro.words import channel_words
from harness.render.text import WIDTH, comment_text
from harness.vocabulary import Explanation, Finding
from reference_model.describe import describe

_MOST_CHANNELS = 4
_MOST_LOG = 8


def heading(
    finding: Finding, explanation: Explanation | None, needs: Sequence[str], name: str
) -> list[str]:
    """Comment lines that fit; ``needs`` are lines in which ``{name}`` is the program."""
    title = finding.scenario.title
    lines = _filled(f"{finding.scenario.id}: {title}" if title else finding.scenario.id)
    lines += ["", *_difference(finding), *_where(finding)]
    if explanation is not None:
        why = _why(explanation)
        lines += ["", *why] if why else []
    return [*lines, "", *(line.replace("{name}", name) for line in needs)]


def _filled(text: str, hang: str = "") -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        comment_text(text),
        WIDTH - 4,
        initial_indent=indent,
        subsequent_indent=hang,
        break_on_hyphens=False,
    )


def _difference(finding: Finding) -> list[str]:
    if finding.died is not None:
        step = finding.step
        at = "" if step is None else f" in step {step} ({describe(finding.scenario.steps[step])})"
        lines = _filled(f"Expected: every step ends. Seen: {finding.died.value}{at}:", "  ")
        log = finding.run.log[:_MOST_LOG] if finding.run is not None else ()
        return lines + _filled(finding.reason, "  ") + [f"  {comment_text(one)}" for one in log]
    against_model = [one for one in finding.differences if one.against == "model"]
    if not against_model:
        return _filled("Expected and seen are the same,")
    first = against_model[0].step
    lines = _filled(f"Step {first}: {describe(finding.scenario.steps[first])}")
    here = [one for one in against_model if one.step == first]
    for one in here[:_MOST_CHANNELS]:
        for word, value in (("expected", one.expected), ("seen", one.observed)):
            first_line, *more = channel_words(one.channel, value)
            start = f"  {word:<8}  {one.channel}  "
            lines += textwrap.wrap(
                comment_text(first_line),
                WIDTH - 4,
                initial_indent=start,
                subsequent_indent=" " * len(start),
            )
            lines += [" " * len(start) + comment_text(line) for line in more]
    return lines


def _where(finding: Finding) -> list[str]:
    target = finding.target
    return _filled(
        f"on {target.describe() if target.release else target.name}, against the semantics of "
        f"profile {finding.profile}."
    )


def _why(explanation: Explanation) -> list[str]:
    explaining = {flip.knob for flip in explanation.flips}
    because = [one for one in explanation.because if one.knob in explaining]
    lines = []
    for reason in (because or explanation.because)[:2]:
        lines += _filled(
            f"Why it is expected: {reason.what}: {reason.value}. {reason.source}.", "  "
        )
    for flip in explanation.flips[:2]:
        lines += _filled(
            f"It would be as seen with {flip.knob}={flip.value} (profile "
            f"{', '.join(flip.profiles)}): {flip.source}.",
            "  ",
        )
    return lines
