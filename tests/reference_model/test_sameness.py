# SPDX-License-Identifier: GPL-2.0-only
"""Quick comparison says what plain comparison says."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from reference_model.outcome import Observation
from reference_model.sameness import Sameness, common, common_tail


def leaf(page: int, prot: str = "rw") -> tuple[Any, ...]:
    return (page << 12, 4096, page << 12, prot, 0, True, "normal", 1)


#: A long table, and what is done to it step by step on either side: (place, how many go, new ones).
edits = st.lists(
    st.tuples(st.integers(0, 700), st.integers(0, 3), st.integers(0, 3), st.booleans()),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(edits, st.lists(st.integers(0, 7), max_size=3))
def test_as_plain_comparison(changes: list[tuple[int, int, int, bool]], odd: list[int]) -> None:
    left = tuple(leaf(page) for page in range(600))
    right = tuple(leaf(page) for page in range(600))
    same = Sameness()
    for number, (place, gone, new, annotated) in enumerate(changes):
        added = tuple(leaf(1000 + number * 10 + at) for at in range(new))
        other = tuple(leaf(1000 + number * 10 + at) for at in range(new))
        if number in odd:
            other = tuple(leaf(5000 + at, "r") for at in range(new))
        left = (*left[:place], *added, *left[place + gone :])
        right = (*right[:place], *other, *right[place + gone :])
        notes = ((0, 4096, 1, 1),) if annotated else UNSET
        one = Observation(ret=0, leaves=left, annotations=notes)
        two = Observation(ret=0, leaves=right, annotations=notes)
        assert same.equal(one, two) is (one == two)
        assert same.channel("leaves", left, right) is (left == right)


def test_the_other_channels_count() -> None:
    table = tuple(leaf(page) for page in range(600))
    same = Sameness()
    assert same.equal(Observation(ret=0, leaves=table), Observation(ret=0, leaves=table))
    assert not same.equal(Observation(ret=0, leaves=table), Observation(ret=1, leaves=table))
    assert not same.equal(Observation(ret=0, leaves=table), Observation(ret=0))


@given(st.lists(st.integers(0, 2), max_size=600), st.lists(st.integers(0, 2), max_size=600))
def test_common(left: list[int], right: list[int]) -> None:
    one, two = tuple(left), tuple(right)
    most = min(len(one), len(two))
    head = common(one, two, most)
    assert one[:head] == two[:head]
    assert head == most or one[head] != two[head]
    tail = common_tail(one, two, most)
    assert one[len(one) - tail :] == two[len(two) - tail :]
    assert tail == most or one[-tail - 1] != two[-tail - 1]


class Counted(tuple[Any, ...]):
    """A leaf that counts how often it is held against another."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


def test_many_leaves_over_many_steps() -> None:
    """Of a million pairs of leaves, each is looked at a few times at most."""
    left = tuple(Counted(leaf(page)) for page in range(2000))
    right = tuple(Counted(leaf(page)) for page in range(2000))
    same = Sameness()
    for page in range(2000, 2500):
        left, right = (*left, Counted(leaf(page))), (*right, Counted(leaf(page)))
        assert same.equal(Observation(leaves=left), Observation(leaves=right))
    assert 2500 <= Counted.compared < 4 * 2500
