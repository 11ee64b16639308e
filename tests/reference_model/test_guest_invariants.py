# SPDX-License-Identifier: GPL-2.0-only
"""The promises of every kernel: kept by every prediction, broken by what they are there to find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from harness.generate.guest import generate_guest
from reference_model import predict
from reference_model import scenario as sc
from reference_model.guest_invariants import broken_promises
from reference_model.language import load_text
from reference_model.outcome import Observation
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import GuestScenario

CORPUS = Path(__file__).resolve().parents[2] / "scenarios"
ENV = Environment()
BASE = 0x8000_0000
#: A kernel's fault that the model predicts: see scenarios/known.yaml.
LOSES_PAGES = {"ring-alone-over-a-block"}


def scenarios() -> list[GuestScenario]:
    found = [
        scenario
        for file in sorted(CORPUS.glob("guest*/*.yaml"))
        for scenario in load_text(file.read_text(), file.name)
    ]
    return [scenario for scenario in found if isinstance(scenario, GuestScenario)]


def observed(scenario: GuestScenario, profile: str = "v6.12") -> list[Observation]:
    prediction = predict(scenario, PROFILES[profile], ENV)
    return [step.allowed[0] for step in prediction.steps]


@pytest.mark.parametrize("profile", PROFILES)
def test_predictions_keep_every_promise(profile: str) -> None:
    for scenario in scenarios():
        broken = broken_promises(scenario, observed(scenario, profile), ENV)
        assert not broken or scenario.id in LOSES_PAGES, (scenario.id, broken)


def guest(*steps: sc.GuestOp, **vm: Any) -> GuestScenario:
    return GuestScenario(schema=1, id="t", steps=steps, vm=sc.VmConfig(**vm))


ADD = sc.SlotAdd(
    slot=1, gpa=BASE, size=0x1_0000, backing=sc.Backing(prefill=True), flags=("log_dirty",)
)


def broken_when(scenario: GuestScenario, step: int, **channels: Any) -> list[str]:
    """Which invariants break when one step shows something else."""
    steps = observed(scenario)
    assert broken_promises(scenario, steps, ENV) == []
    steps[step] = replace(steps[step], **channels)
    return [one.invariant for one in broken_promises(scenario, steps, ENV)]


def test_a_page_that_is_not_reported_is_lost() -> None:
    scenario = guest(
        ADD,
        sc.Write(gpa=BASE + 0x3000, value=1),
        sc.Write(gpa=BASE + 0x5000, value=1),
        sc.DirtyGet(slot=1),
    )
    assert broken_when(scenario, 3, dirty=(3,)) == ["I1"]
    assert broken_when(scenario, 3, dirty=(1, 2, 3, 5)) == []


def test_a_write_after_a_report_needs_a_new_one() -> None:
    write = sc.Write(gpa=BASE + 0x3000, value=1)
    scenario = guest(ADD, write, sc.DirtyGet(slot=1), write, sc.DirtyGet(slot=1))
    assert broken_when(scenario, 4, dirty=()) == ["I1"]


def test_a_manual_report_counts_until_it_is_cleared() -> None:
    write = sc.Write(gpa=BASE + 0x3000, value=1)
    get, clear = sc.DirtyGet(slot=1), sc.DirtyClear(slot=1)
    scenario = guest(ADD, write, get, get, clear, get, write, get, manual_protect=True)
    assert broken_when(scenario, 3, dirty=()) == ["I1"]
    assert broken_when(scenario, 7, dirty=()) == ["I1"]


def test_a_ring_that_lacks_a_page_lost_it() -> None:
    scenario = guest(
        ADD,
        sc.Write(gpa=BASE + 0x3000, value=1),
        sc.RingReset(),
        sc.Write(gpa=BASE + 0x3000, value=2),
        sc.RingReset(),
        dirty_ring=1024,
        ring_bitmap=True,
    )
    assert broken_when(scenario, 4, ring=()) == ["I1"]
    assert broken_when(scenario, 2, ring=((0, 1, 3), (0, 1, 9))) == []


def test_a_load_gives_what_was_stored() -> None:
    scenario = guest(
        ADD,
        sc.Write(gpa=BASE + 0x3000, value=0x55),
        sc.Madvise(gpa=BASE, size=0x1_0000, advice="pageout"),
        sc.Read(gpa=BASE + 0x3000),
        sc.HostRead(gpa=BASE + 0x4000),
        sc.Madvise(gpa=BASE, size=0x1_0000),
        sc.Read(gpa=BASE + 0x3000),
    )
    assert broken_when(scenario, 3, data=0) == ["I2"]
    assert broken_when(scenario, 4, data=0) == ["I2"]
    assert broken_when(scenario, 6, data=0x55) == ["I2"]


def test_a_store_that_did_not_happen_changes_nothing() -> None:
    scenario = guest(
        replace(ADD, flags=("readonly",)),
        sc.Write(gpa=BASE + 0x3000, value=0x55),
        sc.HostRead(gpa=BASE + 0x3000, size=1),
    )
    assert broken_when(scenario, 2, data=0x55) == ["I2"]


def leaf(ipa: int, size: int, prot: str) -> tuple[Any, ...]:
    return (ipa, size, 0, prot, 0, True, "normal", 1)


def test_leaves_that_must_not_be() -> None:
    read = sc.Read(gpa=BASE)
    logged = guest(ADD, read)
    assert broken_when(logged, 1, leaves=(leaf(BASE, 0x20_0000, "rw"),)) == ["I6"]
    assert broken_when(logged, 1, leaves=(leaf(BASE + 0x1000, 0x2000, "r"),)) == ["I6"]
    assert broken_when(logged, 1, leaves=(leaf(BASE - 0x1000, 0x1000, "r"),)) == ["I6"]
    readonly = guest(replace(ADD, flags=("readonly",)), read)
    assert broken_when(readonly, 1, leaves=(leaf(BASE, 0x1000, "rw"),)) == ["I3"]
    large = guest(replace(ADD, size=0x20_0000), read)
    assert broken_when(large, 1, leaves=(leaf(BASE, 0x20_0000, "rw"),)) == ["I5"]
    assert broken_when(large, 1, leaves=(leaf(BASE, 0x20_0000, "r"),)) == []


def test_what_is_not_known_is_not_judged() -> None:
    scenario = guest(
        ADD,
        sc.Write(gpa=BASE + 0x3000, value=0x55),
        sc.Madvise(gpa=BASE, size=0x1_0000, advice="free"),
        sc.Read(gpa=BASE + 0x3000),
    )
    assert broken_when(scenario, 3, data=0) == []


def test_advice_around_a_hole_is_taken_for_what_it_does() -> None:
    scenario = guest(
        ADD,
        sc.Remap(gpa=BASE + 0x4000, size=0x4000, to="none"),
        sc.Madvise(gpa=BASE, size=0x1_0000),
        sc.Read(gpa=BASE + 0x1000),
    )
    assert observed(scenario)[2].ret == -12
    assert broken_when(scenario, 3, data=0xD65F_03C0_5280_0020) == ["I2"]


@pytest.mark.parametrize("profile", ["v5.10", "v7.2"])
def test_predictions_of_generated_scenarios_keep_every_promise(profile: str) -> None:
    for index in range(40):
        scenario = generate_guest(5, index)
        prediction = predict(scenario, PROFILES[profile], ENV)
        if prediction.skip or any(len(step.allowed) > 1 for step in prediction.steps):
            continue
        steps = [step.allowed[0] for step in prediction.steps]
        assert broken_promises(scenario, steps, ENV) == [], scenario.id
