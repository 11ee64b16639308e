# SPDX-License-Identifier: GPL-2.0-only
"""The race suite in C: the runtime is kselftests/race.h.

A branch of a block is a function; a block stands at the end of a loop that makes the steps in
front of it again for each repeat.
"""

from __future__ import annotations

from harness.render.expectation import expectation
from harness.render.guest import step_call, vm_lines
from harness.render.layout import Call, Suite, call_lines
from harness.render.text import address
from harness.vocabulary import UsageError
from reference_model import scenario as sc
from reference_model.outcome import Prediction
from reference_model.scenario import Parallel, RaceScenario
from reference_model.validate_race import step_ops

_Step = sc.GuestOp | Parallel
_PAGE = 0x1000
#: Operations that change no more than the pages that they name, and the dirty log.
_ON_PAGES = (
    sc.Read, sc.Write, sc.Exec, sc.HostRead, sc.HostWrite,
    sc.DirtyGet, sc.DirtyClear, sc.SlotFlags,
)  # fmt: skip


def _compose(
    scenario: RaceScenario, prediction: Prediction | None, name: str
) -> tuple[list[str], list[str]]:
    """The branches' functions, and the body of the scenario's own."""
    blocks = [at for at, step in enumerate(scenario.steps) if isinstance(step, Parallel)]
    helpers: list[str] = []
    for at in blocks:
        helpers += _branches(scenario, at, name)
    body = vm_lines(scenario.vm, "race_vm")
    done = start = _kept(scenario)
    for index in range(start):
        body += _lines(scenario, prediction, index, name, 1)
    for at in blocks:
        body += _loop(scenario, at, start)
        for index in range(start, at + 1):
            goes_on = index == at == blocks[-1] and at + 1 < len(scenario.steps)
            body += _lines(scenario, prediction, index, name, 2, again=index < done, on=goes_on)
        body.append("\t}")
        done = at + 1
    for index in range(done, len(scenario.steps)):
        body += _lines(scenario, prediction, index, name, 1)
    return helpers, body


def _kept(scenario: RaceScenario) -> int:
    """How many steps the loops need not make again: slots that stay what they are.

    0 where a step changes more of the VM or of its memory than the pages that it touches.
    """
    ops = [op for step in scenario.steps for op in step_ops(step)]
    first = next((at for at, op in enumerate(ops) if not isinstance(op, sc.SlotAdd)), 0)
    plain = all(
        op.backing.kind == "anon" and op.backing.thp == "never"
        for op in ops[:first]
        if isinstance(op, sc.SlotAdd)
    )
    simple = all(
        isinstance(op, _ON_PAGES) or (isinstance(op, sc.Madvise) and op.advice == "dontneed")
        for op in ops[first:]
    )
    if scenario.vm.manual_protect == "init_set" or scenario.vm.dirty_ring:
        return 0
    return first if plain and simple else 0


def _touched(scenario: RaceScenario, at: int) -> list[str]:
    """Addresses of the pages (of 4K) that the steps up to one touch, as far as slots hold them."""
    ops = [op for step in scenario.steps[: at + 1] for op in step_ops(step)]
    slots = [range(op.gpa, op.gpa + op.size) for op in ops if isinstance(op, sc.SlotAdd)]
    pages: set[int] = set()
    for op in ops:
        gpa = getattr(op, "gpa", None)
        if gpa is None or isinstance(op, sc.SlotAdd):
            continue
        size = op.size if isinstance(op, sc.Madvise) else 1
        pages |= set(range(gpa // _PAGE, -(-(gpa + size) // _PAGE)))
    return [
        address(page * _PAGE)
        for page in sorted(pages)
        if any(page * _PAGE in slot for slot in slots)
    ]


def _loop(scenario: RaceScenario, at: int, start: int) -> list[str]:
    """The line that opens a block's loop."""
    block = scenario.steps[at]
    assert isinstance(block, Parallel)
    touched = _touched(scenario, at)
    if not start or not touched:
        return [f"\twhile (race_again(vm, {block.repeat})) {{"]
    call = Call(
        "while (race_again",
        ("vm", str(block.repeat), f".from = {start}", *_macro(".pages = PAGES", touched)),
        "",
        end=") {",
    )
    return call_lines(call)


def _lines(
    scenario: RaceScenario,
    prediction: Prediction | None,
    index: int,
    name: str,
    indent: int,
    *,
    again: bool = False,
    on: bool = False,
) -> list[str]:
    """One step as a call; ``again``: it was made, and has its record, before."""
    step = scenario.steps[index]
    comment = f"{index}, again" if again else _comment(prediction, index, step)
    if isinstance(step, Parallel):
        return call_lines(Call("parallel", _block(step, index, name, on), comment, indent))
    return call_lines(_call(scenario, step, comment, indent, f"step {index}"))


def _call(scenario: RaceScenario, op: sc.GuestOp, comment: str, indent: int, where: str) -> Call:
    try:
        function, arguments = step_call(op)
    except UsageError as error:
        raise UsageError(f"scenario '{scenario.id}': {where} ({op.name}): {error}") from None
    return Call(function, ("vm", *arguments), comment, indent)


def _comment(prediction: Prediction | None, index: int, step: _Step) -> str:
    if isinstance(step, Parallel) and prediction is not None and index < len(prediction.steps):
        count = len(prediction.steps[index].allowed)
        return f"{index}: {count} outcome{'s' if count > 1 else ''} allowed"
    expected = expectation(prediction, index)
    return f"{index}: {expected}" if expected else f"{index}"


def _function(name: str, at: int, branch: int) -> str:
    return f"branch_{at}_{branch}_of_{name}"


def _branches(scenario: RaceScenario, at: int, name: str) -> list[str]:
    block = scenario.steps[at]
    assert isinstance(block, Parallel)
    lines: list[str] = []
    for number, branch in enumerate(block.parallel):
        lines += [f"static void {_function(name, at, number)}(struct vm *vm)", "{"]
        for place, op in enumerate(branch):
            where = f"step {at}, branch {number}, operation {place}"
            lines += call_lines(_call(scenario, op, f"{at}.{number}.{place}", 1, where))
        lines += ["}", ""]
    return lines


def _block(block: Parallel, at: int, name: str, goes_on: bool) -> tuple[str, ...]:
    names = [_function(name, at, number) for number in range(len(block.parallel))]
    arguments = ["vm", *_macro("BRANCHES", names)]
    if block.words:
        arguments += _macro("WORDS", [address(gpa) for gpa in block.words])
    if block.hold:
        arguments += _macro("HOLD", [address(gpa) for gpa in block.hold])
    if any(isinstance(op, sc.Mprotect) for op in step_ops(block)):
        arguments.append("UNPROTECT")
    if goes_on:
        arguments.append("GOES_ON")
    return tuple(arguments)


def _macro(name: str, pieces: list[str]) -> list[str]:
    """``NAME(a, b)`` as the pieces between which a line may break."""
    out = [f"{name}({pieces[0]}", *pieces[1:]]
    out[-1] += ")"
    return out


def _unused(scenario: RaceScenario) -> list[str]:
    return []


def _no_calls(scenario: RaceScenario, prediction: Prediction | None) -> list[Call]:
    return []


RACE = Suite(
    header="race.h", variable="race_suite", opening=_unused, calls=_no_calls, compose=_compose
)
