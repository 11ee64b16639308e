# SPDX-License-Identifier: GPL-2.0-only
"""The guest half of the model: the corpus as its specification, and invariants of any walk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from harness.compare import judge
from harness.generate import generate
from harness.generate.guest import generate_guest, predictable
from harness.vocabulary import RunStatus, ScenarioRun, Verdict
from reference_model import predict
from reference_model import scenario as sc
from reference_model.fault_knobs import FAULT_KNOBS, FaultKnobs
from reference_model.fault_sources import FAULT_KNOB_SOURCES
from reference_model.guest_invariants import broken_promises
from reference_model.guest_machine import UnpredictableError
from reference_model.language import load_text
from reference_model.outcome import Observation
from reference_model.profiles import PROFILES, Environment, profile_for_release
from reference_model.scenario import GuestScenario, Scenario
from reference_model.stage2_sources import AS_BEFORE

CORPUS = Path(__file__).resolve().parents[2] / "scenarios"
SCENARIOS = [
    scenario
    for file in sorted(CORPUS.glob("guest*/*.yaml"))
    for scenario in load_text(file.read_text(), file.name)
]


def steps_of(scenario: Scenario, profile: str, env: Environment | None = None) -> list[Observation]:
    prediction = predict(scenario, PROFILES[profile], env or Environment())
    assert not prediction.skip
    return [step.allowed[0] for step in prediction.steps]


def guest(*steps: sc.GuestOp, **vm: object) -> GuestScenario:
    return GuestScenario(schema=1, id="t", steps=steps, vm=sc.VmConfig(**vm))


def test_corpus_is_large_enough() -> None:
    assert len(SCENARIOS) >= 25
    assert all(scenario.expect for scenario in SCENARIOS)


def _fact(value: str | bool | int) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_pins_agree_with_the_model(scenario: Scenario, profile: str) -> None:
    wanted = {key: _fact(value) for key, value in scenario.env.items()}
    env = Environment.parse(item for item in wanted.items() if not item[1].startswith("!"))
    prediction = predict(scenario, PROFILES[profile], env)
    if prediction.skip:
        assert "the kernel of profile" in prediction.skip
        return
    as_predicted = ScenarioRun(
        id=scenario.id,
        status=RunStatus.DONE,
        steps=tuple(step.allowed[0] for step in prediction.steps),
    )
    judgement = judge(scenario, prediction, as_predicted, profile)
    assert judgement.verdict is Verdict.MATCH, judgement.reason


def test_what_is_pinned_of_a_kernel_is_pinned_of_one_almost_the_same() -> None:
    """No scenario goes unchecked on a kernel because that got a profile of its own."""
    for file in CORPUS.glob("*/*.yaml"):
        for scenario in load_text(file.read_text(), file.name):
            for later, before in AS_BEFORE.items():
                new, old = (
                    any(p.applies(name) for p in scenario.expect) for name in (later, before)
                )
                assert new == old, scenario.id


def test_every_knob_of_every_profile_has_a_source() -> None:
    assert set(FAULT_KNOB_SOURCES) == set(FaultKnobs.__struct_fields__)
    for source in FAULT_KNOB_SOURCES.values():
        assert set(source.sources) == set(FAULT_KNOBS) == set(PROFILES)


ADD = sc.SlotAdd(slot=1, gpa=0x8000_0000, size=0x1_0000, backing=sc.Backing(prefill=True))


def test_dic_makes_every_leaf_executable() -> None:
    scenario = guest(ADD, sc.Read(gpa=0x8000_2000), sc.Exec(gpa=0x8000_2000))
    assert steps_of(scenario, "v6.12", Environment(dic=True))[2].faults == 0
    assert steps_of(scenario, "v6.12", Environment(dic=False))[2].faults == 1


def test_pages_are_the_hosts() -> None:
    scenario = guest(
        sc.SlotAdd(slot=1, gpa=0x8000_0000, size=0x1_0000, flags=("log_dirty",)),
        sc.Write(gpa=0x8000_5000, value=1),
        sc.DirtyGet(slot=1),
    )
    assert steps_of(scenario, "v6.12", Environment(page_shift=12))[2].dirty == (5,)
    assert steps_of(scenario, "v6.12", Environment(page_shift=14))[2].dirty == (1,)


def test_change_pte_needs_a_table() -> None:
    """One page alone: the notifier's unmap frees its table, and change_pte cannot map."""
    alone = guest(
        sc.SlotAdd(slot=1, gpa=0x8000_0000, size=0x1_0000),
        sc.Read(gpa=0x8000_3000),
        sc.HostWrite(gpa=0x8000_3000, value=1),
        sc.Read(gpa=0x8000_3000),
    )
    steps = steps_of(alone, "v6.1")
    assert steps[2].maps == (("map", 0x8000_3000, 0x1000, 4, -12),)
    assert steps[3].faults == 1
    assert steps_of(alone, "v6.12")[2].maps == ()


def test_unknown_code_is_refused_with_its_step() -> None:
    scenario = guest(ADD, sc.Write(gpa=0x8000_0000, value=0x1234), sc.Exec(gpa=0x8000_0000))
    with pytest.raises(UnpredictableError, match="none the model follows") as error:
        steps_of(scenario, "v6.12")
    assert error.value.step == 2


def test_environment_that_is_not_met_is_a_skip() -> None:
    scenario = GuestScenario(schema=1, id="t", steps=(ADD,), env={"granule": "16K"})
    assert "granule=16K" in predict(scenario, PROFILES["v6.12"], Environment()).skip
    other = GuestScenario(schema=1, id="t", steps=(ADD,), env={"mode": "!protected"})
    assert (
        "mode=!protected" in predict(other, PROFILES["v6.12"], Environment(mode="protected")).skip
    )
    assert not predict(other, PROFILES["v6.12"], Environment(mode="nvhe")).skip
    wide = guest(ADD, ipa_bits=52)
    assert "limit of 48" in predict(wide, PROFILES["v6.12"], Environment()).skip


@pytest.mark.parametrize("profile", PROFILES)
def test_generated_scenarios_are_predictable(profile: str) -> None:
    for scenario in generate("guest", 150, seed=11):
        prediction = predict(scenario, PROFILES[profile], Environment())
        if prediction.skip:
            assert "the kernel of profile" in prediction.skip
        else:
            assert len(prediction.steps) == len(scenario.steps)


@settings(max_examples=60, deadline=None)
@given(index=st.integers(0, 10_000), profile=st.sampled_from(sorted(PROFILES)))
def test_no_dirty_page_is_lost(index: int, profile: str) -> None:
    """I1: what guests wrote into a logged slot is in a log read afterwards, in every profile."""
    walk = generate_guest(5, index)
    vm = sc.VmConfig(vcpus=walk.vm.vcpus, manual_protect=walk.vm.manual_protect)
    slot = sc.SlotAdd(
        slot=50,
        gpa=0x2000_0000,
        size=0x4_0000,
        backing=sc.Backing(prefill=bool(index % 2)),
        flags=("log_dirty",),
    )
    pages = {index % 64, (index * 7) % 64}
    steps = [slot, *(step for step in walk.steps if getattr(step, "form", "plain") == "plain")]
    for page in pages:
        steps.insert(1 + page % len(steps), sc.Write(gpa=0x2000_0000 + page * 4096, value=9))
    steps.append(sc.DirtyGet(slot=50))
    scenario = predictable(GuestScenario(schema=1, id="t", vm=vm, steps=tuple(steps)))
    prediction = predict(scenario, PROFILES[profile], Environment())
    if prediction.skip:
        return
    last = prediction.steps[-1].allowed[0]
    assert set(last.dirty) >= pages  # type: ignore[arg-type]
    if vm.manual_protect != "init_set":
        assert set(last.dirty) == pages  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(index=st.integers(0, 10_000), profile=st.sampled_from(sorted(PROFILES)))
def test_faults_are_bounded_and_promises_kept(index: int, profile: str) -> None:
    """I1 to I6 and I23: no access needs more than 3 faults (two of a CAS: 4; with a walk: 9)."""
    scenario = generate_guest(6, index)
    prediction = predict(scenario, PROFILES[profile], Environment())
    if prediction.skip:
        return
    for op, step in zip(scenario.steps, prediction.steps, strict=True):
        most = 9 if getattr(op, "tables", None) is not None else 4 if isinstance(op, sc.Cas) else 3
        assert all(isinstance(seen.faults, int) and seen.faults <= most for seen in step.allowed)
    observed = [step.allowed[0] for step in prediction.steps]
    assert broken_promises(scenario, observed, Environment()) == []


def test_protected_mode_gives_every_vm_the_whole_ipa_space() -> None:
    """kvm_init_ipa_range, 6.12 and later."""
    beyond = guest(ADD, sc.SlotMove(slot=1, gpa=1 << 36), ipa_bits=36)
    protected = Environment(mode="protected")
    assert steps_of(beyond, "v6.12", protected)[1].ret == 0
    assert steps_of(beyond, "v6.1", protected)[1].ret == -14
    assert steps_of(beyond, "v6.12")[1].ret == -14
    assert steps_of(beyond, "v7.2", protected)[0].maps is UNSET


@pytest.mark.parametrize(
    ("release", "profile", "note"),
    [
        ("5.10.0-32-cloud-arm64", "v5.10", ""),
        ("6.6.1", "v6.1", "between two profiles: judged by v6.1"),
        ("7.2.13+deb14-cloud-arm64", "v7.2", ""),
        ("7.3.4+deb13-cloud-arm64", "v7.3", ""),
        ("7.4.0-rc1", "v7.3", "newer than every profile: judged by v7.3"),
    ],
)
def test_a_kernel_is_judged_by_the_newest_profile_not_newer(
    release: str, profile: str, note: str
) -> None:
    choice = profile_for_release(release)
    assert choice.profile is PROFILES[profile]
    assert note in choice.note
    assert bool(note) is bool(choice.note)


def test_cleared_code_may_be_run_again_where_the_environment_says_so() -> None:
    """What was called at that offset of any page, unless a block of DC ZVA begins there."""
    step = sc.SlotAdd(slot=1, gpa=0x8000_0000, size=0x10000, backing=sc.Backing(prefill=True))
    called = [sc.Exec(gpa=gpa) for gpa in (0x8000_3048, 0x8000_5048, 0x8000_3000)]
    gone = sc.Remap(gpa=0x8000_4000, size=0x1000)
    there = sc.HostWrite(gpa=0x8000_4008, size=8, value=5)
    again = [sc.Exec(gpa=gpa) for gpa in (0x8000_4048, 0x8000_4000)]
    scenario = guest(step, *called, gone, there, *again)
    old = predict(scenario, PROFILES["v6.12"], Environment(zva_keeps_code=True)).steps[-2:]
    assert {one.data for one in old[0].allowed} == {None, 3, 5}
    assert all((one.injected is None) == (one.data is not None) for one in old[0].allowed)
    new = predict(scenario, PROFILES["v6.12"], Environment()).steps[-2:]
    for step_prediction in (old[1], *new):
        assert [one.data for one in step_prediction.allowed] == [None]
