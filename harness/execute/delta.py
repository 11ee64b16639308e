# SPDX-License-Identifier: GPL-2.0-only
"""Lists of runs that a record gives as the difference to the step before.

A table changes in few places, so its records would repeat themselves. A record may
then hold ``leaves_delta`` in place of ``leaves`` (and ``annotations_delta`` likewise): ``[head,
tail, runs]``, where the first ``head`` and the last ``tail`` runs of the step before still stand,
and ``runs`` are in between.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from msgspec import UNSET, UnsetType

_Run = TypeVar("_Run")
Delta: TypeAlias = tuple[int, int, tuple[_Run, ...]]


def expand(
    full: tuple[_Run, ...] | UnsetType,
    delta: Delta[_Run] | UnsetType,
    before: tuple[_Run, ...] | UnsetType,
) -> tuple[_Run, ...] | UnsetType:
    """The whole list of a step; UNSET where the record gives neither form.

    ``before`` is that of the step before, UNSET at the first. ValueError where the record gives
    both forms, or a difference to more runs than there were.
    """
    if delta is UNSET:
        return full
    if full is not UNSET:
        raise ValueError("a list and its difference in one record")
    known = () if before is UNSET else before
    head, tail, runs = delta
    if head < 0 or tail < 0 or head + tail > len(known):
        raise ValueError(f"a difference to {head} + {tail} runs, where there were {len(known)}")
    return (*known[:head], *runs, *known[len(known) - tail :])
