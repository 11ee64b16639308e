# SPDX-License-Identifier: GPL-2.0-only
"""Runs the steps of a guest scenario over memory and fault path: the observations a step allows.

Where a step may go more than one way (:mod:`reference_model.choice`), each way is a state of its
own from there on; states that have become equal again are one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from reference_model import scenario as sc
from reference_model.fault import GuestMemory
from reference_model.guest_accesses import GuestAccesses
from reference_model.guest_limits import unsupported
from reference_model.host_ops import HostOps
from reference_model.outcome import Observation, Prediction, StepPrediction
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import GuestScenario
from reference_model.slot_ioctls import SlotIoctls
from reference_model.slots import Ring
from reference_model.uffd_ops import UffdOps
from reference_model.unpredictable import UndefinedError, UnpredictableError

__all__ = ["GuestMachine", "UnpredictableError", "advance", "predict_guest"]

#: States that a scenario may be in at once.
_MAX_STATES = 64
#: Runs of leaves that are predicted; behind a step with more the channel is not compared.
MAX_RUNS = 1024


def predict_guest(
    scenario: GuestScenario, profile: SemanticsProfile, env: Environment
) -> Prediction:
    """What the profile allows for each step; a skip where kernel or environment lack something.

    Raises UnpredictableError for a step whose outcome nothing defines.
    """
    skip = env.unmet(scenario.env) or unsupported(scenario, profile, env)
    if skip:
        return Prediction(id=scenario.id, profile=profile.name, skip=skip)
    states = [GuestMachine(scenario, profile, env)]
    steps = []
    for index, op in enumerate(scenario.steps):
        seen, states = advance(states, index, op)
        if len(states) > _MAX_STATES:
            raise UnpredictableError(
                index, f"more than {_MAX_STATES} ways lead here; use fewer such steps"
            )
        steps.append(StepPrediction(tuple(seen)))
    return Prediction(id=scenario.id, profile=profile.name, steps=tuple(steps))


def advance(
    states: list[GuestMachine], index: int, op: sc.GuestOp
) -> tuple[list[Observation], list[GuestMachine]]:
    """One step from every state: the observations and the states it can lead to."""
    if len(states) == 1 and not states[0].may_choose(op):
        return [states[0].step(index, op)], states
    seen: list[Observation] = []
    after: dict[object, GuestMachine] = {}
    for state in states:
        scripts: list[tuple[int, ...]] = [()]
        while scripts:
            script = scripts.pop()
            ahead = copy.deepcopy(state)  # GuestMachine.__deepcopy__
            observed = ahead.step(index, op, script)
            scripts += ahead.chooser.others()
            if observed not in seen:
                seen.append(observed)
            after.setdefault(ahead.fingerprint(), ahead)
    return seen, list(after.values())


class GuestMachine:
    """One VM in one state, which :meth:`step` changes; a deep copy goes its own way from there.

    ``memory`` is the state: slots, stage-2 table and dirty rings.
    """

    def __init__(
        self, scenario: GuestScenario, profile: SemanticsProfile, env: Environment
    ) -> None:
        vm = scenario.vm
        protected = env.mode == "protected"
        ipa_bits = vm.ipa_bits
        if protected and profile.fault.protected_ipa_is_limit:
            ipa_bits = env.ipa_limit
        self._hides_tables = protected and profile.fault.protected_calls_hyp
        rings = tuple(Ring(vm.dirty_ring) for _ in range(vm.vcpus)) if vm.dirty_ring else ()
        memory = GuestMemory(ipa_bits, profile.fault, env, rings, nisv_to_user=vm.nisv_to_user)
        self._vm = vm
        self._stand_on(memory)

    def _stand_on(self, memory: GuestMemory) -> None:
        """The handlers of all operations over one VM's state."""
        self.memory = memory
        self.chooser = memory.chooser
        self._handlers: dict[type[Any], Callable[[Any], Observation]] = {
            **GuestAccesses(memory, self._vm).handlers(),
            **SlotIoctls(memory, self._vm).handlers(),
            **HostOps(memory).handlers(),
            **UffdOps(memory).handlers(),
        }

    def __deepcopy__(self, memo: dict[int, Any]) -> GuestMachine:
        other = copy.copy(self)
        other._stand_on(self.memory.copied())
        return other

    def step(self, index: int, op: sc.GuestOp, script: tuple[int, ...] = ()) -> Observation:
        """Run one operation on the state and tell what it shows."""
        handler = self._handlers.get(type(op))
        if handler is None:
            raise UnpredictableError(index, f"the model does not know {op.name} yet")
        self.chooser.start(script)
        try:
            seen = handler(op)
        except UndefinedError as error:
            raise UnpredictableError(index, str(error)) from None
        if self._hides_tables:
            return msgspec.structs.replace(seen, maps=UNSET)
        leaves = self.memory.stage2.runs(MAX_RUNS)
        return msgspec.structs.replace(seen, leaves=UNSET if leaves is None else leaves)

    def may_choose(self, op: sc.GuestOp) -> bool:
        """True where :meth:`step` may ask the chooser."""
        if isinstance(op, (sc.Cas, sc.DcCivac)):
            return True
        if isinstance(op, sc.Exec) and self.memory.keeps_code(op.gpa):
            return True
        return any(slot.memory.may_choose() for slot in self.memory.slots.values())

    def fingerprint(self) -> object:
        """The state, to tell it from another."""
        memory = self.memory
        return (
            memory.stage2.runs(),
            tuple(
                (*head, slot.memory.fingerprint())
                for slot in memory.slots.values()
                for head in [(slot.ident, slot.gfn, slot.readonly, slot.log, _bits(slot.dirty))]
            ),
            tuple(ring.fingerprint() for ring in memory.rings),
        )


def _bits(dirty: set[int] | None) -> tuple[int, ...] | None:
    return None if dirty is None else tuple(sorted(dirty))
