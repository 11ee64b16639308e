# SPDX-License-Identifier: GPL-2.0-only
"""What a guest scenario reaches of the fault path: rows of trigger and outcome.

A row is one line of what KVM documents and does: an access that no memory answers (``none``), a
fault on memory (``fault``), memory of a device (``device``), an ioctl on the dirty log (``log``), a
change by the host (``host``). A campaign's coverage is the set of rows that its scenarios reach, as
the model runs them.
"""

from __future__ import annotations

from reference_model import scenario as sc
from reference_model.guest_limits import unsupported
from reference_model.guest_machine import GuestMachine
from reference_model.guest_moment import (
    READ,
    Moment,
    Rule,
    advised,
    beyond,
    blocks,
    by_guest,
    by_host,
    closed_to_host,
    fails,
    fsc,
    in_plain_slot,
    is_store,
    logging_on,
    lost,
    missed,
    new_device,
    on_device,
    only,
    tables_of,
    writable,
)
from reference_model.guest_stage2 import Leaf
from reference_model.memory import HostPage
from reference_model.outcome import LeafRun
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import GuestScenario
from reference_model.slot_ioctls import EEXIST
from reference_model.slots import Slot


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
) -> tuple[Slot | None, bool, Leaf | None, HostPage | None, bool]:
    memory = machine.memory
    gpa = getattr(op, "gpa", None)
    slot = memory.slots.get(getattr(op, "slot", -1))
    leaf = None
    page = None
    freed = False
    if gpa is not None and not isinstance(op, (sc.SlotAdd, sc.SlotMove)):
        gfn = gpa >> env.page_shift
        slot = memory.slot_at(gfn)
        found = memory.stage2.find(gfn)
        leaf = found[1] if found is not None else None
        if slot is not None:
            page = slot.memory.state(gfn - slot.gfn)
            freed = slot.memory.is_lazy(gfn - slot.gfn)
    return slot, slot is not None and slot.logging, leaf, page, freed


ROWS: dict[str, Rule] = {
    # accesses that no memory answers: SEMANTICS B.2, and T24
    "none: fetch in a hole, abort injected": lambda m: (
        m.slot is None and m.is_access(sc.Exec) and m.abort == "iabt" and m.faults == 1
    ),
    "none: load in a hole, MMIO": lambda m: (
        missed(m) and m.is_access(sc.Read) and m.reason == "mmio"
    ),
    "none: store in a hole, MMIO": lambda m: missed(m) and is_store(m) and m.reason == "mmio",
    "none: no syndrome in a hole, NISV exit": lambda m: missed(m) and m.reason == "arm_nisv",
    "none: no syndrome in a hole, -ENOSYS": lambda m: missed(m) and m.seen.ret == -38,
    "none: cache maintenance in a hole": lambda m: m.slot is None and isinstance(m.op, sc.DcCivac),
    "none: stage-1 table in a hole, data abort": lambda m: (
        tables_of(m) == "hole" and m.abort == "dabt"
    ),
    "none: stage-1 table in a hole, fetch abort": lambda m: (
        tables_of(m) == "hole" and m.abort == "iabt"
    ),
    "none: stage-1 table invalid, the guest's own fault": lambda m: fsc(m) in (4, 5),
    "none: store to a read-only slot, MMIO": lambda m: (
        m.slot is not None and m.slot.readonly and is_store(m) and m.reason == "mmio"
    ),
    "none: store without syndrome to a read-only slot": lambda m: (
        m.slot is not None
        and m.slot.readonly
        and is_store(m)
        and (m.reason == "arm_nisv" or m.seen.ret == -38)
    ),
    "none: beyond the IPA size": lambda m: beyond(m) and by_guest(m),
    # faults on memory: SEMANTICS B.4
    "fault: first read maps writable (T1)": lambda m: (
        m.is_access(*READ) and m.leaf is None and m.mapped(1, "rw")
    ),
    "fault: first read maps read-only": lambda m: (
        m.is_access(*READ) and m.leaf is None and m.mapped(1, "r")
    ),
    "fault: first write (T2)": lambda m: is_store(m) and m.leaf is None and m.mapped(1, "rw"),
    "fault: first exec (T3)": lambda m: (
        m.is_access(sc.Exec) and m.leaf is None and (m.mapped(1, "rwx") or m.mapped(1, "rx"))
    ),
    "fault: exec after read (T4, T28)": lambda m: (
        m.is_access(sc.Exec) and m.leaf is not None and not m.leaf.x and m.faults > 0
    ),
    "fault: write to a protected page, logged (T5, T8)": lambda m: (
        is_store(m)
        and m.logging
        and m.leaf is not None
        and m.leaf.pages == 1
        and not m.leaf.w
        and m.mapped(1, "rw")
    ),
    "fault: read of a protected page is free (T6)": lambda m: (
        m.is_access(*READ) and m.logging and m.leaf is not None and not m.leaf.w and m.faults == 0
    ),
    "fault: logged read maps read-only (T7)": lambda m: (
        m.is_access(*READ) and m.logging and m.leaf is None and m.mapped(1, "r")
    ),
    "fault: second write is free (T9)": lambda m: (
        is_store(m) and m.logging and m.leaf is not None and m.leaf.w and m.faults == 0
    ),
    "fault: logged write breaks a block (T10)": lambda m: (
        is_store(m) and m.logging and m.leaf is not None and m.leaf.pages > 1 and lost(m)
    ),
    "fault: write to a page of a split block (T12)": lambda m: (
        is_store(m)
        and m.logging
        and m.vm.eager_split > 0
        and m.leaf is not None
        and m.leaf.pages == 1
        and m.faults == 1
    ),
    "fault: pages become a block again (T13)": lambda m: (
        by_guest(m)
        and m.leaf is None
        and blocks(m, m.after) > blocks(m, m.before)
        and any(run[1] == m.env.page_size for run in m.before)
    ),
    "fault: write to a protected page, log off (T14)": lambda m: (
        is_store(m)
        and in_plain_slot(m)
        and not m.logging
        and m.leaf is not None
        and not m.leaf.w
        and m.mapped(1, "rw")
    ),
    "fault: load from a read-only slot (T15)": lambda m: (
        m.slot is not None
        and m.slot.readonly
        and m.is_access(*READ)
        and m.faults == 1
        and m.seen.ret == 0
    ),
    "fault: zero page read (T16)": lambda m: (
        m.is_access(*READ) and m.page is HostPage.NONE and m.mapped(1, "r")
    ),
    "fault: copy of the zero page is retried (T25)": lambda m: (
        is_store(m) and m.page is HostPage.ZERO and m.faults >= 2
    ),
    "fault: the host page may not be written, -EFAULT (T17)": lambda m: (
        is_store(m) and m.seen.ret == -14
    ),
    "fault: no host page, -EFAULT (T18)": lambda m: m.is_access(*READ) and m.seen.ret == -14,
    "fault: aged page (T19, T21)": lambda m: (
        by_guest(m) and m.leaf is not None and not m.leaf.af and m.seen.ret == 0
    ),
    "fault: aged and protected page, write (T20)": lambda m: (
        is_store(m) and m.leaf is not None and not m.leaf.af and not m.leaf.w
    ),
    "fault: hugetlb block (T26)": lambda m: (
        by_guest(m)
        and m.slot is not None
        and m.slot.memory.is_hugetlb
        and m.leaf is None
        and blocks(m, m.after) > blocks(m, m.before)
    ),
    "fault: transparent huge block": lambda m: (
        by_guest(m)
        and m.slot is not None
        and not m.slot.memory.is_hugetlb
        and m.leaf is None
        and blocks(m, m.after) > blocks(m, m.before)
    ),
    "fault: block relaxed": lambda m: (
        by_guest(m)
        and m.leaf is not None
        and m.leaf.pages > 1
        and m.faults > 0
        and blocks(m, m.after) == blocks(m, m.before)
    ),
    "fault: huge page mapped by pages, no block fits": lambda m: (
        by_guest(m)
        and m.slot is not None
        and not m.logging
        and m.slot.memory.huge_pages >= m.slot.memory.pmd_pages
        and m.leaf is None
        and m.mapped(1, "rw")
        and blocks(m, m.after) == blocks(m, m.before)
    ),
    "fault: page back from swap": lambda m: (
        by_guest(m) and m.page is HostPage.SWAP and m.faults > 0
    ),
    "fault: shared file page": lambda m: by_guest(m) and m.page is HostPage.FILE and m.faults > 0,
    "fault: stage-1 walk": lambda m: tables_of(m) == "slot" and m.faults > 0 and m.abort == "",
    "fault: compare and swap": lambda m: (
        isinstance(m.op, sc.Cas) and m.faults > 0 and m.seen.ret == 0
    ),
    "fault: ring full": lambda m: m.reason == "dirty_ring_full",
    # memory of a device: SEMANTICS B.3
    "device: mapped at a fault": lambda m: (
        on_device(m) and m.is_access(sc.Read, sc.Write) and m.leaf is None and bool(m.seen.maps)
    ),
    "device: mapped when its slot is made": lambda m: new_device(m) and bool(m.seen.maps),
    "device: fetch, abort injected": lambda m: on_device(m) and m.abort == "iabt",
    "device: logging refused, -EINVAL": lambda m: (
        m.seen.ret == -22
        and "log_dirty" in getattr(m.op, "flags", ())
        and (new_device(m) or (m.slot is not None and m.slot.memory.is_device))
    ),
    "device: advice refused, -EINVAL": lambda m: (
        on_device(m) and isinstance(m.op, sc.Madvise) and m.seen.ret == -22
    ),
    "device: store where the host may not, -EFAULT": lambda m: (
        on_device(m) and is_store(m) and m.seen.ret == -14
    ),
    "device: load where the host may not": lambda m: (
        on_device(m) and m.is_access(*READ) and m.faults == 1 and closed_to_host(m)
    ),
    # the dirty log: SEMANTICS B.5
    "log: on, pages protected": lambda m: (
        logging_on(m) and writable(m.after) < writable(m.before) and blocks(m, m.before) == 0
    ),
    "log: on, blocks protected": lambda m: (
        logging_on(m) and blocks(m, m.after) > 0 and writable(m.after) < writable(m.before)
    ),
    "log: on, blocks split": lambda m: logging_on(m) and blocks(m, m.after) < blocks(m, m.before),
    "log: on with all bits set, nothing protected": lambda m: (
        logging_on(m) and m.vm.manual_protect == "init_set" and writable(m.before) > 0
    ),
    "log: off": lambda m: isinstance(m.op, sc.SlotFlags) and not m.op.flags and m.seen.ret == 0,
    "log: flags that cannot change, -EINVAL": fails(sc.SlotFlags, -22),
    "log: get, pages reported and protected": lambda m: (
        isinstance(m.op, sc.DirtyGet)
        and bool(m.seen.dirty)
        and writable(m.after) < writable(m.before)
    ),
    "log: get, manual, nothing protected": lambda m: (
        isinstance(m.op, sc.DirtyGet)
        and bool(m.seen.dirty)
        and bool(m.vm.manual_protect)
        and writable(m.after) > 0
    ),
    "log: get without a bitmap, -ENOENT": fails(sc.DirtyGet, -2),
    "log: get with a ring alone, -ENXIO": fails(sc.DirtyGet, -6),
    "log: clear protects": only(sc.DirtyClear, lambda m: writable(m.after) < writable(m.before)),
    "log: clear splits": only(sc.DirtyClear, lambda m: blocks(m, m.after) < blocks(m, m.before)),
    "log: clear, bad range, -EINVAL": fails(sc.DirtyClear, -22),
    "log: clear without a bitmap, -ENOENT": fails(sc.DirtyClear, -2),
    "log: ring harvested and protected": only(
        sc.RingReset, lambda m: writable(m.after) < writable(m.before)
    ),
    "log: ring empty": only(sc.RingReset, lambda m: m.seen.ret == 0),
    "log: slot moved": only(sc.SlotMove, lambda m: m.seen.ret == 0 and lost(m)),
    "log: slot moved where it cannot be, -EFAULT": fails(sc.SlotMove, -14),
    "log: slot deleted": only(sc.SlotDelete, lambda m: m.seen.ret == 0 and lost(m)),
    "log: slots overlap, -EEXIST": fails(sc.SlotAdd, -17),
    "log: slot beyond the IPA size, -EFAULT": fails(sc.SlotAdd, -14),
    # what the host does: SEMANTICS B.6
    "host: MADV_DONTNEED takes pages": advised("dontneed"),
    "host: MADV_FREE takes pages": advised("free"),
    "host: eviction takes pages": advised("pageout"),
    "host: eviction drops what MADV_FREE took": only(
        sc.Madvise, lambda m: m.freed and getattr(m.op, "advice", "") == "pageout"
    ),
    "host: collapse takes pages": advised("collapse"),
    "host: advice splits a VMA and takes a block": advised("hugepage", "nohugepage"),
    "host: mprotect takes pages": only(sc.Mprotect, lost),
    "host: munmap and remap take pages": only(sc.Remap, lost),
    "host: hole punched takes pages": only(sc.PunchHole, lost),
    "host: fork takes pages": only(sc.ForkTouch, lost),
    "host: a part of a block takes all of it": lambda m: (
        by_host(m)
        and m.seen.ret == 0
        and isinstance(getattr(m.op, "size", None), int)
        and blocks(m, m.after) < blocks(m, m.before)
        and getattr(m.op, "size", 0) < m.env.page_size << (m.env.page_shift - 3)
    ),
    "host: ageing": only(sc.Age, lambda m: m.leaf is not None and m.leaf.af),
    "host: a store breaks copy-on-write under a leaf": lambda m: (
        isinstance(m.op, sc.HostWrite) and m.leaf is not None and m.page is HostPage.ZERO
    ),
    "host: userfaultfd copies": only(sc.UffdCopy, lambda m: m.seen.ret == 0),
    "host: userfaultfd zeroes": only(sc.UffdZero, lambda m: m.seen.ret == 0),
    "host: userfaultfd continues": only(sc.UffdContinue, lambda m: m.seen.ret == 0),
    "host: userfaultfd finds a page there, -EEXIST": lambda m: (
        isinstance(m.op, (sc.UffdCopy, sc.UffdZero, sc.UffdContinue)) and m.seen.ret == EEXIST
    ),
    "host: userfaultfd protects": only(sc.UffdWp, lambda m: m.seen.ret == 0),
}
