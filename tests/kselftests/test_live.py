# SPDX-License-Identifier: GPL-2.0-only
"""The runtime of the guest suite on real kernels: what it sees, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import kernels
from harness.render import render_batch
from harness.targets import QemuConfig, QemuTarget, open_qemu, run
from harness.toolchain import build_batch, build_lifecycle
from reference_model.language import load_text

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

KERNELS = ["debian:bullseye", "debian:trixie"]
PATIENCE = 120.0
TRACING = "/sys/kernel/tracing"
SCENARIOS = Path(__file__).with_name("live.yaml")
IDS = ["every-channel", "spins", "too-large", "second-vcpu"]
#: R, and R with W or X, as kernels before 7.0 spell them (enum kvm_pgtable_prot).
RO, RW, RX = 4, 6, 5
PAGE = 4096
#: Nobody asked for a flush of the whole VM.
UNFLUSHED = {"remote_tlb_flush_requests": 0}

Step = dict[str, Any]


@pytest.fixture(scope="module", params=KERNELS)
def target(request: pytest.FixtureRequest) -> Iterator[QemuTarget]:
    image = kernels.resolve(request.param)
    with open_qemu(image, QemuConfig(vcpus=1)) as guest:
        yield guest


@pytest.fixture(scope="module")
def program(target: QemuTarget) -> str:
    scenarios = load_text(SCENARIOS.read_text(), SCENARIOS.name)
    assert [scenario.id for scenario in scenarios] == IDS
    elf = build_batch(render_batch(scenarios), IDS).elf
    return target.put(Path(elf), "live")


def _lines(target: QemuTarget, *argv: str) -> list[str]:
    lines: list[str] = []
    run(target, argv, timeout=PATIENCE, on_line=lines.append)
    return lines


def _records(lines: list[str], kind: str) -> list[Step]:
    mark = f"# {kind} "
    return [json.loads(line.removeprefix(mark)) for line in lines if line.startswith(mark)]


def _residue(target: QemuTarget) -> list[str]:
    return _lines(target, "sh", "-c", f"ls {TRACING}/instances; cat {TRACING}/kprobe_events")


def _step(ret: int = 0, **channels: Any) -> Step:
    return {"ret": ret, "faults": 0, "maps": [], "marks": []} | channels


def _vcpu(**channels: Any) -> Step:
    exits = int(channels.get("exit") is not None)
    stats = {"mmio_exit_user": exits, "mmio_exit_kernel": 0}
    return _step(**({"exit": None, "injected": None, "stats": stats} | channels))


def _unread(target: QemuTarget) -> set[str]:
    """Channels that are missing for want of a module, or of a newer kernel."""
    old = target.info.release.startswith("5.10.")
    return {"leaves", "stats", "flushes"} if old else {"leaves"}


def test_every_channel(target: QemuTarget, program: str) -> None:
    lines = _lines(target, program, "--only", "0")
    (hello,) = _records(lines, "hello")
    assert (hello["trace"], set(hello["missing"])) == (True, _unread(target))
    assert "no module" in hello["missing"]["leaves"]
    wanted = [
        _step(),
        _vcpu(faults=1, maps=[["map", 0x8000_3000, PAGE, RW, 0]], marks=[0x8000_3000]),
        _step(dirty=[3], stats=UNFLUSHED, flushes=[[0x8000_0000, 0x1_0000]]),
        _vcpu(data=0x11),
        # Write-protected by reading the log.
        _vcpu(faults=1, maps=[["relax", 0x8000_3000, RW, 0]], marks=[0x8000_3000]),
        _vcpu(data=5, faults=1, maps=[["map", 0x8000_5000, PAGE, RX, 0]]),
        _vcpu(
            data=0x5A,
            faults=1,
            exit={"reason": "mmio", "gpa": 0x9000_0001, "len": 1, "write": False},
        ),
        _vcpu(
            faults=1,
            exit={"reason": "mmio", "gpa": 0x9000_0004, "len": 4, "write": True, "data": 0xABCD},
        ),
        _vcpu(data=None, faults=1, injected={"ec": "iabt", "fsc": 16, "far": 0x9000_0000}),
        _step(),
        _vcpu(
            data=None,
            faults=1,
            injected={"ec": "undef"},
            maps=[["map", 0x8000_6000, PAGE, RX, 0]],
        ),
        _step(),
        _step(data=0),
        _step(ret=-2, stats=UNFLUSHED, flushes=[]),
        _step(ret=-22),
    ]
    for step in wanted:
        for channel in hello["missing"]:
            step.pop(channel, None)
    assert _records(lines, "step") == [{"n": n} | step for n, step in enumerate(wanted)]
    assert [end["status"] for end in _records(lines, "end")] == ["done"]


def test_without_trace_the_rest_is_seen(target: QemuTarget, program: str) -> None:
    traced = _records(_lines(target, program, "--only", "0"), "step")
    lines = _lines(target, program, "--only", "0", "--no-trace")
    (hello,) = _records(lines, "hello")
    assert hello["trace"] is False
    assert set(hello["missing"]) == {"faults", "maps", "marks", "flushes"} | _unread(target)
    for step in traced:
        del step["faults"], step["maps"], step["marks"]
        step.pop("flushes", None)
    assert _records(lines, "step") == traced


def test_the_last_gigabyte_and_the_second_vcpu(target: QemuTarget, program: str) -> None:
    steps = _records(_lines(target, program, "--only", "3"), "step")
    assert [step.get("data") for step in steps] == [None, 15, None, 0x1122334455667788]
    assert steps[1]["maps"] == [["map", 0xFFFF_FFFF_F000, PAGE, RX | RW, 0]]
    assert steps[3]["faults"] == 0


def test_a_guest_that_spins_costs_itself_only(target: QemuTarget, program: str) -> None:
    lines = _lines(target, program, "--start", "1", "--timeout", "2")
    ends = _records(lines, "end")
    assert [end["status"] for end in ends] == ["hang", "skip", "done"]
    assert ends[0]["step"] == 2
    assert "52 bits" in ends[1]["detail"]


def test_nothing_is_left_behind(target: QemuTarget, program: str) -> None:
    _lines(target, program, "--only", "0")
    assert _residue(target) == []


@pytest.mark.parametrize("signal", ["TERM", "HUP", "INT"])
def test_nothing_is_left_behind_by_a_signal(target: QemuTarget, program: str, signal: str) -> None:
    script = f"{program} --only 1 & sleep 2; kill -{signal} $!; wait $!; echo ended $?"
    lines = _lines(target, "sh", "-c", script)
    assert "# start 1 spins" in lines
    assert lines[-1].startswith("ended ")
    assert int(lines[-1].split()[1]) > 128
    assert _residue(target) == []


def test_what_a_killed_one_left_is_swept_by_the_next(target: QemuTarget, program: str) -> None:
    _lines(target, "sh", "-c", f"{program} --only 1 & sleep 2; kill -KILL $!; wait $!; sleep 1")
    assert _residue(target) != []
    _lines(target, program, "--only", "0")
    assert _residue(target) == []


def test_two_at_once_see_their_own_events(target: QemuTarget, program: str) -> None:
    alone = _records(_lines(target, program, "--only", "0"), "step")
    name = f"{program}.out"
    script = f"{program} --only 0 > {name} & {program} --only 0; wait; cat {name}"
    both = _records(_lines(target, "sh", "-c", script), "step")
    assert both == alone + alone


def test_a_bare_life_has_the_slots_and_entries_it_is_told(target: QemuTarget) -> None:
    """It ends with an error itself where the dirty logs lack a page that was written."""
    lifecycle = target.put(build_lifecycle(), "lifecycle")
    for body in ([], ["1", "1", "63"], ["3", "7", "1"], ["16", "48", "21", "beside"]):
        words = _lines(target, lifecycle, "2", *body)[-1].split()
        assert words[:2] == ["lifecycle", "2"]
    for body in (["0", "1", "1"], ["17", "1", "1"], ["1", "1", "64"], ["2", "7", "16"], ["1", "1", "1", "x"]):
        assert _lines(target, lifecycle, "2", *body)[-1].startswith("usage: lifecycle COUNT [")
