# SPDX-License-Identifier: GPL-2.0-only
"""Whether two sides saw the same, step after step, also where tables have many thousand leaves.

From one step to the next a table changes in few places, on both sides. Where the steps before were
equal, only what changed since has to be looked at: the rest is told by the identity of its items,
which costs a comparison of pointers. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from reference_model.outcome import Observation

#: Items of a list up to which it is compared outright, and compared at once above that.
_SMALL = 256


def common(left: tuple[Any, ...], right: tuple[Any, ...], most: int) -> int:
    """How many items both begin with, ``most`` at most; whole blocks are compared at once."""
    at = 0
    while at + _SMALL <= most and left[at : at + _SMALL] == right[at : at + _SMALL]:
        at += _SMALL
    while at < most and (left[at] is right[at] or left[at] == right[at]):
        at += 1
    return at


def common_tail(left: tuple[Any, ...], right: tuple[Any, ...], most: int) -> int:
    """How many items both end with, ``most`` at most."""
    at = 0
    while at + _SMALL <= most and (
        left[len(left) - at - _SMALL : len(left) - at]
        == right[len(right) - at - _SMALL : len(right) - at]
    ):
        at += _SMALL
    while at < most:
        one, two = left[len(left) - at - 1], right[len(right) - at - 1]
        if one is not two and one != two:
            break
        at += 1
    return at


class _Lists:
    """One channel: the last pair of lists that was equal."""

    def __init__(self) -> None:
        self._left: tuple[Any, ...] = ()
        self._right: tuple[Any, ...] = ()

    def equal(self, left: Any, right: Any) -> bool:
        """``left == right``; quickly where both are as before but for a few items."""
        if not isinstance(left, tuple) or not isinstance(right, tuple):
            return bool(left == right)
        if len(left) != len(right):
            return False
        if len(left) <= _SMALL:
            return left == right
        head = _same_items(left, self._left, right, self._right)
        rest = len(left) - head
        tail = _same_tail(left, self._left, right, self._right, rest)
        if left[head : len(left) - tail] != right[head : len(right) - tail]:
            return False
        self._left, self._right = left, right
        return True


class Sameness:
    """Compares the observations of one scenario, in the order of its steps."""

    def __init__(self) -> None:
        self._channels = {"leaves": _Lists(), "annotations": _Lists()}

    def channel(self, name: str, left: Any, right: Any) -> bool:
        """Whether two values of a channel that holds runs are equal."""
        return self._channels[name].equal(left, right)

    def equal(self, left: Observation, right: Observation) -> bool:
        """``left == right``."""
        if not _is_large(left) and not _is_large(right):
            return left == right
        if not all(
            lists.equal(getattr(left, name), getattr(right, name))
            for name, lists in self._channels.items()
        ):
            return False
        bare = dict.fromkeys(self._channels, UNSET)
        return bool(msgspec.structs.replace(left, **bare) == msgspec.structs.replace(right, **bare))


def _is_large(seen: Observation) -> bool:
    return (seen.leaves is not UNSET and len(seen.leaves) > _SMALL) or (
        seen.annotations is not UNSET and len(seen.annotations) > _SMALL
    )


def _same_items(
    left: tuple[Any, ...],
    old_left: tuple[Any, ...],
    right: tuple[Any, ...],
    old_right: tuple[Any, ...],
) -> int:
    """Items at the beginning that both sides have from an equal pair of lists."""
    most = min(len(left), len(old_left))
    head = common(left, old_left, most)
    return common(right, old_right, head)


def _same_tail(
    left: tuple[Any, ...],
    old_left: tuple[Any, ...],
    right: tuple[Any, ...],
    old_right: tuple[Any, ...],
    most: int,
) -> int:
    most = min(most, len(old_left))
    tail = common_tail(left, old_left, most)
    return common_tail(right, old_right, tail)
