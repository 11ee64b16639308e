# SPDX-License-Identifier: GPL-2.0-only
"""What a guest scenario must not have: steps without an outcome, and such as hang a kernel."""

from __future__ import annotations

import msgspec

from harness.generate.guest_vm import BLOCK
from reference_model import predict
from reference_model import scenario as sc
from reference_model.fault import FSC_EXTABT_WALK
from reference_model.guest_machine import UnpredictableError
from reference_model.outcome import Prediction
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import GuestOp, GuestScenario
from reference_model.stage1 import HIGH_VA
from reference_model.validate import check

#: Profiles and environments that every scenario must be predictable in.
_JUDGES = (
    *((PROFILES[name], Environment()) for name in ("v5.10", "v6.1", "v6.12")),
    (PROFILES["v6.12"], Environment(page_shift=14)),
)
#: No slot is larger.
_LARGEST = 2 * BLOCK
#: In protected mode a VM has more IPA space than it asked for.
_PROTECTED = (PROFILES["v6.12"], Environment(mode="protected"))
#: Tells by the fault status code which aborts are those of a stage-1 walk.
_WALKER = (PROFILES["v7.2"], Environment())


def predictable(scenario: GuestScenario) -> GuestScenario:
    """The scenario without the steps that have no outcome in some profile.

    Nor has it walks that lead beyond the IPA size: each hangs 7.2 and 7.3 (scenarios/known.yaml)
    and would cost the time limit.
    """
    while (wrong := check(scenario)) is not None and wrong[0] is not None:
        scenario = _without(scenario, wrong[0])
    beyond = any(
        isinstance(step, (sc.SlotAdd, sc.SlotMove))
        and step.gpa + _LARGEST >= 1 << scenario.vm.ipa_bits
        for step in scenario.steps
    )
    judges = (*_JUDGES, _PROTECTED) if beyond else _JUDGES
    if any(_tables(step) is not None for step in scenario.steps):
        judges = (*judges, _WALKER)
    agreed = 0
    while agreed < len(judges):
        # What one of them has left out, the others have to see.
        profile, env = judges[agreed]
        try:
            prediction = predict(scenario, profile, env)
            out = lost_walk(scenario, prediction)
        except UnpredictableError as error:
            out = error.step
        if out is None:
            agreed += 1
        else:
            scenario = _without(scenario, out)
            agreed = 0
    return scenario


def _without(scenario: GuestScenario, number: int) -> GuestScenario:
    steps = scenario.steps[:number] + scenario.steps[number + 1 :]
    return msgspec.structs.replace(scenario, steps=steps)


def lost_walk(scenario: GuestScenario, prediction: Prediction) -> int | None:
    """The first step whose stage-1 walk leads beyond the IPA size; None where none does.

    It shows in profiles whose aborts tell a walk by its level: FAR holds an IPA then, where every
    other walk's abort has the virtual address.
    """
    for number, (step, predicted) in enumerate(zip(scenario.steps, prediction.steps, strict=False)):
        if _tables(step) is None:
            continue
        for one in predicted.allowed:
            abort = one.injected or {}
            if abort.get("fsc", 0) >= FSC_EXTABT_WALK and abort["far"] < HIGH_VA:
                return number
    return None


def _tables(step: GuestOp) -> int | None:
    """The stage-1 tables of the guest's own that a step goes through."""
    return getattr(step, "tables", None)
