# SPDX-License-Identifier: GPL-2.0-only
"""Outcomes of parallel blocks: whether one that was seen is allowed, and both in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from reference_model.outcome import Observation, Outcome, StepPrediction

#: What an operation of a branch can show: no trace and no tables.
_CHANNELS = ("ret", "exit", "injected", "data", "dirty")


class Match(Struct, frozen=True):
    """What of a histogram is allowed.

    ``seen``: the numbers of the allowed outcomes that were seen; ``forbidden``: [times, outcome]
    of those that are not allowed, with the ``nearest`` that is.
    """

    seen: frozenset[int]
    forbidden: tuple[tuple[int, Outcome, Outcome], ...]


def match(prediction: StepPrediction, seen: Observation) -> Match:
    """A block's histogram held against its allowed outcomes.

    What one side does not have (``after`` of the last repeat) is not compared.
    """
    allowed = [one.outcome for one in prediction.allowed if isinstance(one.outcome, Outcome)]
    whole: dict[str, set[int]] = {}
    without: dict[str, set[int]] = {}
    for number, outcome in enumerate(allowed):
        branches = _branches_key(outcome)
        without.setdefault(branches, set()).add(number)
        whole.setdefault(branches + _after_key(outcome), set()).add(number)
    found: set[int] = set()
    forbidden = []
    for times, outcome in seen.histogram or ():
        key = _branches_key(outcome)
        numbers = (
            without.get(key) if outcome.after is UNSET else whole.get(key + _after_key(outcome))
        )
        if not numbers:
            forbidden.append((times, outcome, _nearest(allowed, outcome)))
        elif len(numbers) == 1 or outcome.after is not UNSET:
            found |= numbers
    return Match(frozenset(found), tuple(forbidden))


def _branches_key(outcome: Outcome) -> str:
    plain = [
        [[_plain(getattr(one, channel)) for channel in _CHANNELS] for one in branch]
        for branch in outcome.branches
    ]
    return repr(plain)


def _after_key(outcome: Outcome) -> str:
    return repr(msgspec.to_builtins(outcome.after)) if outcome.after is not UNSET else ""


def _plain(value: Any) -> Any:
    return None if value is UNSET else msgspec.to_builtins(value)


def _nearest(allowed: Sequence[Outcome], seen: Outcome) -> Outcome:
    """The allowed outcome that differs in the fewest places."""
    return min(allowed, key=lambda one: len(list(differing(one, seen))))


def differing(one: Outcome, other: Outcome) -> Iterable[str]:
    """Names of the places at which two outcomes differ: ``branch 0.1 data``, ``after dirty``."""
    for number, (mine, theirs) in enumerate(zip(one.branches, other.branches, strict=False)):
        for place, (first, second) in enumerate(zip(mine, theirs, strict=False)):
            for channel in _CHANNELS:
                if _plain(getattr(first, channel)) != _plain(getattr(second, channel)):
                    yield f"branch {number}.{place} {channel}"
    if one.after is UNSET or other.after is UNSET:
        return
    if one.after.dirty != other.after.dirty:
        yield "after dirty"
    if one.after.memory != other.after.memory:
        yield "after memory"


# --- words ---------------------------------------------------------------------------------------


def outcome_text(outcome: Outcome) -> str:
    """``A: 0x1, 0x2 | B: - | left dirty {3}, 80003000=0x2``: branches are A, B, …"""
    parts = [
        f"{chr(ord('A') + number)}: {', '.join(_operation_text(one) for one in branch)}"
        for number, branch in enumerate(outcome.branches)
    ]
    if outcome.after is not UNSET:
        left = [
            f"dirty {{{' '.join(map(str, pages))}}}"
            + (f" of slot {slot}" if len(outcome.after.dirty) > 1 else "")
            for slot, pages in outcome.after.dirty.items()
        ]
        left += [f"{gpa:x}={value:#x}" for gpa, value in outcome.after.memory]
        parts.append(f"left {', '.join(left) or 'nothing'}")
    return " | ".join(parts)


def _operation_text(seen: Observation) -> str:
    """What one operation showed; ``-`` where it just went well."""
    words = []
    if seen.ret is not UNSET and seen.ret:
        words.append(f"ret {seen.ret}")
    if isinstance(seen.exit, dict):
        words.append(f"exit {seen.exit.get('reason')}")
    if isinstance(seen.injected, dict):
        words.append(str(seen.injected.get("ec")))
    if isinstance(seen.data, int):
        words.append(f"{seen.data:#x}")
    if seen.dirty is not UNSET:
        words.append(f"{{{' '.join(map(str, seen.dirty))}}}")
    return " ".join(words) or "-"
