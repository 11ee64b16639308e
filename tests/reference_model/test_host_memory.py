# SPDX-License-Identifier: GPL-2.0-only
"""The host's side: what faults, advice, protection, fork and swap make of its page tables."""

from __future__ import annotations

import pytest

from reference_model import host_changes as changes
from reference_model.choice import Chooser
from reference_model.memory import HostPage, HostProt, prefill_word
from tests.reference_model.hosts import LARGE, PMD, huge, memory


def test_a_read_maps_the_zero_page_and_a_write_copies_it() -> None:
    host = memory()
    assert host.touch(3, write=False).invalidated == ()
    assert host.state(3) is HostPage.ZERO
    assert not host.writable(3)
    touched = host.touch(3, write=True)
    assert (touched.invalidated, touched.copied) == (((3, 1),), 3)
    assert host.writable(3)


def test_a_file_page_is_writable_at_once_and_keeps_its_content() -> None:
    host = memory(kind="memfd", prefill=True)
    host.write(0x3000, 8, 0x55)
    changes.zap(host, 3, 1)
    assert host.state(3) is HostPage.NONE
    host.touch(3, write=False)
    assert host.writable(3)
    assert host.read(0x3000, 8) == 0x55
    host.forget(3)
    assert host.read(0x3000, 8) == 0


def test_a_read_only_file_takes_no_write() -> None:
    host = memory(kind="file_ro")
    assert host.read(0x3000, 8) == prefill_word(3)
    assert host.touch(3, write=True).failed
    assert not host.touch(3, write=False).failed


def test_huge_memory_reaches_out_to_its_blocks() -> None:
    host = huge(prefill=True, offset=0x1_0000)
    assert host.extent() == (-16, 1024)
    assert host.mapped_pages(0) == PMD
    assert host.mapped_pages(511) == PMD


@pytest.mark.parametrize(("knobs", "pages"), [("v6.12", 1), ("v7.2", PMD)])
def test_a_write_to_the_huge_zero_page(knobs: str, pages: int) -> None:
    host = huge(knobs)
    host.touch(3, write=False)
    assert host.mapped_pages(3) == PMD
    touched = host.touch(3, write=True)
    assert (0, PMD) in touched.invalidated
    assert host.mapped_pages(3) == pages


@pytest.mark.parametrize(("knobs", "pages"), [("v6.12", 1), ("v7.2", PMD)])
def test_a_table_of_pages_keeps_huge_pages_away_until_it_is_freed(knobs: str, pages: int) -> None:
    host = huge(knobs, prefill=True)
    assert changes.dontneed(host, 5, 1) == [(5, 1), (0, PMD)]
    assert host.mapped_pages(6) == 1
    changes.dontneed(host, 0, PMD)
    host.touch(6, write=True)
    assert host.mapped_pages(6) == pages


def test_new_flags_split_a_vma_and_take_the_block_around_its_edges() -> None:
    host = huge(prefill=True)
    assert changes.protect(host, 16, 16, HostProt.R) == [(0, PMD), (16, 16)]
    # The VMA that is left behind page 32 does not hold the block as a whole any more.
    assert changes.protect(host, 100, 4, HostProt.R) == [(100, 4)]
    assert changes.protect(host, 100, 4, HostProt.R) == []


def test_small_memory_has_no_block_to_take() -> None:
    host = memory(prefill=True)
    assert changes.protect(host, 3, 2, HostProt.NONE) == [(3, 2)]
    assert host.touch(3, write=False).failed


@pytest.mark.parametrize(("knobs", "writable"), [("v5.10", False), ("v6.1", True)])
def test_protection_that_is_lifted(knobs: str, writable: bool) -> None:
    host = memory(knobs=knobs, prefill=True)
    changes.protect(host, 3, 1, HostProt.R)
    changes.protect(host, 3, 1, HostProt.RW)
    assert host.writable(3) is writable


def test_fork_takes_everything_that_was_written() -> None:
    assert changes.fork(memory(), range(0)) == []
    assert changes.fork(memory(kind="shmem", prefill=True), range(0)) == []
    host = memory(prefill=True)
    assert changes.fork(host, range(0)) == [(0, 16)]
    assert not host.writable(3)


def test_a_child_that_split_a_huge_page_hides_it_from_5_10() -> None:
    for knobs, pages in (("v5.10", 1), ("v6.1", PMD)):
        host = huge(knobs, prefill=True)
        changes.fork(host, range(3, 4))
        assert host.mapped_pages(0) == pages


def test_a_write_after_a_fork_can_go_two_ways() -> None:
    host = memory(prefill=True)
    changes.fork(host, range(0))
    assert host.may_choose()
    host.touch(3, write=True)
    chooser = host._chooser
    assert chooser.others() == [(1,)]
    host = memory(prefill=True)
    changes.fork(host, range(0))
    host._chooser.start((1,))
    assert host.touch(3, write=True).copied == 3


@pytest.mark.parametrize(("knobs", "writable"), [("v6.1", False), ("v6.12", True)])
def test_swap_and_back(knobs: str, writable: bool) -> None:
    host = memory(knobs=knobs, prefill=True)
    assert changes.page_out(host, 3, 2) == [(3, 1), (4, 1)]
    assert host.state(3) is HostPage.SWAP
    host.touch(3, write=False)
    assert host.writable(3) is writable
    assert host.read(0x3000, 8) == prefill_word(3)


def test_the_zero_page_does_not_go_to_swap() -> None:
    assert changes.page_out(memory(kind="zero"), 0, 16) == []


def test_collapse_wants_a_block_of_writable_pages() -> None:
    host = huge(prefill=True)
    changes.dontneed(host, 5, 1)
    assert changes.collapse(host, 0, PMD) is None
    host.touch(5, write=True)
    assert changes.collapse(host, 0, PMD) == [(0, PMD)]
    assert host.mapped_pages(5) == PMD
    assert changes.collapse(host, 1, PMD - 1) == []


def test_a_private_hugetlb_page_is_writable_from_its_first_write_on() -> None:
    host = memory(LARGE, kind="hugetlb", page_size=LARGE)
    host.touch(3, write=False)
    assert host.mapped_pages(3) == PMD
    assert not host.writable(3)
    assert host.touch(3, write=True).invalidated == ()
    assert host.writable(500)


def test_a_copy_goes_its_own_way() -> None:
    host = memory(prefill=True)
    host.write(0, 8, 1)
    other = host.copied(Chooser())
    other.write(0, 8, 2)
    changes.zap(other, 4, 1)
    assert host.read(0, 8) == 1
    assert host.state(4) is HostPage.ANON
    assert host.fingerprint() != other.fingerprint()
