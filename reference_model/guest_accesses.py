# SPDX-License-Identifier: GPL-2.0-only
"""What a vCPU does in one step: the accesses of one instruction, and what came of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from reference_model import scenario as sc
from reference_model.fault import MMIO_FILL, Access, Effect, GuestMemory, Trail
from reference_model.outcome import Observation
from reference_model.stage1 import (
    FSC_TRANSLATION,
    HIGH_VA,
    descriptor,
    has_access_flag,
    with_access_flag,
)
from reference_model.unpredictable import UndefinedError

#: What a step adds to the counters of its vCPU.
_NO_MMIO = {"mmio_exit_user": 0, "mmio_exit_kernel": 0}
_MMIO = {"mmio_exit_user": 1, "mmio_exit_kernel": 0}
_UDF = 0
_RET = 0xD65F_03C0
_PAR_PA = 0x0000_FFFF_FFFF_F000


class GuestAccesses:
    """The handlers of these steps, over one VM's memory."""

    def __init__(self, memory: GuestMemory, vm: sc.VmConfig) -> None:
        self._memory = memory
        self._env = memory.env
        self._stage1 = vm.stage1

    def handlers(self) -> dict[type[Any], Callable[[Any], Observation]]:
        """Operation to handler."""
        return {
            sc.Read: self._read,
            sc.Write: self._write,
            sc.Exec: self._exec,
            sc.Cas: self._cas,
            sc.DcZva: self._dc_zva,
            sc.DcCivac: self._dc_civac,
            sc.At: self._at,
        }

    # --- loads, stores and calls ---------------------------------------------------------------

    def _read(self, op: sc.Read) -> Observation:
        self._needs_alignment(op.gpa, op.size)
        effect = self._access(op, "r", has_syndrome=op.form == "plain")
        data = None
        if effect.completed:
            data = self._memory.load(op.gpa, op.size)
        elif effect.exit == "mmio":
            data = MMIO_FILL & ((1 << 8 * op.size) - 1)
        return _step(effect, exit=_exit(effect, op.gpa, op.size, None), data=data)

    def _write(self, op: sc.Write) -> Observation:
        self._needs_alignment(op.gpa, op.size)
        effect = self._access(op, "w", has_syndrome=op.form == "plain")
        if effect.completed:
            self._store(op.gpa, op.size, op.value)
        return _step(effect, exit=_exit(effect, op.gpa, op.size, op.value))

    def _exec(self, op: sc.Exec) -> Observation:
        effect = self._access(op, "x", is_fetch=True)
        data = None
        if effect.completed:
            data = self._fetched(op.gpa)
            if data is None:
                effect = replace(effect, injected={"ec": "undef"})
        return _step(effect, exit=_exit(effect, op.gpa, 4, None), data=data)

    def _fetched(self, gpa: int) -> int | None:
        """As :meth:`_call`; zeroes may be met by what was called at that offset of a page before.

        Pages that are freed come back soon, so it may be any page's.
        """
        data = self._call(gpa)
        offset = gpa % self._env.page_size
        if data is not None:
            self._memory.called.setdefault(offset, set()).add(data)
        elif self._memory.keeps_code(gpa):
            ways = [None, *sorted(self._memory.called[offset])]
            return ways[self._memory.chooser.pick(len(ways))]
        return data

    def _call(self, gpa: int) -> int | None:
        """w0 after a call to gpa, None for an undefined instruction (a zero word)."""
        page_size = self._env.page_size
        first = self._memory.load(gpa, 4)
        if first == _UDF:
            return None
        if first == _RET:
            return 0
        movz = first & ~(0xFFFF << 5) == 0x5280_0000
        if movz and gpa % page_size + 4 < page_size and self._memory.load(gpa + 4, 4) == _RET:
            return (first >> 5) & 0xFFFF
        raise UndefinedError(
            f"the code at {gpa:#x} ({first:#010x} …) is none the model follows; "
            "exec what prefill left there, 'movz w0, #n; ret', 'ret' or zeroes",
        )

    # --- one instruction, other than a load or store -------------------------------------------

    def _cas(self, op: sc.Cas) -> Observation:
        """A compare and swap may abort as a read first or as a write at once.

        ESR_ELx.WnR is 0 where a read would have aborted too; emulated CPUs tell it otherwise, and
        one that fails to compare may or may not count as a write (Arm ARM C3.2.12.3).
        """
        self._no_device("cas", op.gpa)
        slot = self._memory.slot_at(op.gpa >> self._env.page_shift)
        equal = slot is not None and self._memory.load(op.gpa, op.size) == op.expected
        orders: list[tuple[str, ...]] = [("r", "w"), ("w",)]
        if not equal:
            orders.append(("r",))
        order = orders[self._memory.chooser.pick(len(orders))]
        kind = ""

        def instruction(trail: Trail) -> Effect | None:
            nonlocal kind
            effect: Effect | None = None
            for kind in order:
                effect = self._memory.once(_plain(op, kind, has_syndrome=False), trail)
                if effect is None or not effect.completed:
                    break
            return effect

        effect = self._memory.run(instruction)
        if not effect.completed:
            return _step(effect, exit=_nisv(effect, op.gpa, write=kind == "w"), data=None)
        data = self._memory.load(op.gpa, op.size)
        if data == op.expected:
            self._store(op.gpa, op.size, op.value)
        return _step(effect, exit=None, data=data)

    def _dc_zva(self, op: sc.DcZva) -> Observation:
        self._no_device("dc_zva", op.gpa)
        effect = self._memory.access(_plain(op, "w", has_syndrome=False))
        if effect.completed:
            slot, offset = self._memory.backing(op.gpa)
            slot.memory.write_bytes(offset, bytes(op.size))
        return _step(effect, exit=_nisv(effect, op.gpa, write=True))

    def _dc_civac(self, op: sc.DcCivac) -> Observation:
        """Cache maintenance; an emulated CPU without caches may do nothing at all."""
        if self._memory.is_device(op.gpa):
            raise UndefinedError("cache maintenance of a device's memory; take another address")
        if self._memory.chooser.pick(2) == 0:
            return _step(Effect(completed=True, faults=0, maps=()), exit=None)
        slot = self._memory.slot_at(op.gpa >> self._env.page_shift)
        if slot is not None and slot.readonly:
            raise UndefinedError("cache maintenance in a read-only slot; take another address")
        access = replace(_plain(op, "w", has_syndrome=False), maintenance=True)
        return _step(self._memory.access(access), exit=None)

    def _at(self, op: sc.At) -> Observation:
        """AT S1E1R and S1E1W: the walk alone."""
        # The runtime's own tables are always mapped; without stage 1 there is nothing to walk.
        stopped = Effect(completed=True, faults=0, maps=())
        if op.tables is not None:
            stopped = self._memory.run(lambda trail: self._walk(op, trail, is_fetch=False))
        if stopped.completed:
            return _step(stopped, exit=None, data=op.gpa & _PAR_PA)
        if stopped.injected is not None and stopped.injected["fsc"] < FSC_TRANSLATION + 4:
            status = 1 | stopped.injected["fsc"] << 1
            return _step(replace(stopped, injected=None), exit=None, data=status)
        return _step(stopped, exit=_exit(stopped, op.gpa, 8, None), data=None)

    # --- through the tables ----------------------------------------------------------------------

    def _access(
        self,
        op: sc.Read | sc.Write | sc.Exec,
        kind: str,
        *,
        has_syndrome: bool = True,
        is_fetch: bool = False,
    ) -> Effect:
        """Stage 1 where the operation names tables, then the access."""
        access = Access(
            gpa=op.gpa,
            kind=kind,
            vcpu=op.vcpu,
            va=op.gpa if op.tables is None else op.gpa | HIGH_VA,
            is_fetch=is_fetch,
            has_syndrome=has_syndrome,
        )
        if op.tables is None:
            return self._memory.access(access)

        def instruction(trail: Trail) -> Effect | None:
            walked = self._walk(op, trail, is_fetch=is_fetch)
            if walked is None or not walked.completed:
                return walked
            return self._memory.once(access, trail)

        return self._memory.run(instruction)

    def _walk(
        self, op: sc.Read | sc.Write | sc.Exec | sc.At, trail: Trail, *, is_fetch: bool
    ) -> Effect | None:
        """The stage-1 walk: completed where it found the block; None where it is made again."""
        assert op.tables is not None
        table = op.tables
        va = op.gpa | HIGH_VA
        for level in (0, 1):
            where = descriptor(level, table, op.gpa)
            if self._memory.is_device(where.gpa):
                raise UndefinedError("a stage-1 walk of Device memory is refused (HCR_EL2.PTW)")
            read = Access(
                gpa=where.gpa, kind="r", vcpu=op.vcpu, va=va, level=level, is_fetch=is_fetch
            )
            effect = self._memory.once(read, trail)
            if effect is None or not effect.completed:
                return effect
            entry = self._memory.load(where.gpa, 8)
            if not entry & 1:
                abort = {
                    "ec": "iabt" if is_fetch else "dabt",
                    "fsc": FSC_TRANSLATION + level,
                    "far": va,
                }
                return trail.effect(completed=False, injected=abort)
            if level == 0:
                below = where.next_table(entry)
                if below is None:
                    raise UndefinedError(f"the stage-1 entry {entry:#x} is none the model follows")
                table = below
            elif not where.is_block(entry, op.gpa):
                raise UndefinedError(f"the stage-1 entry {entry:#x} is none the model follows")
            elif not has_access_flag(entry):
                if isinstance(op, sc.At):
                    raise UndefinedError("whether AT sets the access flag is the CPU's choice")
                self._needs_writable(where.gpa)
                effect = self._memory.once(replace(read, kind="w"), trail)
                if effect is None or not effect.completed:
                    return effect
                self._store(where.gpa, 8, with_access_flag(entry))
        return trail.effect(completed=True)

    def _needs_writable(self, gpa: int) -> None:
        """An access flag is set in a page that is writable, or in one that never will be.

        In between, emulated CPUs give a permission fault with another level than the leaf's, and
        the vCPU never gets on.
        """
        gfn = gpa >> self._env.page_shift
        found, slot = self._memory.stage2.find(gfn), self._memory.slot_at(gfn)
        if found is not None and not found[1].w and slot is not None and not slot.readonly:
            raise UndefinedError(
                f"the table at {gpa:#x} is mapped read-only: an access flag update there is not "
                "modelled; have the guest write to the page before, or switch logging off"
            )

    # --- helpers ---------------------------------------------------------------------------------

    def _store(self, gpa: int, size: int, value: int) -> None:
        slot, offset = self._memory.backing(gpa)
        slot.memory.write(offset, size, value)

    def _needs_alignment(self, gpa: int, size: int) -> None:
        if gpa % size and (not self._stage1 or self._memory.is_device(gpa)):
            raise UndefinedError(
                "an unaligned access to Device memory (stage 1 is off, or the slot's is) aborts "
                "on a CPU and passes on some emulated ones; align it"
            )

    def _no_device(self, what: str, gpa: int) -> None:
        if not self._stage1 or self._memory.is_device(gpa):
            raise UndefinedError(
                f"{what} on Device memory (stage 1 is off, or the slot's is) is the CPU's choice"
            )


def _plain(op: sc.Cas | sc.DcZva | sc.DcCivac, kind: str, *, has_syndrome: bool) -> Access:
    return Access(gpa=op.gpa, kind=kind, vcpu=op.vcpu, va=op.gpa, has_syndrome=has_syndrome)


def _exit(effect: Effect, gpa: int, size: int, value: int | None) -> dict[str, Any] | None:
    """The ``exit`` channel; ``value`` is what a store would have stored."""
    if effect.exit != "mmio":
        return _nisv(effect, gpa, write=value is not None)
    reason: dict[str, Any] = {"reason": "mmio", "gpa": gpa, "len": size, "write": value is not None}
    if value is not None:
        reason["data"] = value
    return reason


def _nisv(effect: Effect, gpa: int, *, write: bool) -> dict[str, Any] | None:
    """The same for instructions whose aborts have no syndrome."""
    if effect.exit == "arm_nisv":
        return {"reason": effect.exit, "gpa": gpa, "write": write}
    return None if effect.exit is None else {"reason": effect.exit}


def _step(effect: Effect, **channels: Any) -> Observation:
    # io_mem_abort counts what goes to userspace, of which NISV exits are none.
    return Observation(
        stats=_MMIO if effect.exit == "mmio" else _NO_MMIO,
        ret=effect.ret,
        injected=effect.injected,
        faults=effect.faults,
        maps=effect.maps,
        marks=effect.marks,
        **channels,
    )
