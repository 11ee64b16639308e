# SPDX-License-Identifier: GPL-2.0-only
"""A target that plays what a test wrote: one script for every program that is started on it."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from harness.execute import run_batch
from harness.targets import Command, Condition, Health
from harness.vocabulary import (
    BatchProgram,
    ScenarioRun,
    TargetError,
    TargetInfo,
    TransportLostError,
)

ALIVE = Condition(Health.ALIVE)

PANIC = (
    "[    5.100000] Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
    "[    5.100001] Internal error: Oops: 0000000096000004 [#1] SMP",
    "[    5.100002] pc : stage2_map_walker+0x10/0x200",
    "[    5.100003] Call trace:",
    "[    5.100004]  stage2_map_walker+0x10/0x200",
    "[    5.100005] ---[ end trace 0000000000000000 ]---",
    "[    5.100006] Kernel panic - not syncing: Oops: Fatal exception",
)
WARN = (
    "[    5.000000] ------------[ cut here ]------------",
    "[    5.000001] WARNING: CPU: 1 PID: 99 at arch/arm64/kvm/mmu.c:312 user_mem_abort+0x4/0x8",
    "[    5.000002] ---[ end trace 0000000000000000 ]---",
)


class Log(Struct, frozen=True):
    """These kernel log lines come now."""

    lines: tuple[str, ...]


class Lost(Struct, frozen=True):
    """The link breaks; the target is in this condition then."""

    condition: Condition


class Silence(Struct, frozen=True):
    """Nothing comes any more; the target is in this condition then."""

    condition: Condition = ALIVE


class Exit(Struct, frozen=True):
    """The program ends with this status."""

    status: int = 0


#: The machine starts again without a word.
RESET = Lost(Condition(Health.RESET, "the guest reset"))

Event: TypeAlias = str | Log | Lost | Silence | Exit
Script: TypeAlias = list[Event]


def scenario(
    index: int,
    ident: str,
    *,
    steps: int = 2,
    status: str = "done",
    warned: tuple[int, int] | None = None,
) -> list[str]:
    """The records of one scenario."""
    end = json.dumps({"status": status, "us": 10} | ({"warned": warned} if warned else {}))
    return [
        f"# start {index} {ident}",
        *(f'# step {{"n":{n},"ret":{-n}}}' for n in range(steps)),
        f"# end {end}",
        f"ok {index + 1} {ident}",
    ]


def hello() -> list[str]:
    """What a program says first."""
    return ["KTAP version 1", "1..9", '# hello {"protocol":1,"release":"6.12.0","trace":true}']


class FakeCommand:
    """Plays one script."""

    def __init__(self, target: FakeTarget, script: Iterable[Event]) -> None:
        self._target = target
        self._events = deque(script)
        self.status: int | None = None
        self.closed = False

    def read(self, wait: float) -> list[str] | None:
        while self._events:
            event = self._events.popleft()
            match event:
                case str():
                    return [event]
                case Log(lines):
                    self._target.log.extend(lines)
                case Lost(condition):
                    self._target.condition = condition
                    self._events.appendleft(event)
                    raise TransportLostError("fake: the link broke")
                case Silence(condition):
                    self._target.condition = condition
                    self._events.appendleft(event)
                    time.sleep(min(wait, 0.01))
                    return []
                case Exit(status):
                    self.status = status
                    self._events.clear()
        if self.status is None:
            self.status = 0
        return None

    def close(self) -> None:
        self.closed = True


class FakeTarget:
    """Plays one script per started program; ``shell`` counts the others (sh -c …).

    The first ``lanes`` scripts are those of ``--lane`` 0 and so on, in whatever order they start.
    """

    console = ""

    def __init__(self, *scripts: Script, replaceable: int = 99, lanes: int = 0) -> None:
        self._in_lanes = dict(enumerate(scripts[:lanes]))
        self._scripts = deque(scripts[lanes:])
        self._replaceable = replaceable
        self.info = TargetInfo(name="fake", kind="qemu", release="6.12.0")
        self.condition = ALIVE
        self.log: list[str] = []
        self.started: list[list[str]] = []
        self.shell: list[list[str]] = []
        self.commands: list[FakeCommand] = []
        self.puts = 0
        self.replaced = 0
        self.settled = 0

    def put(self, local: Path, name: str) -> str:
        if self.condition.health is not Health.ALIVE:
            raise TargetError("fake: dead")
        self.puts += 1
        return f"/fake/{name}"

    def start(self, argv: Sequence[str]) -> Command:
        if argv[0] == "sh" and "/fake/batch" not in argv:
            self.shell.append(list(argv))
            return FakeCommand(self, [])
        self.started.append(list(argv))
        lane = int(argv[argv.index("--lane") + 1]) if "--lane" in argv else None
        script = self._scripts.popleft() if lane is None else self._in_lanes.pop(lane)
        command = FakeCommand(self, script)
        self.commands.append(command)
        return command

    def kernel_log(self, *, settle: bool = False) -> tuple[str, ...]:
        self.settled += settle
        lines, self.log = tuple(self.log), []
        return lines

    def examine(self) -> Condition:
        return self.condition

    def replace(self) -> float:
        if self.replaced >= self._replaceable:
            raise TargetError("fake: no other machine")
        self.replaced += 1
        self.condition = ALIVE
        self.log.clear()
        return 0.0

    def close(self) -> None: ...

    @property
    def unplayed(self) -> int:
        """Scripts that were not asked for."""
        return len(self._scripts) + len(self._in_lanes)

    def arguments(self) -> list[list[str]]:
        """What each session was started with, without program and time limit."""
        return [argv[argv.index("--timeout") + 2 :] for argv in self.started]


def program(*ids: str) -> BatchProgram:
    """A batch of scenarios with these ids."""
    return BatchProgram(elf="/nonexistent/batch", ids=ids)


def start_of(index: int, ident: str, steps: int = 1) -> Script:
    """The records of a scenario up to one of its steps."""
    return list(scenario(index, ident, steps=steps)[: 1 + steps])


def play(target: FakeTarget, *ids: str, only: list[int] | None = None) -> dict[str, ScenarioRun]:
    """Run a batch of these scenarios: how each ended. All scripts of the target are used up."""
    runs = list(run_batch(target, program(*ids), scenario_timeout=0.1, only=only))
    assert len({run.id for run in runs}) == len(runs), "a scenario was given out twice"
    assert not target.unplayed
    assert all(command.closed for command in target.commands)
    return {run.id: run for run in runs}


def statuses(runs: dict[str, ScenarioRun]) -> str:
    """How each ended, in one line: ``a:done b:crash``."""
    return " ".join(f"{name}:{runs[name].status.value}" for name in sorted(runs))
