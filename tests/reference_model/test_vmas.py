# SPDX-License-Identifier: GPL-2.0-only
"""VMAs: which meet and are one, which stay apart, and which a fork copies."""

from __future__ import annotations

import pytest

from reference_model import host_changes as changes
from reference_model import predict
from reference_model import scenario as sc
from reference_model.guest_machine import UnpredictableError
from reference_model.memory import Advice, HostMemory, HostProt, Uffd
from reference_model.profiles import PROFILES, Environment
from tests.reference_model.hosts import LARGE, memory


def _registered(host: HostMemory, first: int, count: int, apart: int | None = None) -> None:
    pages = range(first, first + count)
    changes.retag(host, pages, lambda page: host.set_uffd(page, Uffd.MISSING), apart)


def test_equal_flags_that_meet_are_one_vma() -> None:
    host = memory(kind="memfd")
    _registered(host, 8, 4)
    _registered(host, 4, 4)
    assert host.vma(5) == (4, 12)


def test_what_was_left_apart_stays_so_until_flags_change_beside_it() -> None:
    host = memory(kind="memfd")
    _registered(host, 8, 4)
    _registered(host, 4, 4, apart=8)
    assert (host.vma(5), host.vma(9)) == ((4, 8), (8, 12))
    changes.protect(host, 5, 1, HostProt.R)
    changes.protect(host, 5, 1, HostProt.RW)
    assert host.vma(5) == (4, 8)
    changes.protect(host, 7, 1, HostProt.R)
    changes.protect(host, 7, 1, HostProt.RW)
    assert host.vma(5) == (4, 12)


def test_two_anon_vmas_do_not_merge() -> None:
    host = memory()
    _registered(host, 8, 8)
    host.touch(0, write=True)
    host.fill(8, 7)
    _registered(host, 0, 8)
    assert host.vma(0) == (0, 8)


def test_a_vma_without_an_anon_vma_takes_the_one_beside_it() -> None:
    host = memory()
    _registered(host, 0, 8)
    host.fill(0, 7)
    _registered(host, 8, 8)
    assert host.vma(0) == (0, 16)
    assert host.has_anon(12)


@pytest.mark.parametrize(("profile", "first"), [("v6.12", (0, 8)), ("v7.2", (0, 16))])
def test_an_anon_vma_goes_to_a_vma_without_one_from_7_2_on(
    profile: str, first: tuple[int, int]
) -> None:
    host = memory(knobs=profile)
    _registered(host, 8, 8)
    host.touch(0, write=True)
    _registered(host, 0, 8)
    assert host.vma(0) == first
    assert host.has_anon(12) == (first == (0, 16))


def test_neighbours_that_differ_by_access_share_an_anon_vma() -> None:
    host = memory()
    changes.protect(host, 8, 8, HostProt.R)
    host.touch(0, write=True)
    changes.protect(host, 8, 8, HostProt.RW)
    assert host.vma(0) == (0, 16)


def test_a_fork_copies_vmas_with_an_anon_vma() -> None:
    host = memory()
    host.touch(0, write=False)
    _registered(host, 8, 8)
    assert changes.fork(host, range(0)) == []
    host.fill(8, 7)
    assert changes.fork(host, range(0)) == [(8, 8)]


def test_hugetlb_vmas_never_meet_again() -> None:
    host = memory(2 * LARGE, kind="hugetlb", page_size=LARGE)
    changes.protect(host, 0, 512, HostProt.R)
    changes.protect(host, 0, 512, HostProt.RW)
    assert host.vma(0) == (0, 512)


@pytest.mark.parametrize("op", [sc.Madvise, sc.PunchHole])
def test_a_range_that_leaves_its_slot_is_refused_aligned_or_not(
    op: type[sc.Madvise | sc.PunchHole],
) -> None:
    """With 16K pages 0x8000f000 is inside a page: the runtime refuses the range all the same."""
    slot = sc.SlotAdd(slot=1, gpa=0x8000_0000, size=0x1_0000, backing=sc.Backing(kind="memfd"))
    scenario = sc.GuestScenario(schema=1, id="t", steps=(slot, op(gpa=0x8000_F000, size=0x8000)))
    for env in (Environment(), Environment(page_shift=14)):
        with pytest.raises(UnpredictableError, match="leaves its slot"):
            predict(scenario, PROFILES["v6.12"], env)


def test_fresh_memory_has_not_the_advice_of_what_was_there() -> None:
    host = memory(prefill=True)
    changes.retag(host, range(16), lambda page: host.set_advice(page, Advice.HUGE))
    changes.remap(host, 12, 4)
    assert host.vma(0) == (0, 12)
    assert not host.has_anon(12)


@pytest.mark.parametrize(
    "failing",
    [
        sc.Mprotect(gpa=LARGE, size=LARGE // 2, prot="r"),
        sc.Madvise(gpa=LARGE, size=LARGE // 2, advice="nohugepage"),
        sc.Remap(gpa=LARGE, size=LARGE // 2, to="none"),
    ],
)
def test_what_fails_at_its_end_has_split_at_its_beginning(failing: sc.GuestOp) -> None:
    backing = sc.Backing(kind="hugetlb", page_size=LARGE, prefill=True)
    steps = (
        sc.SlotAdd(slot=1, gpa=0, size=2 * LARGE, backing=backing),
        failing,
        sc.Mprotect(gpa=0, size=LARGE + LARGE // 2, prot="r"),
        sc.Write(gpa=0, value=1),
    )
    scenario = sc.GuestScenario(schema=1, id="half", steps=steps)
    for name in ("v5.10", "v6.1", "v6.12", "v7.2", "v7.3"):
        prediction = predict(scenario, PROFILES[name], Environment())
        assert [step.allowed[0].ret for step in prediction.steps[1:]] == [-22, -22, -14]
