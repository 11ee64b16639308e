# SPDX-License-Identifier: GPL-2.0-only
"""Device memory behind a slot: what the corpus does not pin, and what the model must refuse."""

from __future__ import annotations

import msgspec
import pytest

from harness.compare import judge
from harness.generate import generate
from harness.vocabulary import RunStatus, ScenarioRun, Verdict
from reference_model import predict
from reference_model import scenario as sc
from reference_model.guest_machine import UnpredictableError
from reference_model.outcome import Observation
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import GuestScenario, RaceScenario

BASE, PAGE = 0x8000_0000, 0x1000
DEVICE = sc.Backing(kind="device")
ADD = sc.SlotAdd(slot=1, gpa=BASE, size=0x1_0000, backing=DEVICE)
READ = sc.Read(gpa=BASE)
EINVAL, EFAULT = -22, -14


def guest(*steps: sc.GuestOp) -> GuestScenario:
    return GuestScenario(schema=1, id="t", steps=steps)


def steps_of(
    *steps: sc.GuestOp, profile: str = "v6.12", env: Environment | None = None
) -> list[Observation]:
    prediction = predict(guest(*steps), PROFILES[profile], env or Environment())
    assert not prediction.skip
    return [step.allowed[0] for step in prediction.steps]


@pytest.mark.parametrize(
    ("profile", "prot"), [("v6.1", 4 | 2 | 8), ("v6.12", 4 | 2 | 8), ("v7.2", 8 | 4 | 16)]
)
def test_the_type_stands_in_leaf_and_call_and_dic_adds_no_execution(
    profile: str, prot: int
) -> None:
    for env in (Environment(), Environment(dic=True)):
        seen = steps_of(ADD, READ, profile=profile, env=env)[1]
        assert seen.maps == (("map", BASE, PAGE, prot, 0),)
        assert seen.leaves == ((BASE, PAGE, 0, "rw", 0, True, "device", 1),)
        assert seen.marks == (BASE,), "a writable page is marked, logged or not"


@pytest.mark.parametrize(("readonly", "prot"), [(False, 14), (True, 12)])
def test_5_10_maps_all_of_a_new_slot(readonly: bool, prot: int) -> None:
    flags: tuple[sc.SlotFlag, ...] = ("readonly",) if readonly else ()
    add, read = steps_of(msgspec.structs.replace(ADD, flags=flags), READ, profile="v5.10")
    calls = tuple(("map", BASE + page * PAGE, PAGE, prot, 0) for page in range(16))
    assert (add.maps, add.marks, add.faults) == (calls, (), 0)
    assert (read.faults, read.data) == (0, 0)
    assert steps_of(ADD, READ, profile="seed-2021")[0].maps == ()


def test_a_move_of_5_10_maps_what_is_left_of_the_memory() -> None:
    gone = sc.Remap(gpa=BASE + PAGE, size=0xF000, to="none")
    moved = steps_of(ADD, gone, sc.SlotMove(slot=1, gpa=0x9000_0000), profile="v5.10")[2]
    assert moved.maps == (("map", 0x9000_0000, PAGE, 14, 0),)


def test_a_neighbour_of_the_other_type_is_another_run() -> None:
    other = sc.SlotAdd(slot=2, gpa=BASE + 0x1_0000, size=0x1_0000, backing=sc.Backing(prefill=True))
    last = sc.Read(gpa=BASE + 0xF000)
    seen = steps_of(ADD, other, last, sc.Read(gpa=BASE + 0x1_0000))[3]
    assert isinstance(seen.leaves, tuple)
    assert [run[6] for run in seen.leaves] == ["device", "normal"]


def test_a_leaf_of_the_wrong_type_diverges() -> None:
    scenario = guest(ADD, READ)
    prediction = predict(scenario, PROFILES["v6.12"], Environment())
    steps = [step.allowed[0] for step in prediction.steps]
    normal = ((BASE, PAGE, 0, "rw", 0, True, "normal", 1),)
    for leaves, verdict in ((steps[1].leaves, Verdict.MATCH), (normal, Verdict.DIVERGE)):
        seen = (steps[0], msgspec.structs.replace(steps[1], leaves=leaves))
        run = ScenarioRun(id="t", status=RunStatus.DONE, steps=seen)
        assert judge(scenario, prediction, run, "v6.12").verdict is verdict


def test_what_the_host_closed_is_read_and_what_it_unmapped_is_not() -> None:
    none = sc.Mprotect(gpa=BASE, size=PAGE, prot="none")
    closed = steps_of(ADD, none, READ, sc.Write(gpa=BASE, value=1), sc.HostRead(gpa=BASE))
    assert [seen.ret for seen in closed] == [0, 0, 0, EFAULT, EFAULT]
    gone = steps_of(ADD, sc.Remap(gpa=BASE, size=PAGE, to="none"), READ, sc.Exec(gpa=BASE))
    assert [seen.ret for seen in gone] == [0, 0, EFAULT, EFAULT]


def test_logging_comes_when_no_vma_is_left() -> None:
    log = sc.SlotFlags(slot=1, flags=("log_dirty",))
    part = sc.Remap(gpa=BASE, size=PAGE, to="none")
    whole = sc.Remap(gpa=BASE, size=0x1_0000, to="none")
    assert [s.ret for s in steps_of(ADD, part, log)] == [0, 0, EINVAL]
    assert [s.ret for s in steps_of(ADD, whole, log)] == [0, 0, 0]


TABLES = sc.SlotAdd(slot=2, gpa=0x4000_0000, size=0x1_0000, backing=DEVICE)
LARGE = msgspec.structs.replace(ADD, size=0x20_0000)


@pytest.mark.parametrize(
    "steps",
    [
        (ADD, sc.Read(gpa=BASE + 1, size=2)),
        (ADD, sc.Write(gpa=BASE + 4, value=1)),
        (ADD, sc.HostRead(gpa=BASE + 2, size=4)),
        (ADD, sc.HostWrite(gpa=BASE + 2, size=4, value=0)),
        (ADD, sc.Cas(gpa=BASE, expected=0, value=1)),
        (ADD, sc.DcZva(gpa=BASE)),
        (ADD, sc.DcCivac(gpa=BASE)),
        (ADD, sc.Stage1Tables(gpa=BASE)),
        (ADD, TABLES, sc.Read(gpa=BASE, tables=0x4000_0000)),
        (ADD, sc.PunchHole(gpa=BASE, size=PAGE)),
        (ADD, sc.Remap(gpa=BASE, size=PAGE)),
        (LARGE, sc.Mprotect(gpa=BASE, size=PAGE, prot="r")),
        (LARGE, sc.Madvise(gpa=BASE, size=PAGE, advice="hugepage")),
    ],
    ids=lambda steps: steps[-1].name,
)
def test_what_nothing_defines_is_refused(steps: tuple[sc.GuestOp, ...]) -> None:
    with pytest.raises(UnpredictableError) as refused:
        predict(guest(*steps), PROFILES["v6.12"], Environment())
    assert refused.value.step == len(steps) - 1


def test_all_of_a_slot_that_holds_a_block_can_be_protected() -> None:
    protect = sc.Mprotect(gpa=BASE, size=0x20_0000, prot="r")
    assert steps_of(LARGE, READ, protect, READ)[3].leaves == (
        (BASE, PAGE, 0, "r", 0, True, "device", 1),
    )


def test_protected_mode_of_7_2_has_none() -> None:
    env = Environment(mode="protected")
    assert "hypervisor" in predict(guest(ADD), PROFILES["v7.2"], env).skip
    assert not predict(guest(ADD), PROFILES["v6.12"], env).skip


def test_no_block_of_a_race_beside_device_memory() -> None:
    block = sc.Parallel(parallel=((READ,), (sc.HostRead(gpa=BASE),)))
    race = RaceScenario(schema=1, id="t", steps=(ADD, block))
    with pytest.raises(UnpredictableError, match="device memory"):
        predict(race, PROFILES["v6.12"], Environment())


def test_the_generator_draws_some_and_plain_accesses_to_it() -> None:
    scenarios = [s for s in generate("guest", 200, 5) if isinstance(s, GuestScenario)]
    having = [
        s
        for s in scenarios
        if any(isinstance(op, sc.SlotAdd) and op.backing.kind == "device" for op in s.steps)
    ]
    assert 2 <= len(having) <= 30
