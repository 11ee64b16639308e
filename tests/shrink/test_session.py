# SPDX-License-Identifier: GPL-2.0-only
"""The whole of a shrink, on kernels that do what a profile says."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from harness.shrink.oracles import KernelOracle, PairOracle
from harness.shrink.session import between_kernels, between_profiles, shrink_finding
from harness.shrink.signature import Signature, headline, signature_of
from harness.vocabulary import (
    Finding,
    InfraError,
    RunStatus,
    StepDifference,
    UsageError,
    Verdict,
)
from reference_model import scenario as sc
from reference_model.profiles import PROFILES
from reference_model.scenario import Scenario
from tests.asif import DIRTY, ENV, OVER, AsIf, as_if, seen_otherwise
from tests.shrink.test_reduce import forty


def quiet(_text: str) -> None:
    return


def test_a_finding_with_a_knob_ends_small_and_the_kernel_has_the_last_word() -> None:
    start = next(made for seed in range(50) if (made := forty("v6.1", "v6.12", seed)))
    side = AsIf("v6.1", "v6.12")
    finding = as_if(start, "v6.1", "v6.12")
    shrunk = shrink_finding(finding, side, quiet)
    assert len(shrunk.scenario.steps) <= 4
    assert shrunk.signature.covers(signature_of(as_if(shrunk.scenario, "v6.1", "v6.12")))
    assert any(one.steps == shrunk.scenario.steps for one in side.asked)
    assert shrunk.asked_model > shrunk.asked_kernel


class Forgetful(AsIf):
    """A kernel that forgets a dirty page where a slot was read before it was written."""

    def __init__(self) -> None:
        super().__init__("v6.12", "v6.12")

    def findings(self, scenarios: Sequence[Scenario]) -> list[Finding]:
        return [self._one(finding) for finding in super().findings(scenarios)]

    def _one(self, finding: Finding) -> Finding:
        if finding.run is None:
            return finding
        steps = finding.scenario.steps
        for at, step in enumerate(steps):
            before = [one.name for one in steps[:at]]
            if isinstance(step, sc.DirtyGet) and finding.run.steps[at].dirty and "read" in before:
                return seen_otherwise(finding, at, dirty=())
        return finding


def test_a_wrong_kernel_that_no_knob_explains() -> None:
    noise = tuple(sc.Write(gpa=0x8001_0000 + (at << 12), value=at) for at in range(12))
    start = msgspec.structs.replace(
        DIRTY, steps=(DIRTY.steps[0], DIRTY.steps[3], *noise, DIRTY.steps[1], DIRTY.steps[2])
    )
    side = Forgetful()
    (finding,) = side.findings([start])
    assert finding.verdict is Verdict.DIVERGE
    shrunk = shrink_finding(finding, side, quiet)
    assert shrunk.asked_model == 0
    assert sorted(step.name for step in shrunk.scenario.steps) == [
        "dirty_get",
        "read",
        "slot_add",
        "write",
    ]


class Fragile(AsIf):
    """A kernel that dies of an unmap behind a map; each death costs a guest."""

    def __init__(self) -> None:
        super().__init__("v6.12", "v6.12")
        self.deaths = 0

    def findings(self, scenarios: Sequence[Scenario]) -> list[Finding]:
        return [self._one(finding) for finding in super().findings(scenarios)]

    def _one(self, finding: Finding) -> Finding:
        names = [step.name for step in finding.scenario.steps]
        if "map" not in names or "unmap" not in names[names.index("map") :]:
            return finding
        self.deaths += 1
        at = names.index("unmap", names.index("map"))
        assert finding.run is not None
        run = msgspec.structs.replace(finding.run, status=RunStatus.CRASH, step=at, steps=())
        return msgspec.structs.replace(
            finding, run=run, verdict=Verdict.CRASH, reason=f"kernel BUG at mm/x.c:{self.deaths}!"
        )


def test_a_crash_costs_few_deaths() -> None:
    noise = tuple(sc.Flush(ipa=at << 21, size=0x1000) for at in range(20))
    steps = (*noise, *OVER.steps, *noise, sc.Unmap(ipa=0, size=0x1000), *noise)
    side = Fragile()
    (finding,) = side.findings([msgspec.structs.replace(OVER, steps=steps)])
    shrunk = shrink_finding(finding, side, quiet)
    assert [step.name for step in shrunk.scenario.steps] == ["map", "unmap"]
    assert shrunk.signature.verdict == "CRASH"
    assert side.deaths < 80


class Lucky(AsIf):
    """Shows its finding in every third run."""

    def __init__(self) -> None:
        super().__init__("v6.1", "v6.12")
        self._runs = 0

    def findings(self, scenarios: Sequence[Scenario]) -> list[Finding]:
        out = []
        for scenario, finding in zip(scenarios, super().findings(scenarios), strict=True):
            self._runs += 1
            out.append(finding if self._runs % 3 == 0 else as_if(scenario, "v6.1", "v6.1"))
        return out


def test_what_shows_sometimes_is_decided_by_many_runs() -> None:
    notes: list[str] = []
    start = msgspec.structs.replace(OVER, steps=(sc.Unmap(ipa=0, size=0x1000), *OVER.steps))
    shrunk = shrink_finding(as_if(start, "v6.1", "v6.12"), Lucky(), notes.append)
    assert len(shrunk.scenario.steps) == 2
    told = "\n".join(notes)
    assert "seen again in 1 of 3 runs" in told
    assert "95%" in told
    assert "the smallest: seen in" in told


def test_what_does_not_happen_again_is_said_to() -> None:
    with pytest.raises(InfraError, match="not seen again in 63 runs"):
        shrink_finding(as_if(OVER, "v6.1", "v6.12"), AsIf("v6.1", "v6.1"), quiet)


def test_nothing_to_make_smaller() -> None:
    with pytest.raises(UsageError, match="MATCH"):
        shrink_finding(as_if(OVER, "v6.1", "v6.1"), AsIf("v6.1", "v6.1"), quiet)
    pinned = StepDifference(step=0, channel="ret", expected=-1, observed=0, against="pinned")
    finding = msgspec.structs.replace(
        as_if(OVER, "v6.1", "v6.1"), verdict=Verdict.DIVERGE, differences=(pinned,)
    )
    with pytest.raises(UsageError, match="pin"):
        shrink_finding(finding, AsIf("v6.1", "v6.1"), quiet)


def test_between_profiles() -> None:
    shrunk = between_profiles(PROFILES["v6.1"], PROFILES["v6.12"], ENV, [OVER])
    assert shrunk is not None
    assert len(shrunk.scenario.steps) == 2
    assert between_profiles(PROFILES["v6.1"], PROFILES["v6.1"], ENV, [OVER]) is None


def test_between_kernels() -> None:
    base, other = AsIf("v6.1", "v6.1"), AsIf("v6.12", "v6.12")
    shrunk = between_kernels(base, other, [DIRTY, OVER], quiet)
    assert shrunk is not None
    assert shrunk.signature.op == "map"
    assert between_kernels(base, AsIf("v6.1", "v6.1"), [OVER], quiet) is None


def test_the_same_is_more_than_some_difference() -> None:
    wanted = Signature(verdict="DIVERGE", op="map", channel="ret", details=frozenset({"0 for -11"}))
    assert wanted.covers(wanted)
    for change in ({"op": "unmap"}, {"channel": "leaves"}, {"details": frozenset({"0 for -12"})}):
        assert not wanted.covers(msgspec.structs.replace(wanted, **change))
    assert not wanted.covers(None)


def test_a_crash_is_known_by_its_headline_without_numbers() -> None:
    one = headline("kernel BUG at mm/slub.c:123! (happened again when run alone, in step 2)")
    two = headline("kernel BUG at mm/slub.c:456!")
    assert one == two
    assert one != headline("Unable to handle kernel paging request at 0xdead")


def test_crashes_are_asked_about_a_few_at_a_time() -> None:
    crash = Signature(verdict="CRASH", op="map")
    assert KernelOracle(AsIf("v6.1", "v6.1"), crash).batch < 10
    assert KernelOracle(AsIf("v6.1", "v6.1"), crash).greedy
    plain = Signature(verdict="DIVERGE", op="map", channel="ret")
    assert KernelOracle(AsIf("v6.1", "v6.1"), plain).batch > 50
    assert PairOracle.batch > 50
