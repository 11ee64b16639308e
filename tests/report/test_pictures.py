# SPDX-License-Identifier: GPL-2.0-only
"""Pictures of what differs: both sides over one range, boxes inside it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report.pictures import pictures
from harness.vocabulary import Finding, StepDifference
from tests.report.samples import PGTABLE
from tests.store.samples import judged

BASE = judged(PGTABLE[0])


def differing(channel: str, expected: Any, observed: Any) -> Finding:
    difference = StepDifference(step=0, channel=channel, expected=expected, observed=observed)
    return msgspec.structs.replace(BASE, differences=(difference,))


def run(page: int, count: int, size: int = 4096, prot: str = "rw") -> tuple[Any, ...]:
    return (page * size, size, 0x4000_0000 + page * size, prot, 0, True, "normal", count)


def test_one_leaf_less() -> None:
    (picture,) = pictures(differing("leaves", (run(16, 4),), (run(16, 3),)))
    before, model, kernel = picture.rows
    assert (before.label, model.label, kernel.label) == ("before", "model", "kernel")
    assert before.boxes == ()
    assert len(model.boxes) == len(kernel.boxes) + 1
    (odd,) = [box for box in model.boxes if box.differs]
    assert odd.words.startswith("0x13000 4K ->")
    assert odd.kind == "rw"


def test_a_block_against_pages() -> None:
    block = run(1, 1, size=2 << 20)
    (picture,) = pictures(differing("leaves", (block,), (run(512, 512),)))
    model, kernel = picture.rows[1:]
    assert len(model.boxes) == 1
    assert len(kernel.boxes) > 50
    assert all(box.x + box.width <= picture.width for row in picture.rows for box in row.boxes)


def test_dirty_pages() -> None:
    (picture,) = pictures(differing("dirty", (3, 7), (3,)))
    model, kernel = picture.rows
    assert [box.words for box in model.boxes] == ["page 7"]
    assert kernel.boxes == ()
    assert (picture.low, picture.high) == ("5", "10")


@pytest.mark.parametrize("value", ["ok", None, 7, (1, 2), ((1, 2),)])
def test_what_cannot_be_drawn_is_left_to_the_text(value: Any) -> None:
    assert pictures(differing("leaves", value, value)) == []
    assert pictures(differing("ret", value, 0)) == []


leaves = st.lists(
    st.builds(run, st.integers(0, 600), st.integers(1, 8), st.sampled_from([4096, 2 << 20])),
    max_size=8,
).map(tuple)


@settings(deadline=None)
@given(leaves, leaves)
def test_any_tables(left: Any, right: Any) -> None:
    for picture in pictures(differing("leaves", left, right)):
        assert picture.width <= 64 * 360
        for row in picture.rows:
            for box in row.boxes:
                assert 0 <= box.x < picture.width
                assert box.width > 0
