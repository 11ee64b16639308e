# SPDX-License-Identifier: GPL-2.0-only
"""Kernel against kernel: what differs, and what is only written differently."""

from __future__ import annotations

import msgspec

from harness.compare import pair
from harness.vocabulary import RunStatus, Verdict
from reference_model import scenario as sc
from reference_model.scenario import GuestScenario
from tests.asif import DIRTY, OVER, as_if, seen_otherwise


def test_two_kernels_that_do_as_their_profiles_say() -> None:
    made = pair(as_if(OVER, "v6.1", "v6.1"), as_if(OVER, "v6.12", "v6.12"))
    assert {one.channel for one in made.differences} >= {"ret", "leaves"}
    assert made.differences[0].expected == -11
    assert made.differences[0].observed == 0
    assert all(one.against == "kernel" for one in made.differences)
    assert made.explanation is not None
    assert made.explanation.flips[0].knob == "on_eagain"
    assert made.reason == ""


def test_a_kernel_is_alike_itself() -> None:
    made = pair(as_if(OVER, "v6.1", "v6.1"), as_if(OVER, "v6.1", "v6.1"))
    assert made.differences == ()
    assert "leaves" in made.compared


def test_a_renumbered_enum_is_no_difference() -> None:
    old, new = as_if(DIRTY, "v6.12", "v6.12"), as_if(DIRTY, "v7.2", "v7.2")
    assert old.run is not None
    assert new.run is not None
    assert old.run.steps[1].maps != new.run.steps[1].maps
    assert "maps" not in {one.channel for one in pair(old, new).differences}
    assert "maps" in pair(old, new).compared


def test_another_permission_is_one_although_numbers_are_translated() -> None:
    old, new = as_if(DIRTY, "v6.12", "v6.12"), as_if(DIRTY, "v7.2", "v7.2")
    assert new.run is not None
    (call,) = new.run.steps[1].maps  # type: ignore[misc]
    writable = call[-2]
    readonly = writable & ~4
    wrong = seen_otherwise(new, 1, maps=((*call[:-2], readonly, call[-1]),))
    assert "maps" in {one.channel for one in pair(old, wrong).differences}


def test_a_channel_of_one_side_is_not_compared() -> None:
    left = as_if(OVER, "v6.12", "v6.12")
    assert left.run is not None
    steps = tuple(msgspec.structs.replace(one, tlbi=msgspec.UNSET) for one in left.run.steps)
    right = msgspec.structs.replace(left, run=msgspec.structs.replace(left.run, steps=steps))
    made = pair(left, right)
    assert made.differences == ()
    assert made.not_compared == ("tlbi",)


def test_no_result_is_no_comparison() -> None:
    left = as_if(OVER, "v6.12", "v6.12")
    assert left.run is not None
    died = msgspec.structs.replace(left.run, status=RunStatus.CRASH, detail="oops")
    crash = msgspec.structs.replace(left, run=died, verdict=Verdict.CRASH)
    made = pair(left, crash)
    assert made.differences == ()
    assert "oops" in made.reason
    flags = GuestScenario(schema=1, id="g", steps=(sc.DirtyGet(slot=1),))
    gone = msgspec.structs.replace(as_if(flags, "v6.12", "v6.12"), run=None, reason="no link")
    assert "no link" in pair(gone, gone).reason
