# SPDX-License-Identifier: GPL-2.0-only
"""The record protocol: lines that a running batch prints, to what was seen of each scenario.

Nothing a target prints makes this raise. What does not fit is recorded: in the scenario it
concerns, whose run is then INFRA with the raw line, or in :attr:`Records.stray`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import astuple

from harness.execute.delta import Delta, expand
from harness.vocabulary import RunStatus, ScenarioRun
from reference_model.outcome import CHANNELS, AnnotationRun, LeafRun, Observation

PROTOCOL = 1
#: Lines kept that belong to no record, per scenario and outside; a raw line is quoted up to…
MAX_STRAY = 200
MAX_QUOTE = 400

#: Channels that are objects of counts.
_COUNTS = frozenset({"cmo", "cmo_pages", "tlbi"})

_START = re.compile(r"# start (\d+)(?: (.*))?")
_KTAP = re.compile(r"(?:KTAP version|TAP version|1\.\.\d|(?:not )?ok \d)")


class Hello(Struct, frozen=True):
    """What the runner says of itself and the kernel before the first scenario."""

    protocol: int
    release: str = ""
    trace: bool = False
    missing: dict[str, str] = {}


class _Step(Observation, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step record: an observation and its number; long lists as of :mod:`.delta`.

    ``same``: what is left out is as in the step before: a channel, or a count of one.
    """

    n: int
    same: bool = False
    leaves_delta: Delta[LeafRun] | UnsetType = UNSET
    annotations_delta: Delta[AnnotationRun] | UnsetType = UNSET

    def observation(self, before: Observation) -> Observation:
        """What was seen, in full; ValueError where it does not fit the step before."""
        seen = dict(zip(CHANNELS, astuple(self), strict=False))
        seen["leaves"] = expand(self.leaves, self.leaves_delta, before.leaves)
        seen["annotations"] = expand(self.annotations, self.annotations_delta, before.annotations)
        if self.same:
            for name, old in zip(CHANNELS, astuple(before), strict=True):
                if seen[name] is UNSET:
                    seen[name] = old
                elif name in _COUNTS and old is not UNSET:
                    seen[name] = old | seen[name]
        return Observation(**seen)


class _End(Struct, frozen=True):
    status: RunStatus
    us: int = 0
    module_us: int = 0
    api_us: int = 0
    detail: str = ""
    step: int | None = None
    warned: tuple[int, int] | None = None


_step = msgspec.json.Decoder(_Step)
_end = msgspec.json.Decoder(_End)
_hello = msgspec.json.Decoder(Hello)


class _Bye(Struct, frozen=True):
    warned: tuple[int, int] | None = None


_bye = msgspec.json.Decoder(_Bye)


class Running(Struct):
    """A scenario that started and has not ended."""

    index: int
    steps: list[Observation]
    stray: list[str]
    bad: str = ""


class Records:
    """Parser of one session's output: lines in, ended scenarios out."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids
        self.hello: Hello | None = None
        #: The scenario that runs now.
        self.running: Running | None = None
        #: Number of records so far: a sign of progress.
        self.progress = 0
        #: Lines outside any scenario that are no records.
        self.stray: list[str] = []
        #: Why this output is not that of the batch that was sent, or "".
        self.refusal = ""
        #: The program has ended, and read in the kernel's log that all warnings have been told.
        self.quiet = False

    def feed(self, line: str) -> list[tuple[int, ScenarioRun]]:
        """One line; the scenarios that ended by it, with their indices (two at most)."""
        if line.startswith("# step "):
            self._on_step(line)
        elif line.startswith("# end "):
            return self._on_end(line)
        elif line.startswith("# start "):
            return self._on_start(line)
        elif line.startswith("# hello "):
            self._on_hello(line)
        elif line.startswith("# bye "):
            self._on_bye(line)
        elif line.strip() and not _KTAP.match(line):
            self._keep(line)
        return []

    def _on_hello(self, line: str) -> None:
        try:
            hello = _hello.decode(line[8:])
        except msgspec.MsgspecError as error:
            self._keep(f"{line} ({error})")
            return
        if hello.protocol != PROTOCOL:
            self.refusal = f"the batch speaks protocol {hello.protocol}, not {PROTOCOL}"
        self.hello = hello

    def _on_bye(self, line: str) -> None:
        try:
            self.quiet = _bye.decode(line[6:]).warned is None
        except msgspec.MsgspecError as error:
            self._keep(f"{line} ({error})")

    def _on_start(self, line: str) -> list[tuple[int, ScenarioRun]]:
        self.progress += 1
        ended = []
        if self.running is not None:
            self._spoil(f"no end record before: {line}")
            ended.append(self._finish(RunStatus.INFRA, _End(status=RunStatus.INFRA)))
        match = _START.fullmatch(line)
        index = int(match[1]) if match and len(match[1]) < 10 else -1
        if match is None or index >= len(self._ids) or match[2] != self._ids[index]:
            known = f"{self._ids[index]}" if 0 <= index < len(self._ids) else "no such scenario"
            self.refusal = f"not the batch that was sent: '{line[:MAX_QUOTE]}', expected {known}"
            return ended
        self.running = Running(index=index, steps=[], stray=[])
        return ended

    def _on_step(self, line: str) -> None:
        self.progress += 1
        running = self.running
        if running is None:
            self._keep(line)
            return
        if running.bad:
            return
        try:
            record = _step.decode(line[7:])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self._spoil(f"malformed step record ({error}): {line}")
            return
        if record.n != len(running.steps):
            self._spoil(f"step record {record.n} where {len(running.steps)} was due: {line}")
            return
        if record.same and not running.steps:
            self._spoil(f"malformed step record (as the step before, and there is none): {line}")
            return
        before = running.steps[-1] if running.steps else Observation()
        try:
            running.steps.append(record.observation(before))
        except ValueError as error:
            self._spoil(f"malformed step record ({error}): {line}")

    def _on_end(self, line: str) -> list[tuple[int, ScenarioRun]]:
        self.progress += 1
        if self.running is None:
            self._keep(line)
            return []
        try:
            end = _end.decode(line[6:])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self._spoil(f"malformed end record ({error}): {line}")
            end = _End(status=RunStatus.INFRA)
        return [self._finish(end.status, end)]

    def _finish(self, status: RunStatus, end: _End) -> tuple[int, ScenarioRun]:
        running = self.running
        assert running is not None
        self.running = None
        return running.index, ScenarioRun(
            id=self._ids[running.index],
            status=RunStatus.INFRA if running.bad else status,
            steps=tuple(running.steps),
            detail=running.bad or end.detail,
            log=tuple(running.stray),
            step=len(running.steps) if running.bad else end.step,
            micros=end.us,
            module_micros=end.module_us,
            api_micros=end.api_us,
            warned=end.warned,
        )

    def _spoil(self, why: str) -> None:
        if self.running is not None and not self.running.bad:
            self.running.bad = why[:MAX_QUOTE]

    def _keep(self, line: str) -> None:
        kept = self.stray if self.running is None else self.running.stray
        if len(kept) < MAX_STRAY:
            kept.append(line[:MAX_QUOTE])
