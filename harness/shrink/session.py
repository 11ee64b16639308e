# SPDX-License-Identifier: GPL-2.0-only
"""The whole of ``harness shrink``: see it again, guess with the model, let the kernel decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from harness.compare.explain import explain_finding, variants
from harness.shrink.edits import cost, to_tree
from harness.shrink.oracles import (
    KernelOracle,
    ModelOracle,
    PairOracle,
    Side,
    model_differences,
    model_signature,
    pair_signature,
)
from harness.shrink.reduce import Oracle, Reduction, reduce_scenario
from harness.shrink.signature import Signature, signature_of
from harness.shrink.statistics import StatisticalOracle, interval, plan_for
from harness.vocabulary import Finding, InfraError, UsageError, Verdict
from reference_model.profiles import PROFILES, Environment, SemanticsProfile
from reference_model.scenario import Scenario

Note = Callable[[str], None]

#: Runs in which something that always happens has to happen again.
_AGAIN = 3
#: Runs that measure how often something happens that does not always.
_MEASURE = 60
#: Differing scenarios that are made smaller before the smallest is taken.
_MOST_STARTS = 12
#: Steps of what runs at once have no fixed outcome: they are measured from the start.
_SOMETIMES_SUITES = ("race",)


class Shrunk(Struct, frozen=True, kw_only=True):
    """The smallest scenario, what it shows, and how many were asked of whom."""

    scenario: Scenario
    signature: Signature
    asked_model: int
    asked_kernel: int
    batches: int
    finished: bool


def shrink_finding(finding: Finding, side: Side, note: Note, *, tries: int = 20_000) -> Shrunk:
    """The smallest scenario with the same finding on the same kernel.

    UsageError for a finding in which nothing differs from the model; InfraError where it does not
    happen again.
    """
    wanted = signature_of(finding)
    if wanted is None:
        raise UsageError(_why_not(finding))
    note(f"{finding.scenario.id}: {wanted.words()}")
    start = msgspec.structs.replace(finding.scenario, title="", expect=())
    oracle, asked = _oracle_for(finding, start, side, wanted, note)
    start, more = _cut_behind(finding, start, oracle)
    asked += more
    likely = _likely(finding, wanted)
    asked_model = 0
    if likely is not None:
        guess = reduce_scenario(start, likely, tries=tries)
        asked_model = guess.tried
        note(
            f"the model: {_count(start)} -> {_count(guess.scenario)} steps, "
            f"{guess.tried} candidates asked"
        )
        asked += 1
        if oracle.shows([guess.scenario]) == [True]:
            start = guess.scenario
        else:
            note("the kernel says no to what the model said: it is asked about every candidate")
            likely = None
    if isinstance(oracle, KernelOracle):
        oracle = KernelOracle(side, wanted, likely)
    made = reduce_scenario(start, oracle, tries=tries)
    if isinstance(oracle, StatisticalOracle):
        _tell_rate(oracle, made.scenario, note)
    return _shrunk(made, wanted, asked_model, asked + made.tried)


def _shrunk(made: Reduction, wanted: Signature, asked_model: int, asked_kernel: int) -> Shrunk:
    return Shrunk(
        scenario=made.scenario,
        signature=wanted,
        asked_model=asked_model,
        asked_kernel=asked_kernel,
        batches=made.batches,
        finished=made.finished,
    )


def _why_not(finding: Finding) -> str:
    if any(one.against != "model" for one in finding.differences):
        return (
            f"{finding.short_id}: only a pinned expectation differs, and a pin belongs to the "
            "whole scenario; mend the pin (expect), or the model"
        )
    return f"{finding.short_id}: {finding.verdict.value}, so there is nothing to make smaller"


def _count(scenario: Scenario) -> int:
    return cost(to_tree(scenario))[0]


def _oracle_for(
    finding: Finding, start: Scenario, side: Side, wanted: Signature, note: Note
) -> tuple[KernelOracle | StatisticalOracle, int]:
    """Who decides, after the original was seen again; and how often the kernel was asked."""
    kernel = KernelOracle(side, wanted)
    sometimes = finding.verdict is Verdict.FLAKY or start.suite in _SOMETIMES_SUITES
    again = 1 if kernel.greedy else _AGAIN
    seen = 0
    if not sometimes:
        seen = sum(kernel.shows(_copies(start, again)))
        note(f"seen again in {seen} of {again} runs")
        if seen == again:
            return kernel, again
    runs = _MEASURE
    copies = _copies(start, runs)
    for at in range(0, runs, kernel.batch):
        seen += sum(kernel.shows(copies[at : at + kernel.batch]))
    runs += 0 if sometimes else again
    low, high = interval(seen, runs)
    note(f"seen in {seen} of {runs} runs: rate {seen / runs:.3f} ({low:.3f} to {high:.3f}, 95 %)")
    if not seen:
        raise InfraError(
            f"{finding.short_id}: not seen again in {runs} runs on {finding.target.name}; "
            "is it the same kernel? harness replay " + finding.short_id
        )
    plan = plan_for(max(low, 1 / runs))
    if plan is None:
        raise InfraError(
            f"{finding.short_id}: too rare to decide about smaller ones; raise 'repeat' or use a "
            "faster target"
        )
    note(plan.words())
    return StatisticalOracle(kernel, plan), runs


def _copies(scenario: Scenario, count: int) -> list[Scenario]:
    return [msgspec.structs.replace(scenario, id=f"{scenario.id}.{at}") for at in range(count)]


def _tell_rate(oracle: StatisticalOracle, scenario: Scenario, note: Note) -> None:
    """What is left, measured again: the runs that chose it chose the lucky ones too."""
    runs = max(oracle.plan.runs, _MEASURE)
    (seen,) = oracle.count([scenario], runs)
    low, high = interval(seen, runs)
    note(
        f"the smallest: seen in {seen} of {runs} new runs, rate {seen / runs:.3f} "
        f"({low:.3f} to {high:.3f}, 95 %)"
    )


def _cut_behind(finding: Finding, start: Scenario, oracle: Oracle) -> tuple[Scenario, int]:
    """Without the steps behind the first that differs, where that shows it too."""
    steps = [one.step for one in finding.differences if one.against == "model"]
    last = min(steps) if steps else (finding.run.step if finding.run is not None else None)
    if last is None or last + 1 >= len(start.steps):
        return start, 0
    head: Scenario = msgspec.structs.replace(start, steps=start.steps[: last + 1])
    return (head, 1) if oracle.shows([head]) == [True] else (start, 1)


def _likely(finding: Finding, wanted: Signature) -> ModelOracle | None:
    """The model's guess of what the kernel does: the knob, or the profile, that explains it."""
    explanation = explain_finding(finding)
    if explanation is None or finding.profile not in PROFILES:
        return None
    belief = PROFILES[finding.profile]
    env = Environment.parse((finding.target.env | finding.env).items())
    truths = [
        variant.profile
        for flip in explanation.flips
        for variant in variants(belief)
        if (variant.knob, set(variant.profiles)) == (flip.knob, set(flip.profiles))
    ]
    truths += [PROFILES[name] for name in explanation.profiles]
    scenario = msgspec.structs.replace(finding.scenario, expect=())
    for truth in truths:
        if wanted.covers(model_signature(scenario, belief, truth, env)):
            return ModelOracle(belief, truth, env, wanted)
    return None


# --- what tells two profiles, or two kernels, apart --------------------------------------------


def between_profiles(
    base: SemanticsProfile,
    other: SemanticsProfile,
    env: Environment,
    starts: Sequence[Scenario],
    *,
    tries: int = 20_000,
) -> Shrunk | None:
    """The smallest scenario of which the two predict something else; None where none does."""
    best: Shrunk | None = None
    asked = 0
    differing = 0
    for start in starts:
        plain = msgspec.structs.replace(start, title="", expect=())
        differences = model_differences(plain, base, other, env)
        if not differences:
            continue
        differing += 1
        head = msgspec.structs.replace(plain, steps=plain.steps[: differences[0].step + 1])
        wanted = model_signature(head, base, other, env)
        if wanted is None:
            continue
        made = reduce_scenario(head, ModelOracle(base, other, env, wanted), tries=tries)
        asked += made.tried
        if best is None or cost(to_tree(made.scenario)) < cost(to_tree(best.scenario)):
            best = _shrunk(made, wanted, asked, 0)
        if differing == _MOST_STARTS:
            break
    return None if best is None else msgspec.structs.replace(best, asked_model=asked)


def between_kernels(
    base: Side, other: Side, starts: Sequence[Scenario], note: Note, *, tries: int = 20_000
) -> Shrunk | None:
    """The smallest scenario that the two kernels answer differently; None where none does.

    Starts with the smallest of those that differ.
    """
    plain = [msgspec.structs.replace(start, title="", expect=()) for start in starts]
    sides = zip(base.findings(plain), other.findings(plain), strict=True)
    found = [
        (cost(to_tree(one.scenario)), one.scenario, signature)
        for one, two in sides
        if (signature := pair_signature(one, two)) is not None
    ]
    note(f"{len(found)} of {len(plain)} scenarios differ")
    if not found:
        return None
    _, start, wanted = min(found, key=lambda one: one[0])
    note(f"{start.id}: {wanted.words()}")
    made = reduce_scenario(start, PairOracle(base, other, wanted), tries=tries)
    return _shrunk(made, wanted, 0, 2 * (made.tried + len(plain)))
