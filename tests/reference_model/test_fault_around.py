# SPDX-License-Identifier: GPL-2.0-only
"""What a read fault on a file's page maps beside it (do_fault_around)."""

from __future__ import annotations

from typing import Any

from reference_model import host_changes as changes
from reference_model.memory import HostMemory, HostPage, HostProt, Uffd
from tests.reference_model.hosts import SMALL, memory


def _unmapped(size: int = SMALL, **backing: Any) -> HostMemory:
    host = memory(size, kind="memfd", prefill=True, **backing)
    changes.zap(host, 0, host.pages)
    return host


def _mapped(host: HostMemory) -> list[int]:
    return [page for page in range(host.pages) if host.state(page) is HostPage.FILE]


def test_a_read_maps_64k_that_begin_at_a_multiple() -> None:
    host = _unmapped(4 * SMALL)
    host.touch(19, write=False)
    assert _mapped(host) == list(range(16, 32))


def test_the_multiple_is_that_of_the_host_address() -> None:
    host = _unmapped(offset=0x3000)
    host.touch(0, write=False)
    assert _mapped(host) == list(range(13))


def test_a_store_maps_its_page_alone() -> None:
    host = _unmapped()
    host.touch(3, write=True)
    assert _mapped(host) == [3]


def test_another_vma_is_left_alone() -> None:
    host = _unmapped()
    for page in (2, 6):
        host.set_prot(page, HostProt.R)
    host.touch(4, write=False)
    assert _mapped(host) == [3, 4, 5]


def test_no_page_that_userfaultfd_waits_for() -> None:
    host = _unmapped()
    for page in range(host.pages):
        host.set_uffd(page, Uffd.MINOR)
    assert host.touch(3, write=False).failed
    assert _mapped(host) == []


def test_what_is_missing_waits_and_its_neighbours_are_mapped() -> None:
    host = _unmapped()
    host.forget(3)
    for page in range(host.pages):
        host.set_uffd(page, Uffd.MISSING)
    assert host.touch(3, write=False).failed
    assert _mapped(host) == [page for page in range(16) if page != 3]


def test_no_hole_and_nothing_from_swap() -> None:
    host = memory(kind="memfd", prefill=True)
    host.forget(1)
    changes.page_out(host, 2, 1)
    changes.zap(host, 0, host.pages)
    host.touch(0, write=False)
    assert _mapped(host)[:3] == [0, 3, 4]
    # From swap it comes back as dirty: reclaim keeps it the next time too.
    host.touch(2, write=False)
    changes.page_out(host, 2, 1)
    assert host.in_cache(2)
