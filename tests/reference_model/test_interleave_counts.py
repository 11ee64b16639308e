# SPDX-License-Identifier: GPL-2.0-only
"""Counts of calls and of dirty markings in one turn of a block."""

from __future__ import annotations

import msgspec
import pytest

from reference_model.interleave_block import (
    HOST_ANON,
    PRESENT,
    Block,
    GetLog,
    SetLogging,
    Zap,
)
from reference_model.interleave_counts import block_counts
from reference_model.interleave_knobs import RACE_KNOBS
from tests.reference_model.race_blocks import block, read, write


def on(profile: str, made: Block) -> Block:
    return msgspec.structs.replace(made, knobs=RACE_KNOBS[profile])


def two_stores() -> Block:
    """Two vCPUs store to one page that the host has and the guest has not."""
    return block((write(1),), (write(2),))


@pytest.mark.parametrize("profile", ["v6.1", "v6.12", "v7.2"])
def test_who_loses_is_refused_and_marks_nothing(profile: str) -> None:
    made = on(profile, two_stores())
    assert made.start[0] == (HOST_ANON,)
    # How often it is refused depends on how long the winner holds the entry.
    assert block_counts(made) == {"mapped": (1,), "marked": (1,)}


def test_on_5_10_each_maps_over_the_other_and_marks() -> None:
    counts = block_counts(on("v5.10", two_stores()))
    assert counts == {"mapped": (1, 2), "refused": (0,), "marked": (1, 2)}


def test_a_model_that_does_not_refuse_allows_two_maps() -> None:
    """The rule bears on the prediction: a kernel of that kind would not match."""
    knobs = msgspec.structs.replace(RACE_KNOBS["v6.12"], map_overwrites=True)
    counts = block_counts(msgspec.structs.replace(two_stores(), knobs=knobs))
    assert counts == {"mapped": (1, 2), "refused": (0,), "marked": (1, 2)}


def test_what_was_read_only_may_be_remembered_by_a_tlb() -> None:
    made = on("v6.12", two_stores())
    start = ((HOST_ANON | PRESENT,), *made.start[1:])
    counts = block_counts(msgspec.structs.replace(made, start=start))
    # One or two stores relax the leaf, and each may once more.
    assert counts is not None
    assert counts["mapped"] == counts["marked"] == (1, 2, 3, 4)


def test_a_report_makes_one_store_fault_again() -> None:
    """The other is through before it, or comes to a leaf that is writable again."""
    made = on("v6.12", block((write(1), write(2)), (GetLog(0, (0,)),)))
    counts = block_counts(made)
    assert counts is not None
    assert counts["mapped"] == counts["marked"] == (1, 2)


def test_a_vcpu_alone_is_never_refused() -> None:
    counts = block_counts(on("v6.12", block((write(1), write(2)), (GetLog(0, (0,)),))))
    assert counts is not None
    assert counts["refused"] == (0,)


def test_a_notifier_that_maps_is_not_counted_with_the_faults() -> None:
    made = on("v6.1", block((write(1),), (Zap((0,)),)))
    plain, mapping = block_counts(made), block_counts(made, change_pte_maps=True)
    assert plain is not None
    assert mapping is not None
    assert set(plain) - set(mapping) == {"mapped"}
    kept = block_counts(on("v6.1", two_stores()), change_pte_maps=True)
    assert kept is not None
    assert kept["mapped"] == (1,)


def test_loads_of_a_logged_page_mark_nothing() -> None:
    counts = block_counts(on("v6.12", block((read(0),), (read(0),))))
    assert counts == {"mapped": (1,), "marked": (0,)}


def test_blocks_that_are_too_large_or_change_flags_are_not_counted() -> None:
    assert block_counts(block((write(1),), (SetLogging(0, log=False),))) is None
    many = block(*((write(lane + 1), read(0), write(lane + 9)) for lane in range(6)))
    assert block_counts(many) is None
