# SPDX-License-Identifier: GPL-2.0-only
"""A target whose kernel is the model itself, with faults that a test puts in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from harness.campaign import TargetPlan, workload
from harness.targets import Command
from harness.vocabulary import BatchProgram, TargetInfo
from reference_model import predict
from reference_model.outcome import Observation
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import Scenario
from tests.execute import fake

#: (scenario, how often it has run before, what the model says) -> what the kernel does; it hangs
#: in the first step that is not there.
Fault = Callable[[Scenario, int, tuple[Observation, ...]], tuple[Observation, ...]]


class Simulated(fake.FakeTarget):
    """Runs whatever batch it is sent."""

    def __init__(
        self,
        programs: dict[str, Sequence[Scenario]],
        *,
        name: str = "sim",
        fault: Fault = lambda scenario, times, steps: steps,
        release: str = "6.12.0",
    ) -> None:
        super().__init__()
        self._programs = programs
        self._fault = fault
        self._batch: Sequence[Scenario] = ()
        self.ran: Counter[str] = Counter()
        self.info = TargetInfo(
            name=name, kind="qemu", release=release, env=Environment().facts(), modules=True
        )

    def put(self, local: Path, name: str) -> str:
        if str(local) in self._programs:
            self._batch = self._programs[str(local)]
        return super().put(local, name)

    def start(self, argv: Sequence[str]) -> Command:
        if "--lane" in argv:
            self._in_lanes[int(argv[argv.index("--lane") + 1])] = self._play(list(argv))
        elif argv[0] != "sh" or "/fake/batch" in argv:
            self._scripts.append(self._play(list(argv)))
        return super().start(argv)

    def _play(self, argv: list[str]) -> fake.Script:
        wanted = list(range(len(self._batch)))
        if "--only" in argv:
            wanted = [int(at) for at in argv[argv.index("--only") + 1].split(",")]
        if "--start" in argv:
            wanted = wanted[int(argv[argv.index("--start") + 1]) :]
        script: fake.Script = list(fake.hello())
        for at in wanted:
            scenario = self._batch[at]
            predicted = predict(scenario, PROFILES["v6.12"], Environment())
            steps = tuple(step.allowed[0] for step in predicted.steps)
            steps = self._fault(scenario, self.ran[scenario.id], steps)
            self.ran[scenario.id] += 1
            script.append(f"# start {at} {scenario.id}")
            for n, step in enumerate(steps):
                record = msgspec.json.encode(msgspec.to_builtins(step) | {"n": n}).decode()
                script.append(f"# step {record}")
            if len(steps) < len(predicted.steps):
                end = {"status": "hang", "detail": "no step within 10 s", "step": len(steps)}
                script += [f"# end {json.dumps(end)}", f"not ok {at + 1} {scenario.id}"]
            else:
                script += ['# end {"status":"done","us":2500}', f"ok {at + 1} {scenario.id}"]
        return [*script, fake.Exit(0)]


class Lab:
    """Builds nothing, boots nothing: what ``harness run`` opens instead of QEMU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs: dict[str, Sequence[Scenario]] = {}
        self.targets: list[Simulated] = []
        self.fault: Fault = lambda scenario, times, steps: steps
        self.names: tuple[str, ...] = ("sim",)
        self.lanes = 1
        monkeypatch.setattr(workload, "build", self._build)
        for module in ("run", "diff"):
            monkeypatch.setattr(f"harness.cli.{module}.plans_from", self._plans)
        monkeypatch.setattr("harness.cli.replay.plans_again", self._plans)
        # An interrupt ends the guests of a process for good; other tests here have some.
        for module in ("campaign.line", "cli.execution"):
            monkeypatch.setattr(f"harness.{module}.end_all_guests", lambda: None)
        monkeypatch.setattr("harness.execute.runner.MARGIN", 0.05)
        monkeypatch.setattr("harness.execute.watch._BEHIND", 0.0)
        monkeypatch.setattr("harness.execute.watch._ON_THEIR_WAY", 0.0)

    def _build(self, chunk: Sequence[Scenario]) -> BatchProgram:
        name = f"/nonexistent/{len(self.programs)}"
        self.programs[name] = list(chunk)
        return BatchProgram(elf=name, ids=tuple(scenario.id for scenario in chunk))

    def _plans(self, *_: object) -> list[TargetPlan]:
        def opener(name: str) -> Callable[[], Simulated]:
            def open_target() -> Simulated:
                target = Simulated(self.programs, name=name, fault=self.fault)
                self.targets.append(target)
                return target

            return open_target

        return [
            TargetPlan(name, opener(name), ("--kernel", name), lanes=self.lanes)
            for name in self.names
        ]

    @property
    def ran(self) -> Counter[str]:
        """How often each scenario was run, on whatever target."""
        return sum((target.ran for target in self.targets), Counter())


def wrong(steps: tuple[Observation, ...], at: int = -1) -> tuple[Observation, ...]:
    """The last step (or another) returns what no model says."""
    changed = msgspec.structs.replace(steps[at], ret=-1000)
    place = at % len(steps)
    return (*steps[:place], changed, *steps[place + 1 :])
