# SPDX-License-Identifier: GPL-2.0-only
"""What madvise and userfaultfd leave behind for a later reclaim, fork or fault."""

from __future__ import annotations

from typing import Any

import pytest

from reference_model import host_changes as changes
from reference_model import predict
from reference_model import scenario as sc
from reference_model.memory import Advice, HostMemory, HostPage, HostProt, Uffd, prefill_word
from reference_model.profiles import PROFILES, Environment
from reference_model.unpredictable import UndefinedError
from tests.reference_model.hosts import LARGE, PMD, huge, memory


def advised(host: HostMemory, first: int, count: int, advice: Advice) -> changes.Ranges:
    pages = [page for page in range(first, first + count) if host.advice(page) != advice]
    return changes.retag(host, pages, lambda page: host.set_advice(page, advice))


def registered(host: HostMemory, mode: Uffd) -> None:
    changes.retag(host, range(host.pages), lambda page: host.set_uffd(page, mode))


# --- advice ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backing", "advice"),
    [
        ({"thp": "madvise"}, Advice.HUGE),
        ({"thp": "always"}, Advice.NONE),
        ({}, Advice.SMALL),
        ({"kind": "zero"}, Advice.SMALL),
        ({"kind": "memfd"}, Advice.NONE),
        ({"kind": "hugetlb", "page_size": LARGE}, Advice.NONE),
    ],
)
def test_what_a_mapping_begins_with(backing: dict[str, Any], advice: Advice) -> None:
    assert memory(LARGE, **backing).advice(3) is advice


def test_advice_that_is_there_already_splits_nothing() -> None:
    asked = memory(LARGE, thp="madvise", prefill=True)
    assert advised(asked, 16, 16, Advice.HUGE) == []
    always = memory(LARGE, thp="always", prefill=True)
    assert advised(always, 16, 16, Advice.HUGE) == [(0, PMD)]
    assert always.mapped_pages(0) == 1
    assert advised(always, 16, 16, Advice.HUGE) == []


def test_a_shifted_mapping_loses_the_blocks_at_both_edges() -> None:
    host = memory(LARGE, thp="always", prefill=True, offset=0x1_0000)
    assert advised(host, 0, PMD, Advice.HUGE) == [(-16, PMD), (PMD - 16, PMD)]


def test_vmas_of_one_kind_are_one_again() -> None:
    host = memory(2 * LARGE, kind="memfd")
    assert advised(host, 16, 1, Advice.SMALL) == [(0, PMD)]
    assert host.vma(17) == (17, 1024)
    # The first part is merged with what is before it; the rest is split off at the range's end.
    assert advised(host, 0, 600, Advice.SMALL) == [(512, PMD)]
    assert host.vma(16) == (0, 600)


# --- MADV_FREE and reclaim ---------------------------------------------------------------------


def test_reclaim_drops_what_was_freed() -> None:
    host = memory(prefill=True)
    changes.free(host, 0, 8)
    assert host.read(0x3000, 8) == prefill_word(3)
    assert changes.page_out(host, 3, 1) == [(3, 1)]
    assert host.state(3) is HostPage.NONE
    assert host.read(0x3000, 8) == 0
    changes.page_out(host, 9, 1)
    assert host.state(9) is HostPage.SWAP
    assert host.read(0x9000, 8) == prefill_word(9)


@pytest.mark.parametrize("by_guest", [False, True])
def test_a_store_saves_what_was_freed(by_guest: bool) -> None:
    host = memory(prefill=True)
    changes.free(host, 0, 8)
    host.touch(3, write=True, by_guest=by_guest)
    host.soil(3)
    changes.page_out(host, 0, 8)
    assert host.state(3) is HostPage.SWAP
    assert host.state(4) is HostPage.NONE


def test_a_load_saves_nothing() -> None:
    host = memory(prefill=True)
    changes.free(host, 0, 8)
    host.touch(3, write=False)
    changes.page_out(host, 0, 8)
    assert host.state(3) is HostPage.NONE


def test_a_huge_page_is_dirty_as_a_whole() -> None:
    host = huge(prefill=True)
    changes.free(host, 0, PMD)
    host.touch(3, write=True)
    assert not any(host.is_lazy(page) for page in range(PMD))


def test_a_store_through_one_of_the_small_entries_of_a_huge_page() -> None:
    """What is dropped then depends on the order of the entries, and is not predicted."""
    host = huge(prefill=True)
    changes.protect(host, 16, 16, HostProt.R)
    changes.free(host, 0, PMD)
    host.touch(3, write=True)
    with pytest.raises(UndefinedError, match="page by page"):
        changes.page_out(host, 0, PMD)
    # A guest's store is told to the page and not to the entry: all of it stays.
    host.soil(3)
    changes.page_out(host, 0, PMD)
    assert host.state(4) is HostPage.SWAP


def test_a_split_makes_entries_dirty_on_5_10() -> None:
    host = huge("v5.10", prefill=True)
    changes.free(host, 0, PMD)
    changes.page_out(host, 0, PMD)
    assert host.state(3) is HostPage.SWAP


@pytest.mark.parametrize(("knobs", "taken"), [("v6.1", 1), ("v6.12", PMD)])
def test_a_huge_page_that_small_entries_map_is_split_or_kept(knobs: str, taken: int) -> None:
    host = huge(knobs, prefill=True)
    changes.protect(host, 16, 16, HostProt.R)
    changes.free(host, 0, PMD)
    assert len(host.parts(100)) == (0 if taken == 1 else PMD)
    assert (0, PMD) not in changes.page_out(host, 100, 1) or taken == PMD


def test_a_huge_page_of_two_vmas_is_whole_in_neither() -> None:
    host = huge(prefill=True)
    changes.protect(host, 16, 16, HostProt.R)
    changes.by_vma(host, 0, PMD, changes.free)
    assert host.parts(100) == []


def test_6_1_frees_nothing_behind_a_huge_page_without_its_first_part() -> None:
    for knobs, lazy in (("v6.1", False), ("v6.12", True)):
        host = huge(knobs, prefill=True)
        changes.dontneed(host, 0, 2)
        assert changes.free(host, 100, 2)[0] == (100, 2)
        assert host.is_lazy(100) is lazy
        assert bool(host.parts(200)) is not lazy


@pytest.mark.parametrize(("knobs", "writable"), [("v6.1", False), ("v6.12", True)])
def test_protection_that_is_lifted_from_clean_entries(knobs: str, writable: bool) -> None:
    host = memory(knobs=knobs, prefill=True)
    changes.free(host, 0, 8)
    host.touch(4, write=True)
    changes.page_out(host, 9, 1)
    host.touch(9, write=False)
    changes.protect(host, 0, 16, HostProt.R)
    changes.protect(host, 0, 16, HostProt.RW)
    assert host.writable(3) is writable
    assert host.writable(4)
    assert host.writable(9) is writable
    assert host.writable(10)


def test_a_hole_that_was_read_becomes_one_again() -> None:
    host = memory(kind="memfd")
    host.touch(3, write=False)
    host.touch(4, write=True)
    changes.page_out(host, 3, 2)
    assert (host.in_cache(3), host.in_cache(4)) == (False, True)


def test_a_child_that_wrote_to_the_huge_zero_page_hides_nothing() -> None:
    host = huge("v5.10")
    host.touch(3, write=False)
    changes.fork(host, range(PMD))
    assert host.mapped_pages(3) == PMD


@pytest.mark.parametrize(("knobs", "pages"), [("v6.12", 1), ("v7.2", PMD), ("v7.3", 1)])
def test_a_dropped_huge_page_leaves_a_table_behind_or_not(knobs: str, pages: int) -> None:
    host = huge(knobs, prefill=True)
    changes.free(host, 0, PMD)
    changes.page_out(host, 0, PMD)
    host.touch(3, write=True)
    assert host.mapped_pages(3) == pages
    assert host.read(0x3000, 8) == 0


def test_a_store_beside_what_was_freed_touches_nothing_else() -> None:
    host = memory(2 * LARGE, thp="madvise", prefill=True)
    changes.free(host, 0, PMD)
    changes.protect(host, PMD + 16, 16, HostProt.R)
    host.touch(PMD + 3, write=True)
    changes.page_out(host, PMD, PMD)
    assert host.state(PMD + 4) is HostPage.SWAP


def test_a_collapsed_page_is_dirty() -> None:
    host = huge(prefill=True)
    changes.protect(host, 0, 16, HostProt.R)
    changes.protect(host, 0, 16, HostProt.RW)
    changes.free(host, 0, PMD)
    assert changes.collapse(host, 0, PMD) == [(0, PMD)]
    changes.page_out(host, 0, PMD)
    assert host.state(3) is HostPage.SWAP


def test_the_huge_zero_page_is_not_split() -> None:
    host = huge()
    host.touch(3, write=False)
    assert changes.page_out(host, 0, 16) == []
    assert changes.free(host, 0, 16) == [(0, 16)]
    assert host.mapped_pages(0) == PMD


# --- swap and fork -----------------------------------------------------------------------------


def swapped(knobs: str) -> HostMemory:
    host = memory(knobs=knobs, prefill=True)
    changes.page_out(host, 0, 8)
    return host


@pytest.mark.parametrize(("knobs", "writable"), [("v6.12", True), ("v7.2", False)])
def test_a_forked_page_from_swap(knobs: str, writable: bool) -> None:
    host = swapped(knobs)
    changes.fork(host, range(0))
    host.touch(3, write=False)
    assert host.writable(3) is writable


def test_what_the_child_brought_back_is_shared_and_its_neighbours_may_be() -> None:
    host = swapped("v6.12")
    changes.fork(host, range(3, 4))
    assert host.may_choose()
    host.touch(3, write=False)
    assert not host.writable(3)
    host.touch(4, write=False)
    assert host._chooser.others() == [(1,)]


@pytest.mark.parametrize(("knobs", "writable"), [("v6.12", True), ("v7.2", False)])
def test_a_page_that_was_forked_before_it_went(knobs: str, writable: bool) -> None:
    host = memory(knobs=knobs, prefill=True)
    changes.fork(host, range(0))
    changes.page_out(host, 3, 1)
    host.touch(3, write=False)
    assert host.writable(3) is writable


# --- userfaultfd -------------------------------------------------------------------------------


def test_a_hole_that_was_read_is_a_page_of_the_file() -> None:
    host = memory(kind="memfd")
    assert not host.in_cache(3)
    host.touch(3, write=False)
    changes.zap(host, 3, 1)
    assert host.in_cache(3)
    registered(host, Uffd.MISSING)
    assert not host.touch(3, write=False).failed
    assert host.touch(4, write=False).failed
    host.forget(3)
    assert not host.in_cache(3)


def test_what_a_child_stores_to_a_file_is_there() -> None:
    host = memory(kind="shmem")
    assert changes.fork(host, range(3, 4)) == []
    assert (host.in_cache(3), host.in_cache(4)) == (True, False)
    assert host.state(3) is HostPage.NONE


def test_registered_shared_memory_is_mapped_read_only_until_it_is_stored_to() -> None:
    host = memory(kind="shmem", prefill=True)
    registered(host, Uffd.WP)
    assert host.writable(3)
    changes.zap(host, 0, 16)
    host.touch(3, write=False)
    assert not host.writable(3)
    host.touch(4, write=True)
    assert host.writable(4)
    changes.uffd_protect(host, 0, 16, on=True)
    changes.uffd_protect(host, 0, 16, on=False)
    assert not host.writable(4)
    changes.protect(host, 4, 1, HostProt.R)
    changes.protect(host, 4, 1, HostProt.RW)
    assert not host.writable(4)
    host.touch(4, write=True)
    assert host.writable(4)


def test_protection_outlives_the_entry_of_a_file() -> None:
    host = memory(kind="shmem", prefill=True)
    registered(host, Uffd.WP)
    changes.uffd_protect(host, 3, 1, on=True)
    changes.zap(host, 3, 1)
    assert host.touch(3, write=True).failed
    assert not host.touch(3, write=False).failed
    private = memory(prefill=True)
    registered(private, Uffd.WP)
    changes.uffd_protect(private, 3, 1, on=True)
    changes.zap(private, 3, 1)
    assert not private.touch(3, write=True).failed


def test_what_is_let_in_over_a_marker_is_not_protected() -> None:
    steps = (
        sc.SlotAdd(slot=1, gpa=0, size=0x1000, backing=sc.Backing(kind="shmem", prefill=True)),
        sc.UffdRegister(gpa=0, size=0x1000, mode=("wp",)),
        sc.UffdWp(gpa=0, size=0x1000),
        sc.Madvise(gpa=0, size=0x1000),
        sc.UffdContinue(gpa=0, size=0x1000),
        sc.Write(gpa=0, value=1),
    )
    scenario = sc.GuestScenario(schema=1, id="marker", steps=steps)
    for name in ("v6.12", "v7.2", "v7.3"):
        prediction = predict(scenario, PROFILES[name], Environment())
        assert [one.ret for one in prediction.steps[-1].allowed] == [0]


def test_a_marker_goes_with_the_first_fault_that_finds_nobody_waiting() -> None:
    host = memory(kind="shmem", prefill=True)
    registered(host, Uffd.WP)
    changes.uffd_protect(host, 0, 16, on=True)
    changes.zap(host, 0, 16)
    registered(host, Uffd.MISSING)
    host.touch(3, write=False)
    changes.zap(host, 4, 4)
    registered(host, Uffd.WP)
    assert [page for page in range(16) if not host.has_uffd_wp(page)] == [3]
    assert host.writable(3)
    assert host.touch(4, write=True).failed


def test_protection_does_not_hold_what_is_writable_by_then() -> None:
    host = memory(prefill=True)
    registered(host, Uffd.WP)
    changes.uffd_protect(host, 0, 16, on=True)
    registered(host, Uffd.MISSING)
    host.touch(3, write=True)
    registered(host, Uffd.WP)
    assert not host.touch(3, write=True).failed
    changes.page_out(host, 3, 1)
    assert host.touch(3, write=True).failed
    assert host.touch(4, write=True).failed


def test_what_mprotect_made_read_only_stays_that_when_protection_is_lifted() -> None:
    host = memory(prefill=True)
    changes.protect(host, 3, 1, HostProt.R)
    registered(host, Uffd.WP)
    changes.uffd_protect(host, 0, 16, on=False)
    assert [page for page in range(16) if not host.writable(page)] == [3]
    changes.protect(host, 3, 1, HostProt.RW)
    assert host.writable(3)


def test_a_huge_page_that_a_fork_protected_stays_read_only_until_a_store() -> None:
    host = huge(prefill=True)
    changes.fork(host, range(1))
    for prot in (HostProt.R, HostProt.RW):
        changes.protect(host, 0, PMD, prot)
    assert not host.writable(0)
    host.touch(0, write=True)
    for prot in (HostProt.R, HostProt.RW):
        changes.protect(host, 0, PMD, prot)
    assert host.writable(0)


def test_a_copy_is_not_protected() -> None:
    host = memory(kind="zero")
    registered(host, Uffd.WP)
    changes.uffd_protect(host, 0, 16, on=True)
    registered(host, Uffd.MISSING)
    host.touch(3, write=True)
    assert not host.has_uffd_wp(3)


def test_protection_outlives_swap() -> None:
    host = memory(prefill=True)
    registered(host, Uffd.WP)
    changes.page_out(host, 3, 1)
    changes.uffd_protect(host, 3, 1, on=True)
    assert host.touch(3, write=True).failed
    assert host.state(3) is HostPage.ANON
    assert not host.writable(3)
    changes.uffd_protect(host, 4, 1, on=True)
    changes.page_out(host, 4, 2)
    assert host.touch(4, write=True).failed
    assert not host.touch(5, write=True).failed


def test_mprotect_does_not_lift_the_protection_of_userfaultfd() -> None:
    host = memory(prefill=True)
    registered(host, Uffd.WP)
    changes.uffd_protect(host, 3, 1, on=True)
    changes.protect(host, 3, 2, HostProt.R)
    changes.protect(host, 3, 2, HostProt.RW)
    assert (host.writable(3), host.writable(4)) == (False, True)


def test_a_page_copied_into_read_only_memory_is_read_only() -> None:
    host = memory()
    changes.protect(host, 3, 1, HostProt.R)
    host.fill(3, 7)
    assert not host.writable(3)
    assert host.read(0x3000, 8) == 7
