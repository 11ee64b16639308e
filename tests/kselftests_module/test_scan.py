# SPDX-License-Identifier: GPL-2.0-only
"""What the module reads in tables, against a plain reading of the same tables in Python."""

from __future__ import annotations

import ctypes
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kselftests_module.host_scan import FWB, LPA2, Scanner, build

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc for this machine")

VALID, TABLE, AF, SH = 1, 2, 1 << 10, 3 << 8
PROTS = {"r": 1 << 6, "w": 1 << 7}
XN = 2 << 53

#: (page shift, IPA bits, start level, pages of the root, host facts)
SHAPES = [
    (12, 40, 1, 2, 0),
    (12, 36, 1, 1, FWB),
    (12, 34, 2, 16, 0),
    (12, 48, 0, 1, FWB),
    (12, 52, 0, 16, FWB | LPA2),
    (14, 47, 1, 1, LPA2),
    (14, 40, 2, 16, 0),
    (16, 42, 2, 1, FWB),
    (16, 52, 1, 1, 0),
]


Memory = ctypes.Array[ctypes.c_uint64]
What = tuple[Any, ...]


class Table:
    """A table under test: pages in memory, and by IPA what was put there."""

    def __init__(self, scanner: Scanner, shape: tuple[int, int, int, int, int]) -> None:
        self.scanner = scanner
        self.page_shift, self.ia_bits, self.start, self.root_pages, self.host = shape
        self.entries = scanner.entries
        self.root, self.root_at = scanner.pages(self.root_pages)
        self.counted = {self.root_at + (i << self.page_shift): 0 for i in range(self.root_pages)}
        for address in self.counted:
            scanner.refs(address, 1)
        self.children: dict[tuple[int, int], tuple[Memory, int]] = {}
        self.tables = 0
        #: (level, IPA) of each entry that is no table: its descriptor.
        self.found: dict[tuple[int, int], int] = {}
        scanner.begin(self.root_at, self.ia_bits, self.start, self.host)

    def shift(self, level: int) -> int:
        return (self.page_shift - 3) * (4 - level) + 3

    def put(self, level: int, ipa: int, desc: int) -> None:
        """Store an entry of a level, and the tables it takes to get there."""
        array, at, index = self._walk(level, ipa)
        old, array[index] = array[index], desc
        page = (at + 8 * index) >> self.page_shift << self.page_shift
        self.counted[page] += bool(desc) - bool(old)
        self.scanner.refs(page, self.counted[page] + 1)
        self.found.pop((level, ipa), None)
        if desc:
            self.found[level, ipa] = desc

    def _walk(self, level: int, ipa: int) -> tuple[Memory, int, int]:
        array, at = self.root, self.root_at
        index = ipa >> self.shift(self.start)
        for current in range(self.start, level):
            key = (current, ipa >> self.shift(current))
            if key not in self.children:
                child, address = self.scanner.pages(1)
                self.children[key] = (child, address)
                self.counted[address] = 0
                self.scanner.refs(address, 1)
                array[index] = self.address(address) | VALID | TABLE
                page = (at + 8 * index) >> self.page_shift << self.page_shift
                self.counted[page] += 1
                self.scanner.refs(page, self.counted[page] + 1)
                self.tables += 1
            array, at = self.children[key]
            index = (ipa >> self.shift(current + 1)) % self.entries
        return array, at, index

    def has_table(self, level: int, ipa: int) -> bool:
        """Whether a table hangs at the entry, or an entry above it is no table."""
        if (level, ipa >> self.shift(level)) in self.children:
            return True
        return any(
            (above, ipa >> self.shift(above) << self.shift(above)) in self.found
            for above in range(self.start, level)
        )

    def address(self, pa: int) -> int:
        """The bits of a descriptor that hold an output address."""
        if self.host & LPA2:
            return (pa & (1 << 50) - 1) | (pa >> 50 & 3) << 8
        low = pa & (1 << 48) - 1
        return low | (pa >> 48) << 12 if self.page_shift == 16 else low

    def leaf(self, level: int, pa: int, prot: str, sw: int, young: bool, attr: str) -> int:
        """A descriptor as the kernel makes it."""
        normal = 6 if self.host & FWB else 15
        desc = self.address(pa) | VALID | (TABLE if level == 3 else 0) | sw << 55
        desc |= sum(bit for letter, bit in PROTS.items() if letter in prot)
        desc |= 0 if "x" in prot else XN
        desc |= AF if young else 0
        desc |= {"normal": normal, "nc": 5, "device": 1}[attr] << 2
        return desc | (0 if self.host & LPA2 else SH)


def runs_of(entries: list[tuple[int, int, What]]) -> list[tuple[int, int, What, int]]:
    """(ipa, size, what) in ascending order of IPA as maximal runs; PA is the first of what."""
    out: list[list[Any]] = []
    for ipa, size, what in entries:
        if out:
            start, length, first, count = out[-1]
            pa = first[0] + count * length if isinstance(first[0], int) else first[0]
            if (ipa, size, (pa, *what[1:])) == (start + count * length, length, what) and (
                first[1:] == what[1:]
            ):
                out[-1][3] += 1
                continue
        out.append([ipa, size, what, 1])
    return [(ipa, size, what, count) for ipa, size, what, count in out]


@pytest.fixture(scope="module")
def scanners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Scanner]]:
    folder: Path = tmp_path_factory.mktemp("scan")
    yield {shift: build(folder, shift) for shift in (12, 14, 16)}


def play(table: Table, draw: random.Random, steps: int) -> int:
    """Random stores in a few neighbourhoods, each looked at as one step's doing.

    Returns how many leaves were there to be read, over all steps.
    """
    scanner = table.scanner
    seen = 0
    leaves: dict[tuple[int, int], What] = {}
    before: list[list[Any]] = [[], []]
    lowest = max(table.start, 1 if table.page_shift == 12 else 2)
    limit = 1 << table.ia_bits
    bases = [0, limit >> 1, limit - (4 << table.shift(lowest))]
    for number in range(steps):
        level = draw.choice([lowest, 2, 3, 3, 3])
        size = 1 << table.shift(level)
        ipa = max(0, draw.choice(bases)) // size * size + draw.randrange(12) * size
        count = draw.choice([1, 1, 2, 5])
        base = draw.randrange(8) * size + draw.choice([0, (1 << 48) - 2 * size])
        kind = (draw.choice(["rw", "r", "rwx", ""]), draw.choice([0, 0, 5]), draw.random() < 0.8)
        attr = draw.choice(["normal", "normal", "nc", "device"])
        what = draw.choice(["leaf", "leaf", "leaf", "hole", "note"])
        for i in range(count):
            at = ipa + i * size
            if at >= limit or table.has_table(level, at):
                continue
            leaves.pop((level, at), None)
            if what == "leaf":
                pa = base + i * size
                if not table.host & LPA2 and table.page_shift != 16:
                    pa &= (1 << 48) - 1
                table.put(level, at, table.leaf(level, pa, *kind, attr))
                leaves[level, at] = (pa, *kind, attr)
            else:
                table.put(level, at, 0 if what == "hole" else 1 << 60 | 16)
        scanner.step(ipa, count * size, everything=number % 7 == 6)
        check(table, leaves, before)
        seen += len(leaves)
    return seen


def check(table: Table, leaves: dict[tuple[int, int], What], before: list[list[Any]]) -> None:
    scanner = table.scanner
    ordered = sorted((ipa, 1 << table.shift(level), what) for (level, ipa), what in leaves.items())
    wanted = [
        (ipa, size, pa, prot, sw, young, attr, count)
        for ipa, size, (pa, prot, sw, young, attr), count in runs_of(ordered)
    ]
    assert scanner.leaves() == wanted
    notes = sorted(
        (ipa, 1 << table.shift(level), ("note", desc))
        for (level, ipa), desc in table.found.items()
        if not desc & VALID
    )
    assert scanner.annotations() == [
        (ipa, size, value, count) for ipa, size, (_, value), count in runs_of(notes)
    ]
    assert scanner.tables() == table.tables
    assert scanner.bad() == []
    now: list[list[Any]] = [scanner.leaves(), scanner.annotations()]
    for (head, tail, between), old, new in zip(scanner.deltas(), before, now, strict=True):
        assert head + between + tail == len(new)
        assert new[:head] == old[:head]
        assert new[len(new) - tail :] == old[len(old) - tail :]
    before[:] = now


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape[:2])))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32))
def test_every_step_is_read_in_full(
    scanners: dict[int, Scanner], shape: tuple[int, int, int, int, int], seed: int
) -> None:
    table = Table(scanners[shape[0]], shape)
    try:
        assert play(table, random.Random(seed), 30), "nothing was mapped"
    finally:
        table.scanner.end()


@pytest.fixture
def table(scanners: dict[int, Scanner]) -> Iterator[Table]:
    made = Table(scanners[12], SHAPES[0])
    yield made
    made.scanner.end()


def test_a_count_that_is_wrong(table: Table) -> None:
    table.put(3, 0x1000, table.leaf(3, 0, "r", 0, True, "normal"))
    child = table.children[2, 0][1]
    table.scanner.refs(child, 7)
    table.scanner.step(0x1000, 0x1000, everything=False)
    assert table.scanner.bad() == [(0, 3, 7, 2)]
    table.scanner.refs(table.root_at + 4096, 3)
    table.scanner.step(0, 0, everything=False)
    assert table.scanner.bad() == [(0, 3, 7, 2), (1 << 39, 1, 3, 1)]


def test_a_table_that_nothing_leads_to(table: Table) -> None:
    _, lost = table.scanner.pages(1)
    table.scanner.refs(lost, 4)
    table.scanner.step(0, 0x1000, everything=False)
    assert table.scanner.bad() == [(0, 9, 4, 0)]


FAR = 1 << 38


def change_elsewhere(table: Table) -> None:
    """A leaf far away loses W; a step near 0 is looked at before and after."""
    table.put(3, FAR, table.leaf(3, 0, "rw", 0, True, "normal"))
    table.scanner.step(FAR, 0x1000, everything=False)
    table.put(3, FAR, table.leaf(3, 0, "r", 0, True, "normal"))
    table.scanner.step(0, 0x1000, everything=False)
    assert [run[3] for run in table.scanner.leaves()] == ["rw"]


def test_what_a_step_does_elsewhere_is_found_at_last(table: Table) -> None:
    change_elsewhere(table)
    table.scanner.step(0, 0x1000, everything=True)
    assert [run[3] for run in table.scanner.leaves()] == ["r"]


def test_everything_is_read_now_and_then_unasked(table: Table) -> None:
    change_elsewhere(table)
    for _ in range(64):
        table.scanner.step(0, 0x1000, everything=False)
    assert [run[3] for run in table.scanner.leaves()] == ["r"]


def test_an_entry_of_the_root_elsewhere_shows_in_the_count_at_once(table: Table) -> None:
    table.scanner.step(0, 0x1000, everything=False)
    table.put(1, FAR, table.leaf(1, 0, "rw", 0, True, "normal"))
    table.scanner.step(0, 0x1000, everything=False)
    assert [run[0] for run in table.scanner.leaves()] == [FAR]
    assert table.scanner.bad() == []


@pytest.mark.parametrize(
    "bits",
    [
        pytest.param(1 << 11, id="bit 11"),
        pytest.param(1 << 50, id="bit 50"),
        pytest.param(1 << 59, id="bit 59"),
        pytest.param(1 << 53, id="XN for EL1 or EL0 alone"),
        pytest.param(2 << 8, id="outer shareable"),
    ],
)
def test_bits_that_the_kernel_never_sets(table: Table, bits: int) -> None:
    plain = table.leaf(3, 0, "rx", 0, True, "normal")
    wrong = (plain & ~SH if bits == 2 << 8 else plain) | bits
    table.put(3, 0, plain)
    table.put(3, 0x1000, wrong | 0x1000)
    table.scanner.step(0, 0x2000, everything=False)
    assert [(run[0], run[6]) for run in table.scanner.leaves()] == [
        (0, "normal"),
        (0x1000, "other"),
    ]


def test_without_callbacks_an_invalid_entry_means_nothing(tmp_path: Path) -> None:
    made = Table(build(tmp_path, 12, mm_ops=False), SHAPES[0])
    made.put(3, 0, made.leaf(3, 0x1000, "r", 0, True, "normal"))
    made.put(3, 0x1000, made.leaf(3, 0x2000, "r", 0, True, "normal") & ~VALID)
    made.scanner.refs(made.children[2, 0][1], 2)
    made.scanner.step(0, 0x2000, everything=False)
    assert made.scanner.annotations() == []
    assert made.scanner.bad() == []
    assert len(made.scanner.leaves()) == 1
    made.scanner.end()
