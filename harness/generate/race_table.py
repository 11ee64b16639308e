# SPDX-License-Identifier: GPL-2.0-only
"""The table of July 2021: every pair of accesses that can meet on one page.

Pairs of load, store and call; logging on and off; a page or a block; absent, writable or
read-only in stage 2; two vCPUs, or four of which each kind of access has half.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from reference_model import scenario as sc
from reference_model.scenario import GuestOp, Parallel, RaceScenario

_BASE = 0x8000_0000
_PAGE_SLOT = 0x1_0000
_BLOCK_SLOT = 0x20_0000
_GPA = _BASE + 0x3000
_SLOT = 1
KINDS = ("read", "write", "exec")
STATES = ("absent", "writable", "read-only")


class Row(Struct, frozen=True):
    """One row: who meets whom on what. ``held``: both faults are let go at once."""

    first: str
    second: str
    logged: bool
    block: bool
    state: str
    vcpus: int
    held: bool

    @property
    def ident(self) -> str:
        """The scenario's id."""
        words = (
            self.first,
            self.second,
            "logged" if self.logged else "plain",
            "block" if self.block else "page",
            self.state,
            str(self.vcpus),
            *(("held",) if self.held else ()),
        )
        return "table-" + "-".join(words)


def rows(vcpus: int) -> Iterator[Row]:
    """Every row for so many vCPUs (2 or 4)."""
    for number, first in enumerate(KINDS):
        for second in KINDS[number:]:
            for logged in (False, True):
                for block in (False, True):
                    for state in STATES:
                        if block and logged and state == "writable":
                            # A block of a logged slot is never writable.
                            continue
                        for held in (False, True):
                            if not held or (state == "absent" and not block):
                                yield Row(first, second, logged, block, state, vcpus, held)


def row_scenario(row: Row, repeat: int) -> RaceScenario:
    """The scenario of a row; blocks are repeated a quarter as often, since each takes longer."""
    kinds = [row.first, row.second] * (row.vcpus // 2)
    branches = tuple((_access(kind, vcpu),) for vcpu, kind in enumerate(kinds))
    block = Parallel(
        parallel=branches,
        repeat=max(repeat // 4, 1) if row.block else repeat,
        hold=(_GPA,) if row.held else (),
    )
    return RaceScenario(
        schema=1,
        id=row.ident,
        env={"granule": "4K"},
        vm=sc.VmConfig(vcpus=row.vcpus),
        steps=(*_before(row), block),
    )


def _access(kind: str, vcpu: int) -> GuestOp:
    if kind == "read":
        return sc.Read(gpa=_GPA, vcpu=vcpu)
    if kind == "write":
        return sc.Write(gpa=_GPA, value=0x11 * (vcpu + 1), vcpu=vcpu)
    return sc.Exec(gpa=_GPA + 0xFC0, vcpu=vcpu)


def _before(row: Row) -> list[GuestOp]:
    """Steps after which the page is in the row's state."""
    backing = sc.Backing(prefill=True, thp="always" if row.block else "never")
    log: tuple[sc.SlotFlag, ...] = ("log_dirty",)
    # A block is mapped while its slot is not logged; a page becomes read-only while it is.
    begins_logged = not row.block and (row.logged or row.state == "read-only")
    steps: list[GuestOp] = [
        sc.SlotAdd(
            slot=_SLOT,
            gpa=_BASE,
            size=_BLOCK_SLOT if row.block else _PAGE_SLOT,
            backing=backing,
            flags=log if begins_logged else (),
        )
    ]
    if row.state != "absent":
        steps.append(sc.Write(gpa=_GPA, value=1))
    if row.block:
        if row.state == "read-only" or row.logged:
            steps.append(sc.SlotFlags(slot=_SLOT, flags=log))
        if row.state == "read-only" and not row.logged:
            steps.append(sc.SlotFlags(slot=_SLOT))
        return steps
    if row.state == "read-only":
        steps.append(sc.DirtyGet(slot=_SLOT))
        if not row.logged:
            steps.append(sc.SlotFlags(slot=_SLOT))
    return steps


# --- many vCPUs on one page ----------------------------------------------------------------------

CROWDS = (1, 2, 4, 8, 16)


def crowd_ident(vcpus: int, *, logged: bool, held: bool) -> str:
    """The id of a crowd's scenario."""
    return f"crowd-{vcpus}-{'logged' if logged else 'plain'}" + ("-held" if held else "")


def crowds(repeat: int) -> Iterator[RaceScenario]:
    """1 to 16 vCPUs that all store to one page, each to a word of its own, and read it back."""
    for vcpus in CROWDS:
        for logged in (False, True):
            for held in (False, True):
                yield _crowd(vcpus, repeat, logged=logged, held=held)


def _crowd(vcpus: int, repeat: int, *, logged: bool, held: bool) -> RaceScenario:
    branches = tuple(
        (
            sc.Write(gpa=_GPA + 8 * vcpu, value=0x100 + vcpu, vcpu=vcpu),
            sc.Read(gpa=_GPA + 8 * vcpu, vcpu=vcpu),
        )
        for vcpu in range(vcpus)
    )
    slot = sc.SlotAdd(
        slot=_SLOT,
        gpa=_BASE,
        size=_PAGE_SLOT,
        backing=sc.Backing(prefill=True),
        flags=("log_dirty",) if logged else (),
    )
    return RaceScenario(
        schema=1,
        id=crowd_ident(vcpus, logged=logged, held=held),
        env={"granule": "4K"},
        vm=sc.VmConfig(vcpus=vcpus),
        steps=(slot, Parallel(parallel=branches, repeat=repeat, hold=(_GPA,) if held else ())),
    )
