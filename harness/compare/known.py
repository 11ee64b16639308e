# SPDX-License-Identifier: GPL-2.0-only
"""Known divergences: a reviewed list that turns a DIVERGE, a HANG or a CRASH into KNOWN.

An entry is narrow on purpose, so that it hides no other bug: it names scenarios, kernels and
channels, and is KNOWN only what differs on none but those channels. A HANG has none: its entry
names scenarios and kernels. A CRASH has a splat, which the kernel survived: it is KNOWN where the
kernel complained of nothing else, every step ran, and all that they showed is as predicted. An
entry that is past its date, or whose scenarios ran and matched, is told.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec
import yaml
from msgspec import Struct

from harness.compare.judge import Judgement
from harness.vocabulary import AND_COMPLAINT, UsageError, Verdict
from reference_model.outcome import CHANNELS
from reference_model.scenario import Parallel, Scenario

#: What the runner (close_scenario() in kselftests/runner.c) says of a hang, and of a worse one.
NO_STEP, NOT_KILLED = "no step within ", ", and SIGKILL does not end it"


class KnownDivergence(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry.

    ``scenario`` is a glob on scenario ids, ``kernels`` are globs on releases (``uname -r``);
    neither may be all wildcard. ``verdict`` is what would be said without the entry. Of a DIVERGE
    ``channels`` are those on which it differs, ``operations`` the steps' operations at which it
    does (none named: any). A HANG has neither: it is a step that does not end in a kernel that goes
    on. Of a CRASH ``splat`` is a glob on the kernel's complaint, and ``operations`` are what it
    takes: the scenario has all of them, which narrows enough for a ``scenario`` of "*". ``link``
    names a thread or a commit by its title; ``review`` is the day (YYYY-MM-DD) on which to look
    again.
    """

    title: str
    scenario: str
    kernels: tuple[str, ...]
    reason: str
    link: str
    review: datetime.date
    verdict: Literal["DIVERGE", "HANG", "CRASH"] = "DIVERGE"
    splat: str = ""
    channels: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()

    def concerns(self, scenario: str, release: str) -> bool:
        """True for the scenarios and kernels that it names."""
        return fnmatchcase(scenario, self.scenario) and any(
            fnmatchcase(release, pattern) for pattern in self.kernels
        )

    def explains(self, judgement: Judgement, scenario: Scenario, release: str) -> bool:
        """True where it accounts for the verdict, and for every difference."""
        if judgement.verdict.value != self.verdict or not self.concerns(scenario.id, release):
            return False
        if self.verdict == "CRASH":
            return self._explains_crash(judgement, scenario)
        if self.verdict == "HANG" and not _is_of_a_step(judgement.reason):
            return False
        return all(
            one.channel in self.channels
            and (not self.operations or scenario.steps[one.step].name in self.operations)
            for one in judgement.differences
        )

    def _explains_crash(self, judgement: Judgement, scenario: Scenario) -> bool:
        """Every complaint is this one, and nothing is amiss beside it."""
        complaints = judgement.reason.partition(" (")[0].split(AND_COMPLAINT)
        return (
            all(fnmatchcase(one, self.splat) for one in complaints)
            and bool(judgement.compared)
            and not judgement.differences
            and _operations(scenario) >= set(self.operations)
        )


def _is_of_a_step(reason: str) -> bool:
    """A step that did not end, while the kernel went on and could end its process."""
    return reason.startswith(NO_STEP) and NOT_KILLED not in reason


def _operations(scenario: Scenario) -> set[str]:
    """Names of all operations, those in the branches of parallel blocks too."""
    names: set[str] = set()
    for step in scenario.steps:
        branches = step.parallel if isinstance(step, Parallel) else ((step,),)
        names.update(op.name for branch in branches for op in branch)
    return names


class KnownList:
    """The entries, and what became of them in a run: it counts as it is asked."""

    def __init__(self, entries: Sequence[KnownDivergence] = ()) -> None:
        self._entries = tuple(entries)
        self._matched: set[str] = set()
        self._seen: set[str] = set()

    def apply(
        self, judgement: Judgement, scenario: Scenario, release: str
    ) -> tuple[Judgement, str]:
        """The judgement, as KNOWN where an entry explains it, and the title of that entry."""
        if judgement.verdict is Verdict.MATCH:
            self._matched.update(
                entry.title
                for entry in self._entries
                if _is_narrow(entry.scenario) and entry.concerns(scenario.id, release)
            )
        for entry in self._entries:
            if entry.explains(judgement, scenario, release):
                self._seen.add(entry.title)
                reason = f"{entry.title}: {judgement.reason}"
                known = msgspec.structs.replace(judgement, verdict=Verdict.KNOWN, reason=reason)
                return known, entry.title
        return judgement, ""

    def complaints(self, today: datetime.date) -> list[str]:
        """A line for each entry that is past its date, or explains nothing any more."""
        lines = []
        for entry in self._entries:
            if entry.title in self._matched and entry.title not in self._seen:
                lines.append(
                    f"known divergence '{entry.title}': its scenarios ({entry.scenario}) ran and "
                    "matched; take the entry out"
                )
            elif entry.review < today:
                lines.append(
                    f"known divergence '{entry.title}' was to be looked at again by "
                    f"{entry.review}; see {entry.link}"
                )
        return lines


def parse_known(text: str, name: str) -> list[KnownDivergence]:
    """The entries of a known.yaml; UsageError names the file, the entry and the mend."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise UsageError(f"{name}: a list of entries is wanted; see docs/reports.md")
    entries: list[KnownDivergence] = []
    for number, item in enumerate(raw, 1):
        try:
            entry = msgspec.convert(item, KnownDivergence)
        except msgspec.ValidationError as error:
            raise UsageError(f"{name}: entry {number}: {error}; see docs/reports.md") from error
        problem = _problem(entry, {one.title for one in entries})
        if problem:
            raise UsageError(f"{name}: entry {number} ('{entry.title}'): {problem}")
        entries.append(entry)
    return entries


def _is_narrow(pattern: str) -> bool:
    """True for a glob that does not fit everything."""
    return bool(pattern.strip("*?[]!.- "))


def _problem(entry: KnownDivergence, titles: set[str]) -> str:
    """What makes an entry one that cannot stand, or ""."""
    for field in ("title", "reason", "link"):
        if not getattr(entry, field).strip():
            return f"{field} is empty; the next reader needs it"
    if entry.title in titles:
        return "an earlier entry has this title; titles are unique"
    crash = entry.verdict == "CRASH"
    if crash and not entry.splat:
        return "a CRASH is told by its splat: a glob on what the kernel complains of"
    for pattern in (entry.splat if crash else entry.scenario, *entry.kernels):
        if not _is_narrow(pattern):
            return f"'{pattern}' fits anything and would hide new bugs; name a part of it"
    if not entry.kernels:
        return "kernels must name at least one"
    return _kind_problem(entry)


def _kind_problem(entry: KnownDivergence) -> str:
    """What does not go with the entry's verdict, or ""."""
    if entry.splat and entry.verdict != "CRASH":
        return "only a CRASH has a splat; take it out, or say verdict: CRASH"
    if entry.verdict == "HANG":
        if entry.channels or entry.operations:
            return "a HANG is told by its scenario alone; take channels and operations out"
        return ""
    if entry.verdict == "CRASH":
        if entry.channels or not entry.operations:
            return "a CRASH has no channels; say in operations what it takes"
        return ""
    if not entry.channels:
        return "channels must name at least one"
    for channel in entry.channels:
        if channel not in CHANNELS:
            return f"no channel '{channel}'; there are {', '.join(CHANNELS)}"
    return ""
