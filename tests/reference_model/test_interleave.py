# SPDX-License-Identifier: GPL-2.0-only
"""The search of interleavings: its reduction, its size, and what the kernels' steps allow."""

from __future__ import annotations

import errno

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from reference_model import interleave
from reference_model.interleave import TooManyStatesError, block_ends
from reference_model.interleave_block import (
    HOST_ANON,
    HOST_NONE,
    NO_ACCESS,
    PRESENT,
    WRITABLE,
    Access,
    Block,
    ClearLog,
    Protect,
    SetLogging,
    WordRef,
    Zap,
)
from reference_model.interleave_knobs import RACE_KNOB_SOURCES, RACE_KNOBS
from reference_model.profiles import PROFILES
from tests.reference_model.race_blocks import GET, U64, block, blocks, everything, read, write

RO = HOST_ANON | PRESENT
HOST_READ = Access("r", 0, 0, 0, U64, host=True)
RW = HOST_ANON | PRESENT | WRITABLE


def test_each_profile_has_its_knobs_and_their_sources() -> None:
    assert set(RACE_KNOBS) == set(PROFILES)
    for what, sources in RACE_KNOB_SOURCES.values():
        assert what
        assert set(sources) == set(PROFILES)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=blocks())
def test_the_reduction_loses_nothing_and_adds_nothing(made: Block) -> None:
    assert everything(made) == everything(made, reduced=False)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=blocks())
def test_every_outcome_keeps_every_dirty_page(made: Block) -> None:
    """The migration invariant: what a guest wrote after the last report is in the log."""
    if made.start[2][0] < 0 or any(
        isinstance(op, SetLogging) for lane in made.lanes for op in lane
    ):
        return
    for end in block_ends(made):
        reported = end.state[2][0] | made.start[2][0]
        for lane, seen in zip(made.lanes, end.branches, strict=True):
            for op, one in zip(lane, seen, strict=True):
                if isinstance(op, ClearLog):
                    reported |= op.asked
                if one.dirty is not msgspec.UNSET:
                    reported |= sum(1 << page for page in one.dirty)
        for lane, seen in zip(made.lanes, end.branches, strict=True):
            for op, one in zip(lane, seen, strict=True):
                # One that mprotect made fail stored nothing.
                if isinstance(op, Access) and op.kind == "w" and not op.host and one.ret == 0:
                    assert reported >> op.page & 1


def test_a_store_ends_well_unless_it_is_denied() -> None:
    """What the property above counts as a store."""
    (denied,) = block_ends(block((Protect((0,), NO_ACCESS), write(1))))
    assert [one.ret for one in denied.branches[0]] == [0, -errno.EFAULT]
    (well,) = block_ends(block((write(1),)))
    assert well.branches[0][0].ret == 0


def test_four_vcpus_of_three_accesses_are_found_in_few_states() -> None:
    """The size that must be quick; the time itself is harness bench's."""
    for lanes in (
        tuple((write(i + 1), read(0), write(i + 5)) for i in range(4)),
        tuple((write(3 * i + 1), write(3 * i + 2), write(3 * i + 3)) for i in range(4)),
    ):
        assert block_ends(block(*lanes))


def test_the_last_store_of_some_branch_is_what_stays() -> None:
    ends = block_ends(block(*((write(10 * i + 1), write(10 * i + 2)) for i in range(3))))
    assert {end.state[1][0] for end in ends} == {2, 12, 22}
    assert {end.state[2][0] for end in ends} == {1}


def test_a_branch_reads_its_own_store_or_a_later_one() -> None:
    ends = block_ends(block((write(1), read()), (write(2),)))
    assert {end.branches[0][1].data for end in ends} == {1, 2}
    ends = block_ends(block((read(), write(1)), (write(2),)))
    assert {end.branches[0][0].data for end in ends} == {0, 2}


def test_vcpus_on_words_of_their_own_have_one_outcome_however_many() -> None:
    words = tuple(WordRef(8 * i, 0) for i in range(16))
    lanes = tuple((write(i + 1, 0, i), read(0, i), write(i + 17, 0, i)) for i in range(16))
    ends = block_ends(block(*lanes, words=words))
    assert len(ends) == 1
    assert ends[0].state[1] == tuple(range(17, 33))
    assert ends[0].state[2] == (1,)


def test_many_vcpus_without_an_ioctl_show_what_few_do() -> None:
    """The summary for many: at small sizes it is what the search of every step finds."""
    for count in (2, 3):
        lanes = tuple((write(i + 1),) for i in range(count))
        for start in (HOST_ANON, HOST_NONE, RO):
            made = block(*lanes, pages=(start,))
            assert everything(made) == everything(made, reduced=False)


@pytest.mark.parametrize("profile", list(RACE_KNOBS))
def test_a_zap_throws_away_what_came_before_and_nothing_after(profile: str) -> None:
    ends = block_ends(block((write(1), read()), (Zap((0,)),), knobs=RACE_KNOBS[profile]))
    assert {(end.branches[0][1].data, end.state[1][0]) for end in ends} == {(0, 0), (1, 1), (1, 0)}


@pytest.mark.parametrize(
    ("profile", "sees_the_window"),
    [
        ("v5.10", False),
        ("seed-2021", False),
        ("v6.1", False),
        ("v6.12", True),
        ("v7.2", True),
        ("v7.3", True),
    ],
)
def test_from_6_12_on_a_report_may_miss_a_store_that_is_done(
    profile: str, sees_the_window: bool
) -> None:
    """B writes through A's leaf, and reads the log before A has marked the page."""
    made = block((write(1),), (write(2), GET), knobs=RACE_KNOBS[profile])
    missed = [end for end in block_ends(made) if end.branches[1][1].dirty == ()]
    assert bool(missed) == sees_the_window
    assert all(end.state[2][0] == 1 for end in missed)


@pytest.mark.parametrize("profile", ["v5.10", "v6.1", "v6.12"])
def test_logging_is_switched_on_between_two_stores(profile: str) -> None:
    made = block(
        (write(1),), (SetLogging(0, True),), dirty=-1, pages=(RW,), knobs=RACE_KNOBS[profile]
    )
    assert {end.state[2][0] for end in block_ends(made)} == {0, 1}


def test_a_store_goes_through_a_stale_tlb_until_the_flush() -> None:
    """GET took the bit, A's store is not marked again: GET has not returned yet."""
    ends = block_ends(block((write(1),), (GET,), pages=(RW,), dirty=1))
    assert {(end.branches[1][0].dirty, end.state[2][0]) for end in ends} == {((0,), 0), ((0,), 1)}


def test_a_block_that_is_too_large_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interleave, "MAX_STATES", 200)
    lanes = tuple((write(10 * i + 1), write(10 * i + 2)) for i in range(3))
    with pytest.raises(TooManyStatesError, match="more than 200 states"):
        block_ends(block(*lanes, (GET, GET)))


# --- kernels with one wrong step: the scenarios of the suite tell them from the right ones --------

_RIGHT = RACE_KNOBS["v6.12"]


@pytest.mark.parametrize(
    ("wrong", "lanes", "pages", "dirty"),
    [
        # The loser's second fault is a permission fault: its page is never marked.
        ({"relax_marks": False}, ((read(),), (write(1),)), (HOST_ANON,), 0),
        # GET takes the mark before the page is mapped, and the host still reads the old word: the
        # store behind it is lost.
        ({"dirty": "before_lock"}, ((write(1),), (GET, HOST_READ)), (HOST_ANON,), 0),
        # After GET a store no longer faults.
        ({"wrprotects": False}, ((GET, write(1)),), (RW,), 1),
    ],
    ids=["losing side unmarked", "marked before mapped", "write-protect unseen"],
)
def test_a_kernel_with_a_wrong_step_shows_what_the_right_model_forbids(
    wrong: dict[str, object],
    lanes: tuple[tuple[object, ...], ...],
    pages: tuple[int, ...],
    dirty: int,
) -> None:
    right = block(*lanes, pages=pages, dirty=dirty)  # type: ignore[arg-type]
    broken = msgspec.structs.replace(right, knobs=msgspec.structs.replace(_RIGHT, **wrong))
    lost = everything(broken, reduced=False) - everything(right)
    assert lost
