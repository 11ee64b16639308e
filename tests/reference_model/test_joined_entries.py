# SPDX-License-Identifier: GPL-2.0-only
"""Entries of a huge page that are joined, and what MADV_FREE and MADV_PAGEOUT make of it."""

from __future__ import annotations

import pytest

from reference_model import host_changes as changes
from reference_model import scenario as sc
from reference_model.choice import Chooser
from reference_model.fault_knobs import FAULT_KNOBS
from reference_model.memory import HostMemory, HostPage, HostProt
from tests.reference_model.hosts import PMD, huge, memory

#: CONT_PTES with 4K pages.
CONT = 16


def _touched(knobs: str = "v6.12") -> HostMemory:
    host = huge(knobs)
    host.touch(0, write=True)
    host.write(0, 8, 1)
    return host


def _twice(host: HostMemory, first: int, count: int, prot: HostProt = HostProt.R) -> None:
    changes.protect(host, first, count, prot)
    changes.protect(host, first, count, HostProt.RW)


def _stays_whole(host: HostMemory) -> bool:
    """Reclaim of all of it writes a page of zeroes to swap, and makes no zero page of it."""
    changes.page_out(host, 0, PMD)
    assert host.state(0) is HostPage.SWAP
    assert host.state(1) in (HostPage.SWAP, HostPage.ZERO)
    return host.state(1) is HostPage.SWAP


@pytest.mark.parametrize("prot", [HostProt.R, HostProt.NONE])
@pytest.mark.parametrize("knobs", ["v6.12", "v7.2"])
@pytest.mark.parametrize(
    ("first", "count", "whole"),
    [
        (5, 1, False),
        (CONT - 1, 1, True),
        (CONT, CONT, True),
        (0, 4 * CONT, True),
        (CONT, CONT + 1, False),
    ],
)
def test_what_is_written_alike_in_whole_groups_stays_joined(
    knobs: str, prot: HostProt, first: int, count: int, whole: bool
) -> None:
    host = _touched(knobs)
    _twice(host, first, count, prot)
    assert _stays_whole(host) is whole


@pytest.mark.parametrize(("knobs", "whole"), [("v6.12", True), ("v7.2", False)])
def test_the_end_of_a_group_is_joined_where_it_is_written_one_by_one(
    knobs: str, whole: bool
) -> None:
    host = _touched(knobs)
    _twice(host, CONT - 4, 4)
    assert _stays_whole(host) is whole


def test_writing_the_group_again_joins_it_again() -> None:
    host = _touched()
    _twice(host, 5, 1)
    _twice(host, CONT - 1, 1)
    assert _stays_whole(host)


def test_where_none_is_joined_the_huge_page_is_seen_whole() -> None:
    host = _touched()
    for group in range(0, PMD, CONT):
        _twice(host, group, 1)
    assert _stays_whole(host)


@pytest.mark.parametrize("knobs", ["v5.10", "v6.1"])
def test_older_kernels_join_nothing_and_split_what_small_entries_map(knobs: str) -> None:
    host = _touched(knobs)
    _twice(host, 5, 1)
    assert _stays_whole(host)


@pytest.mark.parametrize(("knobs", "whole"), [("v6.1", True), ("v6.12", False), ("v7.2", True)])
def test_a_store_behind_madv_free_has_reclaim_put_entries_back(knobs: str, whole: bool) -> None:
    host = _touched(knobs)
    changes.free(host, 0, PMD)
    host.soil(7)
    assert not host.is_lazy(0)
    assert _stays_whole(host) is whole


def test_madv_free_splits_what_is_joined_in_part() -> None:
    host = _touched()
    _twice(host, 5, 1)
    changes.free(host, 0, PMD)
    assert host.parts(0) == []
    assert (host.state(0), host.state(1)) == (HostPage.ANON, HostPage.ZERO)


def test_a_huge_page_that_comes_anew_is_joined_everywhere() -> None:
    host = _touched()
    _twice(host, 5, 1)
    changes.dontneed(host, 0, PMD)
    fresh = memory(0x20_0000, "v7.2", thp="always", prefill=True)
    _twice(fresh, 5, 1)
    assert not fresh.looks_whole(0)

    changes.collapse(fresh, 0, PMD)
    changes.protect(fresh, PMD // 2, PMD // 2, HostProt.R)
    assert fresh.looks_whole(0)


@pytest.mark.parametrize(("shift", "whole"), [(12, True), (14, False)])
def test_swap_holds_huge_pages_of_4k_pages_alone(shift: int, whole: bool) -> None:
    size = 1 << (2 * shift - 3)
    backing = sc.Backing(kind="anon", thp="always")
    host = HostMemory(size, shift, backing, FAULT_KNOBS["v6.12"], Chooser())
    host.touch(0, write=True)
    host.write(0, 8, 1)
    changes.page_out(host, 0, size >> shift)
    assert host.state(0) is HostPage.SWAP
    assert host.state(1) is (HostPage.SWAP if whole else HostPage.ZERO)
