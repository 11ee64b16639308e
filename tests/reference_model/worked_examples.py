# SPDX-License-Identifier: GPL-2.0-only
"""The worked examples of the semantics, as they were executed: FWB and range TLBI on, 4K pages,
40-bit IPA, leaves named by page number in hex, PA = 0x40000000 + IPA.

A leaf is written ``3w``: page 3, RW; ``3r``: R; ``3wx``, ``3rx``: with execution; ``s1``: with
software bits 1; ``B2@200w``: a 2M block at page 0x200; ``B1@0w``: a 1G block; ``3+w``: at an
output one page further than its IPA says; ``1fe-200w``: each page of the range.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from reference_model.outcome import LeafRun, Observation
from reference_model.scenario import Map, MkOld, PgtableOp

BASE = 0x4000_0000
PAGE = 0x1000
_SIZES = {"": PAGE, "B2@": 1 << 21, "B1@": 1 << 30}
_LEAF = re.compile(r"^(B[12]@)?([0-9a-f]+)(?:-([0-9a-f]+))?(\+?)([wr]?x?)(?:s([0-9a-f]))?$")

#: Column of the table → (profile, walk flags).
COLUMNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "5.10": ("v5.10", ()),
    "6.1": ("v6.1", ()),
    "seed": ("seed-2021", ()),
    "6.12": ("v6.12", ()),
    "6.12-HF": ("v6.12", ("handle_fault", "shared")),
    "7.2": ("v7.2", ()),
    "7.2-SHARED": ("v7.2", ("shared",)),
    "7.2-IG": ("v7.2", ("ignore_eagain",)),
}


class Outcome(NamedTuple):
    """What one column says: return value, leaves, and TLB invalidations by kind."""

    ret: int
    leaves: str
    ipa: int = 0
    vmid: int = 0
    range: int = 0
    alloc: int | None = None


class Example(NamedTuple):
    """One row: what is there, what is mapped over it, and the outcome per column."""

    name: str
    prior: str
    op: Map
    outcomes: dict[str, Outcome]
    aged: bool = False


def pages(text: str, prot: str, pa: int | None = None, sw: int = 0) -> Map:
    """``map(pages, prot)`` of the table: ``0-1ff`` or ``3``."""
    first, _, last = text.partition("-")
    low, high = int(first, 16), int(last or first, 16)
    size = (high - low + 1) * PAGE
    return Map(
        ipa=low * PAGE, size=size, pa=BASE + low * PAGE if pa is None else pa, prot=prot, sw=sw
    )


def leaves(text: str) -> list[tuple[int, int, int, str, int]]:
    """(ipa, size, pa, prot, sw) of each leaf that the text names, ascending."""
    out = []
    for word in text.split():
        match = _LEAF.match(word)
        assert match, word
        block, first, last, moved, prot, sw = match.groups()
        size = _SIZES[block or ""]
        letters = prot.replace("w", "rw")
        for ipa in range(int(first, 16) * PAGE, int(last or first, 16) * PAGE + 1, size):
            pa = BASE + ipa + (PAGE if moved else 0)
            out.append((ipa, size, pa, letters, int(sw or "0", 16)))
    return sorted(out)


def expanded(runs: tuple[LeafRun, ...]) -> list[tuple[int, int, int, str, int]]:
    """The runs of an observation in the form of :func:`leaves`; all must be young and Normal."""
    out = []
    for ipa, size, pa, prot, sw, af, attr, count in runs:
        assert af and attr == "normal"
        out += [(ipa + n * size, size, pa + n * size, prot, sw) for n in range(count)]
    return out


def build(text: str) -> list[PgtableOp]:
    """Operations that make the leaves of ``text`` in an empty table."""
    return [
        Map(ipa=ipa, size=size, pa=pa, prot=prot, sw=sw) for ipa, size, pa, prot, sw in leaves(text)
    ]


def program(example: Example, column: str) -> list[PgtableOp]:
    """The prior state, then the operation with the column's flags; v5.10 without SW bits."""
    profile, flags = COLUMNS[column]
    steps = build(example.prior)
    if example.aged:
        steps.append(MkOld(ipa=0, size=PAGE))
    steps.append(
        Map(
            ipa=example.op.ipa,
            size=example.op.size,
            pa=example.op.pa,
            prot=example.op.prot,
            sw=example.op.sw,
            memcache=example.op.memcache,
            flags=flags,  # type: ignore[arg-type]
        )
    )
    if profile == "v5.10":
        steps = [_without_sw(step) for step in steps]
    return steps


def _without_sw(step: PgtableOp) -> PgtableOp:
    if not isinstance(step, Map) or not step.sw:
        return step
    return Map(ipa=step.ipa, size=step.size, pa=step.pa, prot=step.prot)


def check(observed: Observation, expected: Outcome) -> None:
    """Asserts that an observation is what the table says."""
    assert observed.ret == expected.ret
    assert isinstance(observed.leaves, tuple)
    assert expanded(observed.leaves) == leaves(expected.leaves)
    tlbi = {"ipa": expected.ipa, "ipa_nsh": 0, "vmid": expected.vmid, "range": expected.range}
    assert observed.tlbi == tlbi
    if expected.alloc is not None:
        assert observed.alloc == expected.alloc


def _row(name: str, prior: str, op: Map, **columns: Outcome) -> Example:
    """A row: ``all`` is the default, the other names stand for the columns in ``groups``."""
    groups = {
        "old": ("5.10",),
        "stop": ("6.1", "6.12-HF", "7.2", "7.2-SHARED"),
        "seed": ("seed",),
        "go": ("6.12", "7.2-IG"),
        "k6_1": ("6.1",),
        "k6_12": ("6.12", "6.12-HF"),
        "bbm": ("6.1", "seed", "6.12-HF", "7.2-SHARED"),
        "in_place": ("6.12", "7.2", "7.2-IG"),
        "vmid": ("5.10", "6.1", "seed"),
        "range": ("6.12", "6.12-HF", "7.2", "7.2-SHARED", "7.2-IG"),
        "k7_2": ("7.2", "7.2-SHARED", "7.2-IG"),
    }
    outcomes: dict[str, Outcome] = {}
    if "all" in columns:
        outcomes = dict.fromkeys(COLUMNS, columns.pop("all"))
    for group, outcome in columns.items():
        outcomes |= dict.fromkeys(groups[group], outcome)
    assert set(outcomes) == set(COLUMNS), (name, set(COLUMNS) - set(outcomes))
    return Example(name, prior, op, outcomes)


_IDENTICAL = {"stop": Outcome(-11, "0w"), "seed": Outcome(-11, "0w"), "go": Outcome(0, "0w")}
_ALL4 = "0w 1w 2w 3w"

EXAMPLES: list[Example] = [
    _row("W01", "0w", pages("0", "rw"), old=Outcome(0, "0w"), **_IDENTICAL),
    _row(
        "W02",
        "0r",
        pages("0", "rw"),
        old=Outcome(0, "0w", ipa=1),
        stop=Outcome(-11, "0r"),
        seed=Outcome(-11, "0r"),
        go=Outcome(0, "0r"),
    ),
    _row("W03", "0w", pages("0", "r"), old=Outcome(0, "0r", ipa=1), **_IDENTICAL),
    _row(
        "W04",
        "0wx",
        pages("0", "rw"),
        old=Outcome(0, "0w", ipa=1),
        stop=Outcome(-11, "0wx"),
        seed=Outcome(-11, "0wx"),
        go=Outcome(0, "0wx"),
    ),
    _row("W05", "0+w", pages("0", "rw"), all=Outcome(0, "0w", ipa=1)),
    _row(
        "W06",
        "0w",
        pages("0", "rw", sw=1),
        old=Outcome(0, "0w"),
        bbm=Outcome(0, "0ws1", ipa=1),
        in_place=Outcome(0, "0ws1"),
    ),
    _row(
        "W07",
        "0r",
        pages("0", "rw", sw=1),
        all=Outcome(0, "0ws1", ipa=1),
        old=Outcome(0, "0w", ipa=1),
    ),
    _row(
        "W08",
        "2w",
        pages("0-3", "rw"),
        old=Outcome(0, _ALL4),
        stop=Outcome(-11, "0w 1w 2w"),
        seed=Outcome(-11, _ALL4),
        go=Outcome(0, _ALL4),
    ),
    _row(
        "W09",
        "1r",
        pages("0-3", "rw"),
        old=Outcome(0, _ALL4, ipa=1),
        stop=Outcome(-11, "0w 1r"),
        seed=Outcome(-11, "0w 1r 2w 3w"),
        go=Outcome(0, "0w 1r 2w 3w"),
    ),
    _row("W10", "1+w", pages("0-3", "rw"), all=Outcome(0, _ALL4, ipa=1)),
    _row(
        "W11",
        "1ws2",
        pages("0-3", "rw", sw=1),
        old=Outcome(0, _ALL4),
        bbm=Outcome(0, "0ws1 1ws1 2ws1 3ws1", ipa=1),
        in_place=Outcome(0, "0ws1 1ws1 2ws1 3ws1"),
    ),
    _row(
        "W12",
        "0w 3w",
        pages("0-3", "rw"),
        old=Outcome(0, _ALL4),
        stop=Outcome(-11, "0w 3w"),
        seed=Outcome(-11, _ALL4),
        go=Outcome(0, _ALL4),
    ),
    _row("W13", "0w", pages("0", "rw"), all=Outcome(0, "0w", ipa=1))._replace(aged=True),
    _row("W14", "B2@0w", pages("3", "rw"), all=Outcome(0, "3w", ipa=1, alloc=1)),
    _row(
        "W15",
        "0w 5w",
        pages("0-1ff", "rw"),
        vmid=Outcome(0, "B2@0w", vmid=1),
        range=Outcome(0, "B2@0w", range=1),
    ),
    _row(
        "W16",
        "B2@0w",
        pages("0-1ff", "r"),
        old=Outcome(0, "B2@0r", ipa=1),
        stop=Outcome(-11, "B2@0w"),
        seed=Outcome(-11, "B2@0w"),
        go=Outcome(0, "B2@0w"),
    ),
    _row(
        "W17",
        "B2@200w",
        pages("0-3ff", "rw"),
        all=Outcome(-11, "B2@0w B2@200w"),
        old=Outcome(0, "B2@0w B2@200w"),
        go=Outcome(0, "B2@0w B2@200w"),
    ),
    _row(
        "W18",
        "201w",
        pages("0-3ff", "rw"),
        vmid=Outcome(0, "B2@0w B2@200w", vmid=1),
        range=Outcome(0, "B2@0w B2@200w", range=1),
    ),
    _row(
        "W19",
        "1ffr",
        pages("1fe-200", "rw"),
        old=Outcome(0, "1few 1ffw 200w", ipa=1, alloc=1),
        stop=Outcome(-11, "1few 1ffr", alloc=0),
        seed=Outcome(-11, "1few 1ffr 200w", alloc=1),
        go=Outcome(0, "1few 1ffr 200w", alloc=1),
    ),
    _row(
        "W20",
        "B2@0w",
        Map(ipa=3 * PAGE, size=PAGE, pa=BASE + 3 * PAGE, prot="rw", memcache=None),
        all=Outcome(-12, "B2@0w", alloc=0),
    ),
    _row(
        "W21",
        "",
        Map(ipa=0x1FF000, size=2 * PAGE, pa=BASE + 0x1FF000, prot="rw", memcache=2),
        all=Outcome(-12, "1ffw", alloc=2),
    ),
    _row("W23", "B1@0w", pages("5", "rw"), all=Outcome(0, "5w", ipa=1, alloc=2)),
    _row(
        "W25",
        "",
        pages("1-201", "rw", pa=BASE + 2 * PAGE),
        all=Outcome(0, "1-201+w", alloc=3),
    ),
    _row("E16", "", pages("0-1ff", "rw", pa=BASE + PAGE), all=Outcome(0, "0-1ff+w", alloc=2)),
    _row(
        "F02",
        "B2@0w",
        pages("0-1ff", "rw", pa=BASE + PAGE),
        all=Outcome(0, "0-1ff+w", ipa=1, alloc=1),
    ),
    _row(
        "E41",
        "B2@0w 200w",
        pages("0-3ffff", "rw"),
        vmid=Outcome(0, "B1@0w", vmid=1),
        range=Outcome(0, "B1@0w", range=1),
    ),
]
