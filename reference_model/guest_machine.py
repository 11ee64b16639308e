# SPDX-License-Identifier: GPL-2.0-only
"""Runs the steps of a guest scenario over memory and fault path: one observation a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from reference_model import scenario as sc
from reference_model.fault import MMIO_FILL, Effect, GuestMemory
from reference_model.guest_limits import unsupported
from reference_model.host_ops import HostOps
from reference_model.outcome import Observation, Prediction, StepPrediction
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import GuestScenario
from reference_model.slot_ioctls import SlotIoctls
from reference_model.slots import Ring
from reference_model.unpredictable import UndefinedError, UnpredictableError

__all__ = ["GuestMachine", "UnpredictableError", "predict_guest"]

_UDF = 0
_RET = 0xD65F_03C0


def predict_guest(
    scenario: GuestScenario, profile: SemanticsProfile, env: Environment
) -> Prediction:
    """What the profile allows for each step; a skip where kernel or environment lack something.

    Raises UnpredictableError for a step whose outcome nothing defines.
    """
    skip = env.unmet(scenario.env) or unsupported(scenario, profile, env)
    if skip:
        return Prediction(id=scenario.id, profile=profile.name, skip=skip)
    machine = GuestMachine(scenario, profile, env)
    steps = tuple(
        StepPrediction((machine.step(index, step),)) for index, step in enumerate(scenario.steps)
    )
    return Prediction(id=scenario.id, profile=profile.name, steps=steps)


class GuestMachine:
    """The state of a guest scenario's VM; each step changes it and tells what it shows."""

    def __init__(
        self, scenario: GuestScenario, profile: SemanticsProfile, env: Environment
    ) -> None:
        vm = scenario.vm
        self._env = env
        self._vm = vm
        protected = env.mode == "protected"
        ipa_bits = vm.ipa_bits
        if protected and profile.fault.protected_ipa_is_limit:
            ipa_bits = env.ipa_limit
        self._hides_tables = protected and profile.fault.protected_calls_hyp
        rings = tuple(Ring(vm.dirty_ring) for _ in range(vm.vcpus)) if vm.dirty_ring else ()
        self._memory = GuestMemory(ipa_bits, profile.fault, env, rings)
        self._handlers: dict[type[Any], Callable[[Any], Observation]] = {
            sc.Read: self._read,
            sc.Write: self._write,
            sc.Exec: self._exec,
            **SlotIoctls(self._memory, vm).handlers(),
            **HostOps(self._memory).handlers(),
        }

    @property
    def memory(self) -> GuestMemory:
        """Slots, host memory and stage 2."""
        return self._memory

    def step(self, index: int, op: sc.GuestOp) -> Observation:
        """Run one operation on the state and tell what it shows."""
        handler = self._handlers.get(type(op))
        if handler is None:
            raise UnpredictableError(index, f"the model does not know {op.name} yet")
        try:
            seen = handler(op)
        except UndefinedError as error:
            raise UnpredictableError(index, str(error)) from None
        if self._hides_tables:
            return msgspec.structs.replace(seen, maps=UNSET)
        return msgspec.structs.replace(seen, leaves=self._memory.stage2.runs())

    def _read(self, op: sc.Read) -> Observation:
        self._plain(op)
        effect = self._memory.access(op.gpa, "r", op.vcpu)
        data = None
        if effect.completed:
            data = self._memory.load(op.gpa, op.size)
        elif effect.exit == "mmio":
            data = MMIO_FILL & ((1 << 8 * op.size) - 1)
        exit_ = _exit(effect, op.gpa, op.size, None)
        return _vcpu_step(effect, exit=exit_, data=data)

    def _write(self, op: sc.Write) -> Observation:
        self._plain(op)
        effect = self._memory.access(op.gpa, "w", op.vcpu)
        if effect.completed:
            slot, offset = self._memory.backing(op.gpa)
            slot.memory.write(offset, op.size, op.value)
        return _vcpu_step(effect, exit=_exit(effect, op.gpa, op.size, op.value))

    def _plain(self, op: sc.Read | sc.Write) -> None:
        if op.form != "plain" or op.tables is not None or not self._vm.stage1:
            raise UndefinedError("the model does not know this kind of access yet")

    def _exec(self, op: sc.Exec) -> Observation:
        effect = self._memory.access(op.gpa, "x", op.vcpu)
        data = None
        if effect.completed:
            data = self._call(op.gpa)
            if data is None:
                effect = msgspec.structs.replace(effect, injected={"ec": "undef"})
        return _vcpu_step(effect, exit=_exit(effect, op.gpa, 4, None), data=data)

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


def _exit(effect: Effect, gpa: int, size: int, value: int | None) -> dict[str, Any] | None:
    """The ``exit`` channel; ``value`` is what a store would have stored."""
    if effect.exit is None:
        return None
    if effect.exit != "mmio":
        return {"reason": effect.exit}
    reason: dict[str, Any] = {"reason": "mmio", "gpa": gpa, "len": size, "write": value is not None}
    if value is not None:
        reason["data"] = value
    return reason


def _vcpu_step(effect: Effect, **channels: Any) -> Observation:
    return Observation(
        ret=effect.ret,
        injected=effect.injected,
        faults=effect.faults,
        maps=effect.maps,
        marks=effect.marks,
        **channels,
    )
