# SPDX-License-Identifier: GPL-2.0-only
"""The one door: which template a finding's suite and the flavour ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.render.repro import guest, pgtable
from harness.render.repro.heading import heading
from harness.render.templates import c_template
from harness.vocabulary import Explanation, Finding, UsageError
from reference_model.outcome import Prediction
from reference_model.scenario import GuestScenario, PgtableScenario

FLAVOURS = ("standalone", "upstream")


def render_repro(
    finding: Finding,
    explanation: Explanation | None = None,
    flavour: str = "standalone",
    name: str = "t",
) -> str:
    """The C file of a finding, as a program (or module) called ``name``.

    UsageError where the flavour does not exist, where the C has no form for an operation of the
    scenario, or where nothing that it can assert differs.
    """
    if flavour not in FLAVOURS:
        raise UsageError(f"no flavour '{flavour}'; known: {', '.join(FLAVOURS)}")
    prediction = finding.prediction
    if prediction is None or not prediction.steps:
        raise UsageError(
            f"{finding.short_id}: nothing was predicted that a C file could assert: "
            f"{finding.verdict.value} {finding.reason}"
        )
    values, template = _values(finding, prediction, flavour)
    values["heading"] = heading(finding, explanation, values.pop("needs"), name)
    return c_template(template).render(values)


def _values(finding: Finding, prediction: Prediction, flavour: str) -> tuple[dict[str, Any], str]:
    scenario = finding.scenario
    if isinstance(scenario, GuestScenario):
        _refuse_unseen(finding, guest.READABLE)
        return guest.guest_values(finding, scenario, prediction, flavour), "repro/guest.c.j2"
    if isinstance(scenario, PgtableScenario):
        if flavour == "upstream":
            raise UsageError(
                "--flavour upstream: suite pgtable calls functions inside the kernel, which the "
                "selftest library cannot; take --flavour standalone, which is a kernel module"
            )
        _refuse_unseen(finding, pgtable.READABLE)
        return pgtable.pgtable_values(finding, scenario, prediction), "repro/pgtable.c.j2"
    raise UsageError(
        f"suite '{scenario.suite}' has no C file of its own yet; "
        f"run it with: harness replay {finding.short_id}"
    )


def _refuse_unseen(finding: Finding, readable: Sequence[str]) -> None:
    """A file that passes where the kernel is wrong would be a lie."""
    if finding.died is not None:
        return
    channels = [one.channel for one in finding.differences if one.against == "model"]
    if channels and not set(channels) & set(readable):
        names = " ".join(dict.fromkeys(channels))
        raise UsageError(
            f"{finding.short_id}: it differs on {names} alone, and one C file reads "
            f"{' '.join(readable)}: mail the scenario and 'harness diff' instead"
        )
