# SPDX-License-Identifier: GPL-2.0-only
"""Runs a race scenario: its steps one by one, its blocks in every order that there is.

Behind a block the VM may be in one of several states; a step then has the observations of all of
them. The trace and the tables say nothing of those steps: how often a vCPU faulted in the block,
and so which leaves it left, is not followed.
"""

from __future__ import annotations

import copy

import msgspec
from msgspec import UNSET

from reference_model import scenario as sc
from reference_model.fault import GuestMemory
from reference_model.guest_limits import unsupported
from reference_model.guest_machine import GuestMachine, advance
from reference_model.interleave import EndState, TooManyStatesError, block_ends
from reference_model.interleave_access import UnfollowedCodeError
from reference_model.interleave_block import Block
from reference_model.interleave_counts import block_counts
from reference_model.interleave_knobs import RACE_KNOBS, RaceKnobs
from reference_model.interleave_log import bits_of
from reference_model.outcome import After, Observation, Outcome, Prediction, StepPrediction
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.race_block import build, protections, settle
from reference_model.scenario import GuestScenario, Parallel, RaceScenario
from reference_model.unpredictable import UndefinedError, UnpredictableError
from reference_model.validate_race import step_ops

#: States behind a block that are followed through the steps after it.
MAX_STATES_BEHIND = 128


def predict_race(
    scenario: RaceScenario,
    profile: SemanticsProfile,
    env: Environment,
    knobs: RaceKnobs | None = None,
) -> Prediction:
    """The set of outcomes that the profile allows for each step, or why it is a skip.

    ``knobs`` replace the profile's own. UnpredictableError for a step whose outcome nothing
    defines, and for a block that is too large to be searched.
    """
    plain = GuestScenario(
        schema=1,
        id=scenario.id,
        vm=scenario.vm,
        steps=tuple(op for step in scenario.steps for op in step_ops(step)),
    )
    skip = env.unmet(scenario.env) or unsupported(plain, profile, env)
    if skip:
        return Prediction(id=scenario.id, profile=profile.name, skip=skip)
    machine = GuestMachine(plain, profile, env)
    race = _Race(scenario, machine, knobs or RACE_KNOBS[profile.name])
    steps = tuple(race.step(index, step) for index, step in enumerate(scenario.steps))
    return Prediction(id=scenario.id, profile=profile.name, steps=steps)


class _Race:
    def __init__(self, scenario: RaceScenario, machine: GuestMachine, knobs: RaceKnobs) -> None:
        self._scenario = scenario
        self._knobs = knobs
        #: The states that the VM may be in.
        self._machines = [machine]
        self._raced = False

    def step(self, index: int, step: sc.GuestOp | Parallel) -> StepPrediction:
        """What the step may show."""
        if isinstance(step, Parallel):
            return self._block(index, step)
        seen, self._machines = advance(self._machines, index, step)
        if len(self._machines) > MAX_STATES_BEHIND:
            raise UnpredictableError(
                index, f"more than {MAX_STATES_BEHIND} ways lead here; use fewer such steps"
            )
        if self._raced:
            seen = [
                msgspec.structs.replace(
                    one,
                    faults=UNSET,
                    maps=UNSET,
                    marks=UNSET,
                    flushes=UNSET,
                    leaves=UNSET,
                    stats=UNSET,
                )
                for one in seen
            ]
        told = {repr(one): one for one in seen}
        return StepPrediction(tuple(told[key] for key in sorted(told)))

    def _block(self, index: int, block: Parallel) -> StepPrediction:
        goes_on = index + 1 < len(self._scenario.steps)
        outcomes: dict[bytes, Observation] = {}
        counts: list[dict[str, tuple[int, ...]] | None] = []
        behind: dict[object, GuestMachine] = {}
        for machine in self._machines:
            try:
                built = build(machine, block, self._scenario.vm, self._knobs)
                ends = block_ends(built)
                counts.append(_counted(machine.memory, built))
            except UndefinedError as error:
                raise UnpredictableError(index, str(error)) from None
            except UnfollowedCodeError as error:
                raise UnpredictableError(
                    index, f"the code {error} is none the model follows; call what prefill left"
                ) from None
            except TooManyStatesError as error:
                raise UnpredictableError(
                    index, f"the block allows {error}; take fewer branches or operations"
                ) from None
            followed: set[EndState] = set()
            for end in ends:
                after = _after(machine.memory, built, block, end.state)
                one = Observation(outcome=Outcome(branches=end.branches, after=after))
                outcomes[msgspec.json.encode(one)] = one
                if goes_on and end.state not in followed:
                    followed.add(end.state)
                    self._follow(index, machine, built, block, end.state, behind)
        self._machines = list(behind.values())
        self._raced = True
        allowed = tuple(outcomes[key] for key in sorted(outcomes))
        return StepPrediction(allowed, _joined(counts))

    def _follow(
        self,
        index: int,
        machine: GuestMachine,
        built: Block,
        block: Parallel,
        end: EndState,
        behind: dict[object, GuestMachine],
    ) -> None:
        """The VM as it is behind one end; equal ends are followed once."""
        copied = copy.deepcopy(machine)
        settle(copied.memory, built, block, end)
        try:
            for op in protections(block):
                copied.step(index, op)
        except UndefinedError as error:
            raise UnpredictableError(index, str(error)) from None
        if behind.setdefault(copied.fingerprint(), copied) is not copied:
            return
        if len(behind) > MAX_STATES_BEHIND:
            raise UnpredictableError(
                index,
                f"the block leaves more than {MAX_STATES_BEHIND} states; make it the last step",
            )


def _counted(memory: GuestMemory, built: Block) -> dict[str, tuple[int, ...]] | None:
    """The block's counts, where each fault maps one page: no slot can hold a huge page."""
    huge = memory.env.page_size * (memory.env.page_size // 8)
    pages = [memory.slots[ref.ident].pages for ref in built.slots]
    if not pages or max(pages) * memory.env.page_size >= huge:
        return None
    return block_counts(built, change_pte_maps=memory.knobs.change_pte_maps)


def _joined(counts: list[dict[str, tuple[int, ...]] | None]) -> dict[str, tuple[int, ...]]:
    """The values that one of several states allows; none where one of them is not counted."""
    known = [one for one in counts if one is not None]
    if not known or len(known) < len(counts):
        return {}
    return {name: tuple(sorted({v for one in known for v in one[name]})) for name in known[0]}


def _after(memory: GuestMemory, built: Block, block: Parallel, end: EndState) -> After:
    """What the runtime reads when all branches are done."""
    _, words, bitmaps = end
    logs = {
        slot.ident: None if slot.dirty is None else tuple(sorted(slot.dirty))
        for slot in memory.slots.values()
    }
    for slot_ref, bits in zip(built.slots, bitmaps, strict=True):
        logs[slot_ref.ident] = tuple(bits_of(bits)) if bits >= 0 else None
    values = {ref.gpa: word for ref, word in zip(built.words, words, strict=True)}
    held = [gpa for gpa in block.words if memory.slot_at(gpa >> memory.env.page_shift)]
    return After(
        dirty={str(ident): log for ident, log in sorted(logs.items()) if log is not None},
        memory=tuple((gpa, values[gpa] if gpa in values else memory.load(gpa, 8)) for gpa in held),
    )
