# SPDX-License-Identifier: GPL-2.0-only
"""One step of a guest scenario as the rows of coverage look at it, and what they ask of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from reference_model import scenario as sc
from reference_model.guest_stage2 import Leaf
from reference_model.memory import HostPage, HostProt
from reference_model.outcome import LeafRun, Observation
from reference_model.profiles import Environment
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
    #: MADV_FREE took that page, and nothing was stored to it since.
    freed: bool
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


def is_store(m: Moment) -> bool:
    """A store, or DC ZVA, not through tables of its own."""
    return m.is_access(sc.Write, sc.DcZva)


def in_plain_slot(m: Moment) -> bool:
    """The address lies in a slot that can be written."""
    return m.slot is not None and not m.slot.readonly


def missed(m: Moment) -> bool:
    """An access that no slot holds."""
    return m.slot is None and m.is_access(sc.Read, sc.Write, sc.Exec, sc.DcZva)


def beyond(m: Moment) -> bool:
    """The address is above the IPA size."""
    return getattr(m.op, "gpa", 0) >> m.vm.ipa_bits > 0


def lost(m: Moment) -> bool:
    """Leaves are fewer than before."""
    return _pages(m.after) < _pages(m.before)


def _pages(leaves: tuple[LeafRun, ...]) -> int:
    return sum(size * count for _, size, _, _, _, _, _, count in leaves)


def writable(leaves: tuple[LeafRun, ...]) -> int:
    """Bytes of writable leaves."""
    return sum(run[1] * run[7] for run in leaves if "w" in run[3])


def blocks(m: Moment, leaves: tuple[LeafRun, ...]) -> int:
    """Leaves larger than a page."""
    return sum(run[7] for run in leaves if run[1] > m.env.page_size)


def logging_on(m: Moment) -> bool:
    """Logging was switched on."""
    return isinstance(m.op, sc.SlotFlags) and "log_dirty" in m.op.flags and m.seen.ret == 0


def by_host(m: Moment) -> bool:
    """A step of the host, that leaves the slots where they are."""
    return not isinstance(m.op, (sc.SlotMove, sc.SlotDelete)) and not by_guest(m)


def by_guest(m: Moment) -> bool:
    """A step of a vCPU."""
    return isinstance(m.op, sc.VcpuOp)


def advised(*advice: str) -> Rule:
    """Such advice took pages."""
    return lambda m: isinstance(m.op, sc.Madvise) and m.op.advice in advice and lost(m)


def fails(kind: type[Any], ret: int) -> Rule:
    """A step of that kind that returns an errno."""
    return lambda m: isinstance(m.op, kind) and m.seen.ret == ret


def only(kind: type[Any], rule: Rule) -> Rule:
    """The rule, for steps of one kind."""
    return lambda m: isinstance(m.op, kind) and rule(m)


READ = (sc.Read,)


def on_device(m: Moment) -> bool:
    """The address lies in the memory of a device."""
    return m.page is HostPage.DEVICE


def closed_to_host(m: Moment) -> bool:
    """The host's own access to the address would fail: PROT_NONE."""
    if m.slot is None:
        return False
    gfn = getattr(m.op, "gpa", 0) >> m.env.page_shift
    return m.slot.memory.prot(gfn - m.slot.gfn) is HostProt.NONE


def new_device(m: Moment) -> bool:
    """A slot of device memory is asked for."""
    return isinstance(m.op, sc.SlotAdd) and m.op.backing.kind == "device"


def tables_of(m: Moment) -> str:
    """Where the access's own stage-1 tables are: "hole", "slot", or "" where it has none."""
    tables = getattr(m.op, "tables", None)
    if tables is None:
        return ""
    if m.seen.faults == 1 and fsc(m) in (0x10, 0x14, 0x15):
        return "hole"
    return "slot"


def fsc(m: Moment) -> int:
    """The fault status code that the guest saw, or AT told; 0: none."""
    if isinstance(m.op, sc.At) and isinstance(m.seen.data, int) and m.seen.data & 1:
        return m.seen.data >> 1
    return int(m.seen.injected.get("fsc", 0)) if isinstance(m.seen.injected, dict) else 0
