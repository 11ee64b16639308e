# SPDX-License-Identifier: GPL-2.0-only
"""What makes a race scenario wrong whatever the kernel."""

from __future__ import annotations

from typing import TypeAlias

from reference_model import scenario as sc
from reference_model.scenario import GuestScenario, Parallel, RaceScenario
from reference_model.validate_guest import check_guest

#: Operations of one block: more than this no search of interleavings goes through.
MAX_BLOCK_OPS = 64
_PAGE = 0x1000

Problem: TypeAlias = tuple[int | None, str]

#: What a block cannot hold: memory that goes away under the repeats' feet.
_NOT_AT_ONCE = (sc.SlotAdd, sc.SlotDelete, sc.SlotMove, sc.Remap, sc.ForkTouch, sc.Stage1Tables)


def check_race(scenario: RaceScenario) -> Problem | None:
    """The first thing wrong as (step or None, message with the mend), or None."""
    for index, step in enumerate(scenario.steps):
        ops = step_ops(step)
        for op in ops:
            problem = check_guest(
                GuestScenario(schema=1, id=scenario.id, vm=scenario.vm, steps=(op,))
            )
            if problem is not None:
                at, words = problem
                if isinstance(step, Parallel):
                    words = f"{op.name}: {words}"
                return (None if at is None else index), words
        message = _parallel(step) if isinstance(step, Parallel) else None
        if message is not None:
            return index, message
    return None


def step_ops(step: sc.GuestOp | Parallel) -> tuple[sc.GuestOp, ...]:
    """The operations of a step: itself, or those of all branches, branch by branch."""
    if isinstance(step, Parallel):
        return tuple(op for branch in step.parallel for op in branch)
    return (step,)


def _parallel(block: Parallel) -> str | None:
    count = sum(len(branch) for branch in block.parallel)
    if count > MAX_BLOCK_OPS:
        return f"{count} operations in one block; at most {MAX_BLOCK_OPS}: split it"
    where: dict[int, int] = {}
    for number, branch in enumerate(block.parallel):
        if not branch:
            return f"branch {number} is empty; give it an operation or drop it"
        for op in branch:
            if isinstance(op, _NOT_AT_ONCE):
                return f"{op.name} cannot be part of a block; make it a step before or after"
            vcpu = getattr(op, "vcpu", None)
            if vcpu is not None and where.setdefault(vcpu, number) != number:
                return (
                    f"vcpu {vcpu} is in branches {where[vcpu]} and {number}; "
                    "a vCPU does one thing at a time: give each branch its own"
                )
    held = {gpa // _PAGE for gpa in block.hold}
    for op in (op for branch in block.parallel for op in branch):
        if isinstance(op, sc.Madvise) and any(
            op.gpa // _PAGE <= page < -(-(op.gpa + op.size) // _PAGE) for page in held
        ):
            return f"madvise at {op.gpa:#x} meets a page of 'hold'; hold another"
    return None
