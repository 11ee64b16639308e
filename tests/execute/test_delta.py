# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from harness.execute.delta import expand
from harness.execute.records import Records
from harness.vocabulary import RunStatus

LISTS = st.lists(st.integers(0, 5), max_size=12).map(tuple)


def difference(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
    """As the runtime makes it: the longest common head, then the longest common tail."""
    most = min(len(before), len(after))
    head = next((i for i in range(most) if before[i] != after[i]), most)
    most -= head
    tail = next((i for i in range(most) if before[-1 - i] != after[-1 - i]), most)
    return head, tail, after[head : len(after) - tail]


@given(LISTS, LISTS)
def test_a_difference_gives_the_list_back(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    assert expand(UNSET, difference(before, after), before) == after


def test_a_list_in_full_stands_as_it_is() -> None:
    assert expand((1, 2), UNSET, (3,)) == (1, 2)
    assert expand(UNSET, UNSET, (3,)) is UNSET


@pytest.mark.parametrize("delta", [(2, 0, ()), (1, 1, ()), (-1, 0, ()), (0, -1, ())])
def test_a_difference_to_more_than_there_was(delta: tuple[int, int, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="where there were 1"):
        expand(UNSET, delta, (7,))
    with pytest.raises(ValueError, match="in one record"):
        expand((7,), (0, 0, ()), (7,))


LEAF = [4096, 4096, 0, "rw", 0, True, "normal", 1]
OTHER = [8192, 4096, 0, "r", 0, True, "normal", 1]


def played(*steps: dict[str, object]) -> tuple[RunStatus, list[object], str]:
    records = Records(["a"])
    records.feed("# start 0 a")
    for number, step in enumerate(steps):
        records.feed("# step " + json.dumps({"n": number, **step}))
    [(_, run)] = records.feed('# end {"status":"done","us":1}')
    return run.status, [step.leaves for step in run.steps], run.detail


def test_records_come_out_in_full() -> None:
    status, leaves, _ = played(
        {"ret": 0, "leaves_delta": [0, 0, [LEAF]]},
        {"ret": 0, "leaves_delta": [1, 0, [OTHER]]},
        {"ret": 0, "leaves_delta": [0, 1, []], "annotations_delta": [0, 0, [[0, 4096, 4, 1]]]},
    )
    assert status is RunStatus.DONE
    assert leaves == [(tuple(LEAF),), (tuple(LEAF), tuple(OTHER)), (tuple(OTHER),)]


def test_a_difference_that_does_not_fit_is_no_result_of_the_kernel() -> None:
    status, leaves, detail = played({"ret": 0, "leaves_delta": [1, 0, [LEAF]]})
    assert status is RunStatus.INFRA
    assert leaves == []
    assert "where there were 0" in detail
