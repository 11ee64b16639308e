# SPDX-License-Identifier: GPL-2.0-only
"""Batches on real kernels that panic, hang, warn and vanish; nothing is left afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from harness.execute import Lanes, run_batch
from harness.targets import QemuConfig, QemuTarget, open_qemu, scratch
from harness.vocabulary import RunStatus, ScenarioRun
from tests.execute import live

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

#: Two generations always, the others with ci/test --all.
SPECS = [
    "debian:bookworm",
    "debian:trixie",
    *(
        pytest.param(spec, marks=pytest.mark.slow)
        for spec in ("debian:bullseye", "debian:sid", "debian:trixie-backports")
    ),
]


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root for temporary directories; when the test is over it is empty and no QEMU is left."""
    root = Path(tempfile.mkdtemp(prefix="hx"))  # short: Unix sockets are made below it
    monkeypatch.setenv("TMPDIR", str(root))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(scratch, "_known", set())
    yield root
    left = qemus(root)
    for process in left:
        process.kill()
    files = list(root.iterdir())
    shutil.rmtree(root)
    assert left == []
    assert files == []


def qemus(root: Path) -> list[psutil.Process]:
    """QEMU processes whose files are below a directory."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(str(root) in word for word in process.info["cmdline"] or [])
        and "qemu" in (process.info["cmdline"] or [""])[0]
    ]


def play(
    target: QemuTarget,
    place: Path,
    *behaviours: str,
    events: list[str] | None = None,
    lanes: int = 1,
) -> dict[str, ScenarioRun]:
    batch = live.program(place, *behaviours)
    told: list[str] = [] if events is None else events
    runs = list(
        run_batch(target, batch, scenario_timeout=3.0, lanes=Lanes(lanes), on_event=told.append)
    )
    Path(batch.elf).unlink()
    assert sorted(run.id for run in runs) == sorted(batch.ids), told
    return {run.id.partition("-")[2]: run for run in runs}


@pytest.mark.parametrize("spec", SPECS)
def test_a_panic_costs_one_scenario(spec: str, place: Path) -> None:
    with open_qemu(live.image(spec), QemuConfig(accel="tcg")) as target:
        runs = play(target, place, "ok", "noise", "panic", "skip", "garbage")
        assert {name: run.status for name, run in runs.items()} == {
            "ok": RunStatus.DONE,
            "noise": RunStatus.DONE,
            "panic": RunStatus.CRASH,
            "skip": RunStatus.SKIP,
            "garbage": RunStatus.INFRA,
        }
        crash = runs["panic"]
        assert "sysrq triggered crash" in crash.detail
        assert "happened again when run alone, in step 1" in crash.detail
        assert crash.step == 1
        assert len(crash.steps) == 1
        assert any("Call trace" in line for line in crash.log)
        assert runs["noise"].log == ("hello from a scenario",)


def test_a_panic_while_two_programs_run_costs_one_scenario(place: Path) -> None:
    with open_qemu(live.image("debian:trixie"), QemuConfig(accel="tcg", vcpus=2)) as target:
        runs = play(target, place, "ok", "noise", "slow", "panic", "skip", lanes=2)
    assert {name: run.status for name, run in runs.items()} == {
        "ok": RunStatus.DONE,
        "noise": RunStatus.DONE,
        "slow": RunStatus.DONE,
        "panic": RunStatus.CRASH,
        "skip": RunStatus.SKIP,
    }
    assert "sysrq triggered crash" in runs["panic"].detail
    assert "happened again when run alone, in step 1" in runs["panic"].detail
    assert runs["slow"].detail == "", "it ran beside the one that panics, and not because of it"


def test_a_panic_at_once_and_a_reset_without_a_word(place: Path) -> None:
    with open_qemu(live.image("debian:trixie"), QemuConfig(accel="tcg")) as target:
        runs = play(target, place, "panic", "ok", "reset")
        assert runs["panic"].status is RunStatus.CRASH
        assert runs["ok"].status is RunStatus.DONE
        assert runs["reset"].status is RunStatus.CRASH
        assert "no message" in runs["reset"].detail
        assert runs["reset"].step == 1


def test_a_warning_is_put_down_to_its_scenario(place: Path) -> None:
    events: list[str] = []
    with open_qemu(live.image("debian:trixie"), QemuConfig(accel="tcg")) as target:
        runs = play(target, place, "ok", "skip", "warn", "noise", events=events)
    assert runs["warn"].status is RunStatus.CRASH
    assert runs["warn"].detail.startswith("WARNING at arch/arm64/kvm/mmu.c:312")
    assert [runs[name].status for name in ("ok", "skip", "noise")] == [
        RunStatus.DONE,
        RunStatus.SKIP,
        RunStatus.DONE,
    ]
    assert not [event for event in events if "replaced" in event], "the guest lived"


@pytest.mark.slow  # the kernel's own detectors take their time
@pytest.mark.parametrize("spec", SPECS)
def test_a_hang_of_user_space_says_where_the_kernel_is(spec: str, place: Path) -> None:
    with open_qemu(live.image(spec), QemuConfig(accel="tcg")) as target:
        runs = play(target, place, "ok", "starve", "skip")
        assert [runs[name].status for name in ("ok", "starve", "skip")] == [
            RunStatus.DONE,
            RunStatus.HANG,
            RunStatus.SKIP,
        ]
        if target.info.release.startswith("7."):
            return  # the console is written by a thread there, which starves like the others
        log = "\n".join(runs["starve"].log)
        assert "Show backtrace of all active CPUs" in log
        assert "Comm: batch" in log, "the program that starves the others is not in the log"


def test_a_program_that_hangs_ends_or_is_killed(place: Path) -> None:
    with open_qemu(live.image("debian:trixie"), QemuConfig(accel="tcg")) as target:
        runs = play(target, place, "exit", "hang", "killed", "ok")
        assert runs["exit"].status is RunStatus.INFRA
        assert "status 7" in runs["exit"].detail
        assert runs["hang"].status is RunStatus.HANG
        assert runs["killed"].status is RunStatus.INFRA
        assert runs["ok"].status is RunStatus.DONE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_qemu_that_is_killed_is_infra(place: Path, number: signal.Signals) -> None:
    with open_qemu(live.image("debian:trixie"), QemuConfig(accel="tcg")) as target:
        batch = live.program(place, "ok", "hang", "ok")
        runs: list[ScenarioRun] = []
        for run in run_batch(target, batch, scenario_timeout=30.0):
            if not runs:  # the second scenario hangs now
                os.kill(target.guest.process.pid, number)
            runs.append(run)
        Path(batch.elf).unlink()
    assert [run.status for run in runs] == [RunStatus.DONE, RunStatus.INFRA, RunStatus.DONE]
    assert ("SIGKILL" if number == signal.SIGKILL else "from outside") in runs[1].detail


PROGRAM = """
import signal, sys
from harness.execute import Lanes, run_batch
from harness.targets import QemuConfig, open_qemu
from harness.vocabulary import BatchProgram, Image
import msgspec

def stop(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
image = msgspec.json.decode(sys.argv[1], type=Image)
batch = msgspec.json.decode(sys.argv[2], type=BatchProgram)
print("booting", flush=True)
with open_qemu(image, QemuConfig(accel="tcg")) as target:
    print("booted", flush=True)
    for run in run_batch(target, batch, scenario_timeout=60.0):
        print("ran", flush=True)
"""


@pytest.mark.parametrize(
    ("number", "when"),
    [
        (signal.SIGINT, "booting"),
        (signal.SIGKILL, "ran"),
        *(
            pytest.param(number, when, marks=pytest.mark.slow)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
            for when in ("booting", "booted", "ran")
        ),
    ],
)
def test_an_interrupt_leaves_nothing(place: Path, when: str, number: signal.Signals) -> None:
    image = live.image("debian:trixie")
    batch = live.program(place, "ok", "hang")
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, msgspec.json.encode(image), msgspec.json.encode(batch)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    with child:
        for line in child.stdout:
            if line.strip() == when:
                break
        if when == "booting":
            while not qemus(place):
                assert child.poll() is None
                time.sleep(0.01)
        child.send_signal(number)
        assert child.wait(timeout=60) != 0
    deadline = time.monotonic() + 20
    while qemus(place) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert qemus(place) == []
    Path(batch.elf).unlink()
    if number == signal.SIGKILL:  # what a killed process leaves, the next one sweeps
        scratch.remove_scratch(scratch.make_scratch("next"))
    assert list(place.iterdir()) == []
