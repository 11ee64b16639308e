# SPDX-License-Identifier: GPL-2.0-only
"""One C file for many scenarios: a function each, a table of them, and main().

What is printed for one scenario is the batch of that one: what a person reads is what runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from harness.render.guest import GUEST
from harness.render.layout import Suite, call_lines
from harness.render.pgtable import PGTABLE
from harness.render.race import RACE
from harness.render.templates import c_template
from harness.render.text import comment_lines, comment_text, function_name
from harness.vocabulary import UsageError
from reference_model.outcome import Prediction
from reference_model.scenario import Scenario

#: Suites that have a C form; another suite adds its module here.
SUITES: dict[str, Suite] = {"guest": GUEST, "pgtable": PGTABLE, "race": RACE}

FLAVOURS = ("standalone", "upstream")


class _Function(Struct, frozen=True):
    """A scenario as the template prints it."""

    id: str
    name: str
    helpers: list[str]
    comment: list[str]
    body: list[str]


def render_batch(
    scenarios: Sequence[Scenario], predictions: Mapping[str, Prediction] | None = None
) -> str:
    """The C file of a batch: scenarios of one suite, in their order.

    ``predictions`` are by scenario id; where one is there, its expectation stands beside each
    step. UsageError: no scenario, two of one id, two suites, or a suite that has no C form.
    """
    if not scenarios:
        raise UsageError("a batch needs at least one scenario; none was given")
    names = {scenario.suite for scenario in scenarios}
    if len(names) > 1:
        raise UsageError(f"one batch holds one suite, not {' and '.join(sorted(names))}")
    suite = _suite(scenarios[0].suite)
    functions: dict[str, _Function] = {}
    taken: set[str] = set()
    for scenario in scenarios:
        if scenario.id in functions:
            raise UsageError(f"scenario id '{scenario.id}' stands twice in one batch; rename one")
        prediction = (predictions or {}).get(scenario.id)
        function = _function(scenario, prediction, suite, taken)
        functions[scenario.id] = function
        taken.add(function.name)
    return c_template("selftest/batch.c.j2").render(
        header=suite.header,
        suite=suite.variable,
        heading=_heading(scenarios, predictions or {}),
        functions=list(functions.values()),
    )


def render_one(
    scenario: Scenario, prediction: Prediction | None = None, flavour: str = "standalone"
) -> str:
    """The C file of one scenario, as ``harness render`` prints it; UsageError as above."""
    if flavour == "upstream":
        raise UsageError("flavour 'upstream' comes with `harness repro`; take 'standalone'")
    if flavour not in FLAVOURS:
        raise UsageError(f"no flavour '{flavour}'; known: {', '.join(FLAVOURS)}")
    return render_batch([scenario], {scenario.id: prediction} if prediction else None)


def _suite(name: str) -> Suite:
    if name not in SUITES:
        raise UsageError(
            f"suite '{name}' has no C form in this version; it has: {', '.join(sorted(SUITES))}"
        )
    return SUITES[name]


def _function(
    scenario: Scenario, prediction: Prediction | None, suite: Suite, taken: set[str]
) -> _Function:
    title = f"{scenario.id}: {scenario.title}" if scenario.title else scenario.id
    if prediction is not None and prediction.skip:
        title += f" (profile {prediction.profile} skips it: {prediction.skip})"
    name = function_name(scenario.id, taken)
    helpers: list[str] = []
    if suite.compose is not None:
        helpers, body = suite.compose(scenario, prediction, name)
    else:
        body = list(suite.opening(scenario))
        for call in suite.calls(scenario, prediction):
            body += call_lines(call)
        if suite.closing is not None:
            body += suite.closing(scenario)
    return _Function(
        id=scenario.id,
        name=name,
        helpers=helpers,
        comment=comment_lines(title),
        body=body,
    )


def _heading(scenarios: Sequence[Scenario], predictions: Mapping[str, Prediction]) -> list[str]:
    count = len(scenarios)
    what = f"{count} scenario{'s' if count > 1 else ''} of suite {scenarios[0].suite}."
    profiles = sorted({predictions[s.id].profile for s in scenarios if s.id in predictions})
    lines = [what]
    if profiles:
        lines += [
            "",
            "Beside each step: its number, and what the model allows under profile "
            + comment_text(", ".join(profiles))
            + ".",
        ]
    return [
        *lines,
        "",
        "Build, in kselftests: aarch64-linux-gnu-gcc -static -I. -o FILE FILE.c *.c *.S",
    ]
