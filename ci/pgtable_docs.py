#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Writes the pages of docs/ that say what the pgtable suite knows and covers.

    python ci/pgtable_docs.py            docs/pgtable.md: each knob, its sources, its scenario
    python ci/pgtable_docs.py coverage   docs/coverage-pgtable.md: what a campaign covers (a minute)

Run in the project's virtual environment. The first page is compared with its file by a unit test,
the figures of the second by one that is marked slow.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgspec import UNSET, Struct
from msgspec.structs import replace

from harness.generate import generate
from reference_model import predict
from reference_model.describe import size_text, value_text
from reference_model.language import load_text
from reference_model.outcome import CHANNELS, LeafRun, Observation, Prediction
from reference_model.profiles import PROFILES, Environment, SemanticsProfile
from reference_model.scenario import PgtableScenario
from reference_model.stage2_knobs import Stage2Knobs
from reference_model.stage2_sources import KNOB_SOURCES
from reference_model.transition_reasons import NO_SCENARIO, why_not
from reference_model.transition_universe import reached, universe
from reference_model.transitions import covered

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "scenarios" / "pgtable"
KNOBS_PAGE = ROOT / "docs" / "pgtable.md"
COVERAGE_PAGE = ROOT / "docs" / "coverage-pgtable.md"
#: Kernels that follow each other; the proposal of 2021 stands beside v6.1.
STEPS = (
    ("v5.10", "v6.1"),
    ("v6.1", "seed-2021"),
    ("v6.1", "v6.12"),
    ("v6.12", "v7.2"),
    ("v7.2", "v7.3"),
)
COUNT, SEED = 2000, 1

KNOBS_HEAD = """\
# The stage-2 page table, kernel by kernel

Written by `python ci/pgtable_docs.py` from the model; a test compares.

The model of the page-table API (`reference_model/pgtable*.py`) has no kernel version in it: what
differs between kernels is a knob of a profile (`reference_model/stage2_knobs.py`). For each knob
here: its value in every profile, the line of the kernel's source that it is taken from, and, for
each pair of kernels between which it changes, a scenario of `scenarios/pgtable/` that tells the
two values apart: the same profile, with this one knob as in the older and as in the newer kernel.
A scenario may run on one of two kernels only (`skip`): that tells them apart as well.

To see it happen:

    harness predict scenarios/pgtable/ranges.yaml --profile v6.1 --json
    harness diff scenarios/pgtable/ranges.yaml --kernel debian:trixie --profile v6.1

Functions stand in `arch/arm64/kvm/hyp/pgtable.c` unless a file is named.
"""

COVERAGE_HEAD = f"""\
# Transitions of the pgtable suite

Written by `python ci/pgtable_docs.py coverage`; a test, marked slow, compares.

A transition is what one step exercised: the operation, what it met, how much it was asked for and
how, and what came of it (`reference_model/transitions.py`). All that there are under a profile
are found by running every small case of `reference_model/transition_recipes.py` alone; the
generator takes them in turn (`harness/generate/pgtable.py`). The figures are for {COUNT:,}
scenarios of seed {SEED}, in the model; that kernels do the same is what a campaign compares:

    harness run --suite pgtable --count {COUNT} --seed {SEED} --kernel debian:trixie
"""


def scenarios() -> Iterator[tuple[str, PgtableScenario]]:
    """(file name, scenario) of the corpus, in order."""
    for file in sorted(CORPUS.glob("*.yaml")):
        for scenario in load_text(file.read_text(encoding="utf-8"), file.name):
            assert isinstance(scenario, PgtableScenario)
            yield file.name, scenario


# --- knobs -----------------------------------------------------------------------------------


def knobs_page() -> str:
    """docs/pgtable.md. AssertionError where a change has no scenario that shows it."""
    corpus = sorted(scenarios(), key=lambda pair: len(pair[1].steps))
    parts = [KNOBS_HEAD]
    for name in Stage2Knobs.__struct_fields__:
        doc = KNOB_SOURCES[name]
        parts.append(f"\n## {name}\n\n{doc.what}.\n\n| profile | value | source |\n|---|---|---|\n")
        for profile in PROFILES.values():
            value = _value(getattr(profile.stage2, name))
            parts.append(f"| {profile.name} | {value} | {_cell(doc.sources[profile.name])} |\n")
        rows = [row for pair in STEPS for row in _told_apart(name, *pair, corpus)]
        if not rows:
            parts.append("\nThe same in every profile: nothing to tell apart.\n")
            continue
        parts.append("\n| between | told apart by | at | older | newer |\n|---|---|---|---|---|\n")
        parts += rows
    return "".join(parts)


def _told_apart(
    knob: str, older: str, newer: str, corpus: list[tuple[str, PgtableScenario]]
) -> Iterator[str]:
    one, two = PROFILES[older], PROFILES[newer]
    values = [getattr(profile.stage2, knob) for profile in (one, two)]
    if values[0] == values[1]:
        return
    # The knob by itself: the newer kernel as it is, and with the older one's value; or the other
    # way round, where the newer kernel lacks what would show it.
    for base in (two, one):
        sides = [replace(base, stage2=replace(base.stage2, **{knob: value})) for value in values]
        best: tuple[str, PgtableScenario, Difference] | None = None
        for file, scenario in corpus:
            found = _first_difference(*(_prediction(scenario, side) for side in sides))
            if found is not None and (best is None or (best[2].step < 0 <= found.step)):
                best = (file, scenario, found)
        if best is not None:
            file, scenario, found = best
            where = f"step {found.step}, {found.channel}" if found.step >= 0 else "all of it"
            yield (
                f"| {older}, {newer} | {file}: `{scenario.id}` | {where} "
                f"| {_cell(found.older)} | {_cell(found.newer)} |\n"
            )
            return
    raise AssertionError(f"no scenario of {CORPUS} shows {knob} between {older} and {newer}")


def _prediction(scenario: PgtableScenario, profile: SemanticsProfile) -> Prediction:
    facts = Environment().facts()
    for key, value in scenario.env.items():
        facts[key] = ("on" if value else "off") if isinstance(value, bool) else str(value)
    return predict(scenario, profile, Environment.parse(facts.items()))


class Difference(Struct, frozen=True):
    """Where two predictions part, in words; step -1: one of them is a skip."""

    step: int
    channel: str
    older: str
    newer: str


def _first_difference(one: Prediction, two: Prediction) -> Difference | None:
    if bool(one.skip) != bool(two.skip):
        return Difference(-1, "", "skip" if one.skip else "runs", "skip" if two.skip else "runs")
    for index, (left, right) in enumerate(zip(one.steps, two.steps, strict=True)):
        for channel in CHANNELS:
            seen = (_text(left.allowed[0], channel), _text(right.allowed[0], channel))
            if seen[0] != seen[1]:
                return Difference(index, channel, *seen)
    return None


def _text(observation: Observation, channel: str) -> str:
    value = getattr(observation, channel)
    if value is UNSET:
        return "not predicted"
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items() if count) or "none"
    if channel == "leaves":
        return ", ".join(_leaves(run) for run in value) or "none"
    return value_text(channel, value)


def _leaves(run: LeafRun) -> str:
    ipa, size, pa, prot, _, af, _, count = run
    old = "" if af else " old"
    return f"{count} x {size_text(size)} {prot}{old} at {ipa:#x} -> {pa:#x}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


# --- coverage --------------------------------------------------------------------------------


def coverage_page(count: int = COUNT, seed: int = SEED) -> str:
    """docs/coverage-pgtable.md: what ``count`` generated scenarios of a seed reach, by profile."""
    env = Environment()
    parts = [COVERAGE_HEAD]
    parts.append("\n| profile | transitions | reached | others | steps |\n|---|---|---|---|---|\n")
    missing: list[str] = []
    others: list[str] = []
    for profile in PROFILES.values():
        known = universe(profile, env)
        counts = covered(_campaign(profile, env, count, seed), profile, env)
        share, whole = reached(counts, profile, env)
        beside = [one for one in sorted(counts) if one not in known]
        steps = sum(counts.values())
        parts.append(f"| {profile.name} | {whole} | {share} | {len(beside)} | {steps:,} |\n")
        missing += [f"- {profile.name}: {one}\n" for one in known if one not in counts]
        others += [f"- {profile.name}: {one}\n" for one in beside]
    parts.append("\n`others`: transitions that came up and that no case alone reaches")
    parts += [":\n\n", *others] if others else [".\n"]
    if missing:
        parts.append("\nNot reached in this campaign:\n\n" + "".join(missing))
    parts.append(_by_operation(env))
    parts.append(_not_reachable(env))
    return "".join(parts)


def _campaign(
    profile: SemanticsProfile, env: Environment, count: int, seed: int
) -> Iterator[PgtableScenario]:
    for scenario in generate("pgtable", count, seed, profile, env):
        assert isinstance(scenario, PgtableScenario)
        yield scenario


def _by_operation(env: Environment) -> str:
    counts = {
        profile.name: Counter(one.op for one in universe(profile, env))
        for profile in PROFILES.values()
    }
    ops = sorted({op for counter in counts.values() for op in counter})
    lines = ["\n## By operation\n\n| operation | " + " | ".join(PROFILES) + " |\n"]
    lines.append("|---" * (len(PROFILES) + 1) + "|\n")
    for op in ops:
        cells = " | ".join(str(counts[name][op]) for name in PROFILES)
        lines.append(f"| {op} | {cells} |\n")
    return "".join(lines)


def _not_reachable(env: Environment) -> str:
    """What one kernel can show and another cannot, and what none shows."""
    known = {profile.name: set(universe(profile, env)) for profile in PROFILES.values()}
    everything = set().union(*known.values())
    lines = [
        "\n## What is not reachable, and why\n\n"
        f"The profiles have {len(everything):,} transitions between them. What one has and another"
        " has not,\nby the knob that is the reason:\n\n"
        "| reason | " + " | ".join(PROFILES) + " |\n" + "|---" * (len(PROFILES) + 1) + "|\n"
    ]
    why: dict[str, Counter[str]] = {name: Counter() for name in PROFILES}
    for name, profile in PROFILES.items():
        for transition in everything - known[name]:
            why[name][why_not(transition, profile.stage2) or "unknown"] += 1
    for reason in sorted({reason for counter in why.values() for reason in counter}):
        cells = " | ".join(str(why[name][reason] or "") for name in PROFILES)
        lines.append(f"| {_cell(reason)} | {cells} |\n")
    lines.append("\nWays through the code that no scenario takes on any kernel:\n\n")
    lines += [f"- {_cell(what)}: {_cell(reason)}.\n" for what, reason in NO_SCENARIO]
    lines.append(
        "\nThe figures are for 4K pages and a root of any level, without FWB. With 16K and 64K"
        " pages there are\nno level-1 blocks; with FWB `flush` looks at nothing.\n"
    )
    return "".join(lines)


def main(argv: list[str]) -> int:
    """Writes one page; 2 for anything else."""
    if argv == []:
        KNOBS_PAGE.write_text(knobs_page(), encoding="utf-8")
    elif argv == ["coverage"]:
        COVERAGE_PAGE.write_text(coverage_page(), encoding="utf-8")
    else:
        print("usage: python ci/pgtable_docs.py [coverage]", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
