# SPDX-License-Identifier: GPL-2.0-only
"""What a guest scenario reaches of the fault path: rows of trigger and outcome.

A row is one line of what KVM documents and does: an access that no memory answers (``none``), a
fault on memory (``fault``), an ioctl on the dirty log (``log``), a change by the host (``host``).
A campaign's coverage is the set of rows that its scenarios reach, as the model runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from reference_model import scenario as sc
from reference_model.guest_limits import unsupported
from reference_model.guest_machine import GuestMachine
from reference_model.guest_stage2 import Leaf
from reference_model.memory import HostPage
from reference_model.outcome import LeafRun, Observation
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import GuestScenario
from reference_model.slots import Slot


class Moment(Struct, frozen=True):
    """One step with what stood before it."""

    op: sc.GuestOp
    seen: Observation
    vm: sc.VmConfig
    env: Environment
    #: The slot, the leaf and the host page behind the operation's address.
    slot: Slot | None
    logging: bool
    leaf: Leaf | None
    page: HostPage | None
    #: The VM's leaves before and after.
    before: tuple[LeafRun, ...]

    @property
    def after(self) -> tuple[LeafRun, ...]:
        """Leaves after the step."""
        return self.seen.leaves if isinstance(self.seen.leaves, tuple) else ()

    def is_access(self, *kinds: type[Any]) -> bool:
        """A guest access of these kinds, not through tables of its own."""
        return isinstance(self.op, kinds) and getattr(self.op, "tables", None) is None

    @property
    def faults(self) -> int:
        """kvm_guest_fault events."""
        return self.seen.faults if isinstance(self.seen.faults, int) else 0

    @property
    def reason(self) -> str:
        """Why KVM_RUN left, or ""."""
        return str(self.seen.exit["reason"]) if isinstance(self.seen.exit, dict) else ""

    @property
    def abort(self) -> str:
        """The abort that was injected, or ""."""
        return str(self.seen.injected["ec"]) if isinstance(self.seen.injected, dict) else ""

    def mapped(self, size: int, prot: str) -> bool:
        """Some call of the step mapped or relaxed, and the address is in such a leaf now."""
        gpa = getattr(self.op, "gpa", 0)
        return self.faults > 0 and any(
            ipa <= gpa < ipa + leaf * count and leaf >= size and held == prot
            for ipa, leaf, _, held, _, _, _, count in self.after
        )


Rule = Callable[[Moment], bool]


def rows(scenario: GuestScenario, profile: SemanticsProfile, env: Environment) -> frozenset[str]:
    """The rows that a scenario reaches; none where it is a skip."""
    if env.unmet(scenario.env) or unsupported(scenario, profile, env):
        return frozenset()
    machine = GuestMachine(scenario, profile, env)
    reached: set[str] = set()
    before: tuple[LeafRun, ...] = ()
    for index, op in enumerate(scenario.steps):
        stood = _stood(machine, env, op)
        moment = Moment(op, machine.step(index, op), scenario.vm, env, *stood, before)
        reached.update(name for name, rule in ROWS.items() if rule(moment))
        before = moment.after
    return frozenset(reached)


def _stood(
    machine: GuestMachine, env: Environment, op: sc.GuestOp
) -> tuple[Slot | None, bool, Leaf | None, HostPage | None]:
    memory = machine.memory
    gpa = getattr(op, "gpa", None)
    slot = memory.slots.get(getattr(op, "slot", -1))
    leaf = None
    page = None
    if gpa is not None and not isinstance(op, (sc.SlotAdd, sc.SlotMove)):
        gfn = gpa >> env.page_shift
        slot = memory.slot_at(gfn)
        found = memory.stage2.find(gfn)
        leaf = found[1] if found is not None else None
        page = slot.memory.state(gfn - slot.gfn) if slot is not None else None
    return slot, slot is not None and slot.logging, leaf, page


def _write(m: Moment) -> bool:
    return m.is_access(sc.Write, sc.DcZva)


def _plain_slot(m: Moment) -> bool:
    return m.slot is not None and not m.slot.readonly


def _missed(m: Moment) -> bool:
    return m.slot is None and m.is_access(sc.Read, sc.Write, sc.Exec, sc.DcZva)


def _beyond(m: Moment) -> bool:
    return getattr(m.op, "gpa", 0) >> m.vm.ipa_bits > 0


def _lost(m: Moment) -> bool:
    """Leaves are fewer than before."""
    return _pages(m.after) < _pages(m.before)


def _pages(leaves: tuple[LeafRun, ...]) -> int:
    return sum(size * count for _, size, _, _, _, _, _, count in leaves)


def _writable(leaves: tuple[LeafRun, ...]) -> int:
    return sum(run[1] * run[7] for run in leaves if "w" in run[3])


def _blocks(m: Moment, leaves: tuple[LeafRun, ...]) -> int:
    return sum(run[7] for run in leaves if run[1] > m.env.page_size)


def _on(m: Moment) -> bool:
    return isinstance(m.op, sc.SlotFlags) and "log_dirty" in m.op.flags and m.seen.ret == 0


def _host(m: Moment) -> bool:
    return not isinstance(m.op, (sc.SlotMove, sc.SlotDelete)) and not _is_guest(m)


def _is_guest(m: Moment) -> bool:
    return isinstance(m.op, (sc.Read, sc.Write, sc.Exec, sc.Cas, sc.DcZva, sc.DcCivac, sc.At))


def _advised(*advice: str) -> Rule:
    return lambda m: isinstance(m.op, sc.Madvise) and m.op.advice in advice and _lost(m)


def _errno(kind: type[Any], ret: int) -> Rule:
    return lambda m: isinstance(m.op, kind) and m.seen.ret == ret


def _is(kind: type[Any], rule: Rule) -> Rule:
    return lambda m: isinstance(m.op, kind) and rule(m)


_READ = (sc.Read,)

ROWS: dict[str, Rule] = {
    # accesses that no memory answers: SEMANTICS B.2, and T24
    "none: fetch in a hole, abort injected": lambda m: (
        m.slot is None and m.is_access(sc.Exec) and m.abort == "iabt" and m.faults == 1
    ),
    "none: load in a hole, MMIO": lambda m: (
        _missed(m) and m.is_access(sc.Read) and m.reason == "mmio"
    ),
    "none: store in a hole, MMIO": lambda m: _missed(m) and _write(m) and m.reason == "mmio",
    "none: no syndrome in a hole, NISV exit": lambda m: _missed(m) and m.reason == "arm_nisv",
    "none: no syndrome in a hole, -ENOSYS": lambda m: _missed(m) and m.seen.ret == -38,
    "none: cache maintenance in a hole": lambda m: m.slot is None and isinstance(m.op, sc.DcCivac),
    "none: stage-1 table in a hole, data abort": lambda m: (
        _tables(m) == "hole" and m.abort == "dabt"
    ),
    "none: stage-1 table in a hole, fetch abort": lambda m: (
        _tables(m) == "hole" and m.abort == "iabt"
    ),
    "none: stage-1 table invalid, the guest's own fault": lambda m: _fsc(m) in (4, 5),
    "none: store to a read-only slot, MMIO": lambda m: (
        m.slot is not None and m.slot.readonly and _write(m) and m.reason == "mmio"
    ),
    "none: store without syndrome to a read-only slot": lambda m: (
        m.slot is not None
        and m.slot.readonly
        and _write(m)
        and (m.reason == "arm_nisv" or m.seen.ret == -38)
    ),
    "none: beyond the IPA size": lambda m: _beyond(m) and _is_guest(m),
    # faults on memory: SEMANTICS B.4
    "fault: first read maps writable (T1)": lambda m: (
        m.is_access(*_READ) and m.leaf is None and m.mapped(1, "rw")
    ),
    "fault: first read maps read-only": lambda m: (
        m.is_access(*_READ) and m.leaf is None and m.mapped(1, "r")
    ),
    "fault: first write (T2)": lambda m: _write(m) and m.leaf is None and m.mapped(1, "rw"),
    "fault: first exec (T3)": lambda m: (
        m.is_access(sc.Exec) and m.leaf is None and (m.mapped(1, "rwx") or m.mapped(1, "rx"))
    ),
    "fault: exec after read (T4, T28)": lambda m: (
        m.is_access(sc.Exec) and m.leaf is not None and not m.leaf.x and m.faults > 0
    ),
    "fault: write to a protected page, logged (T5, T8)": lambda m: (
        _write(m)
        and m.logging
        and m.leaf is not None
        and m.leaf.pages == 1
        and not m.leaf.w
        and m.mapped(1, "rw")
    ),
    "fault: read of a protected page is free (T6)": lambda m: (
        m.is_access(*_READ) and m.logging and m.leaf is not None and not m.leaf.w and m.faults == 0
    ),
    "fault: logged read maps read-only (T7)": lambda m: (
        m.is_access(*_READ) and m.logging and m.leaf is None and m.mapped(1, "r")
    ),
    "fault: second write is free (T9)": lambda m: (
        _write(m) and m.logging and m.leaf is not None and m.leaf.w and m.faults == 0
    ),
    "fault: logged write breaks a block (T10)": lambda m: (
        _write(m) and m.logging and m.leaf is not None and m.leaf.pages > 1 and _lost(m)
    ),
    "fault: write to a page of a split block (T12)": lambda m: (
        _write(m)
        and m.logging
        and m.vm.eager_split > 0
        and m.leaf is not None
        and m.leaf.pages == 1
        and m.faults == 1
    ),
    "fault: pages become a block again (T13)": lambda m: (
        _is_guest(m)
        and m.leaf is None
        and _blocks(m, m.after) > _blocks(m, m.before)
        and any(run[1] == m.env.page_size for run in m.before)
    ),
    "fault: write to a protected page, log off (T14)": lambda m: (
        _write(m)
        and _plain_slot(m)
        and not m.logging
        and m.leaf is not None
        and not m.leaf.w
        and m.mapped(1, "rw")
    ),
    "fault: load from a read-only slot (T15)": lambda m: (
        m.slot is not None
        and m.slot.readonly
        and m.is_access(*_READ)
        and m.faults == 1
        and m.seen.ret == 0
    ),
    "fault: zero page read (T16)": lambda m: (
        m.is_access(*_READ) and m.page is HostPage.NONE and m.mapped(1, "r")
    ),
    "fault: copy of the zero page is retried (T25)": lambda m: (
        _write(m) and m.page is HostPage.ZERO and m.faults >= 2
    ),
    "fault: the host page may not be written, -EFAULT (T17)": lambda m: (
        _write(m) and m.seen.ret == -14
    ),
    "fault: no host page, -EFAULT (T18)": lambda m: m.is_access(*_READ) and m.seen.ret == -14,
    "fault: aged page (T19, T21)": lambda m: (
        _is_guest(m) and m.leaf is not None and not m.leaf.af and m.seen.ret == 0
    ),
    "fault: aged and protected page, write (T20)": lambda m: (
        _write(m) and m.leaf is not None and not m.leaf.af and not m.leaf.w
    ),
    "fault: hugetlb block (T26)": lambda m: (
        _is_guest(m)
        and m.slot is not None
        and m.slot.memory.is_hugetlb
        and m.leaf is None
        and _blocks(m, m.after) > _blocks(m, m.before)
    ),
    "fault: transparent huge block": lambda m: (
        _is_guest(m)
        and m.slot is not None
        and not m.slot.memory.is_hugetlb
        and m.leaf is None
        and _blocks(m, m.after) > _blocks(m, m.before)
    ),
    "fault: block relaxed": lambda m: (
        _is_guest(m)
        and m.leaf is not None
        and m.leaf.pages > 1
        and m.faults > 0
        and _blocks(m, m.after) == _blocks(m, m.before)
    ),
    "fault: huge page mapped by pages, no block fits": lambda m: (
        _is_guest(m)
        and m.slot is not None
        and not m.logging
        and m.slot.memory.huge_pages >= m.slot.memory.pmd_pages
        and m.leaf is None
        and m.mapped(1, "rw")
        and _blocks(m, m.after) == _blocks(m, m.before)
    ),
    "fault: page back from swap": lambda m: (
        _is_guest(m) and m.page is HostPage.SWAP and m.faults > 0
    ),
    "fault: shared file page": lambda m: _is_guest(m) and m.page is HostPage.FILE and m.faults > 0,
    "fault: stage-1 walk": lambda m: _tables(m) == "slot" and m.faults > 0 and m.abort == "",
    "fault: compare and swap": lambda m: (
        isinstance(m.op, sc.Cas) and m.faults > 0 and m.seen.ret == 0
    ),
    "fault: ring full": lambda m: m.reason == "dirty_ring_full",
    # the dirty log: SEMANTICS B.5
    "log: on, pages protected": lambda m: (
        _on(m) and _writable(m.after) < _writable(m.before) and _blocks(m, m.before) == 0
    ),
    "log: on, blocks protected": lambda m: (
        _on(m) and _blocks(m, m.after) > 0 and _writable(m.after) < _writable(m.before)
    ),
    "log: on, blocks split": lambda m: _on(m) and _blocks(m, m.after) < _blocks(m, m.before),
    "log: on with all bits set, nothing protected": lambda m: (
        _on(m) and m.vm.manual_protect == "init_set" and _writable(m.before) > 0
    ),
    "log: off": lambda m: isinstance(m.op, sc.SlotFlags) and not m.op.flags and m.seen.ret == 0,
    "log: flags that cannot change, -EINVAL": _errno(sc.SlotFlags, -22),
    "log: get, pages reported and protected": lambda m: (
        isinstance(m.op, sc.DirtyGet)
        and bool(m.seen.dirty)
        and _writable(m.after) < _writable(m.before)
    ),
    "log: get, manual, nothing protected": lambda m: (
        isinstance(m.op, sc.DirtyGet)
        and bool(m.seen.dirty)
        and bool(m.vm.manual_protect)
        and _writable(m.after) > 0
    ),
    "log: get without a bitmap, -ENOENT": _errno(sc.DirtyGet, -2),
    "log: get with a ring alone, -ENXIO": _errno(sc.DirtyGet, -6),
    "log: clear protects": _is(sc.DirtyClear, lambda m: _writable(m.after) < _writable(m.before)),
    "log: clear splits": _is(sc.DirtyClear, lambda m: _blocks(m, m.after) < _blocks(m, m.before)),
    "log: clear, bad range, -EINVAL": _errno(sc.DirtyClear, -22),
    "log: clear without a bitmap, -ENOENT": _errno(sc.DirtyClear, -2),
    "log: ring harvested and protected": _is(
        sc.RingReset, lambda m: _writable(m.after) < _writable(m.before)
    ),
    "log: ring empty": _is(sc.RingReset, lambda m: m.seen.ret == 0),
    "log: slot moved": _is(sc.SlotMove, lambda m: m.seen.ret == 0 and _lost(m)),
    "log: slot moved where it cannot be, -EFAULT": _errno(sc.SlotMove, -14),
    "log: slot deleted": _is(sc.SlotDelete, lambda m: m.seen.ret == 0 and _lost(m)),
    "log: slots overlap, -EEXIST": _errno(sc.SlotAdd, -17),
    "log: slot beyond the IPA size, -EFAULT": _errno(sc.SlotAdd, -14),
    # what the host does: SEMANTICS B.6
    "host: MADV_DONTNEED takes pages": _advised("dontneed"),
    "host: MADV_FREE takes pages": _advised("free"),
    "host: eviction takes pages": _advised("pageout"),
    "host: collapse takes pages": _advised("collapse"),
    "host: advice splits a VMA and takes a block": _advised("hugepage", "nohugepage"),
    "host: mprotect takes pages": _is(sc.Mprotect, _lost),
    "host: munmap and remap take pages": _is(sc.Remap, _lost),
    "host: hole punched takes pages": _is(sc.PunchHole, _lost),
    "host: fork takes pages": _is(sc.ForkTouch, _lost),
    "host: a part of a block takes all of it": lambda m: (
        _host(m)
        and m.seen.ret == 0
        and isinstance(getattr(m.op, "size", None), int)
        and _blocks(m, m.after) < _blocks(m, m.before)
        and getattr(m.op, "size", 0) < m.env.page_size << (m.env.page_shift - 3)
    ),
    "host: ageing": _is(sc.Age, lambda m: m.leaf is not None and m.leaf.af),
    "host: a store breaks copy-on-write under a leaf": lambda m: (
        isinstance(m.op, sc.HostWrite) and m.leaf is not None and m.page is HostPage.ZERO
    ),
    "host: userfaultfd copies": _is(sc.UffdCopy, lambda m: m.seen.ret == 0),
    "host: userfaultfd zeroes": _is(sc.UffdZero, lambda m: m.seen.ret == 0),
    "host: userfaultfd continues": _is(sc.UffdContinue, lambda m: m.seen.ret == 0),
    "host: userfaultfd protects": _is(sc.UffdWp, lambda m: m.seen.ret == 0),
}


def _tables(m: Moment) -> str:
    """Where the access's own stage-1 tables are: "hole", "slot", or "" where it has none."""
    tables = getattr(m.op, "tables", None)
    if tables is None:
        return ""
    if m.seen.faults == 1 and _fsc(m) in (0x10, 0x14, 0x15):
        return "hole"
    return "slot"


def _fsc(m: Moment) -> int:
    if isinstance(m.op, sc.At) and isinstance(m.seen.data, int) and m.seen.data & 1:
        return m.seen.data >> 1
    return int(m.seen.injected.get("fsc", 0)) if isinstance(m.seen.injected, dict) else 0
