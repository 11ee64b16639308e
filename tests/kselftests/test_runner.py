# SPDX-License-Identifier: GPL-2.0-only
"""The runner, built for this machine: it needs no KVM and no arm64."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.resources import resource_dir

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc for this machine")

IDS = ["done", "crash", "hang", "skip", "infra", "exit", "large", "too-large", "stubborn",
       "slow", "hang-2", "hang-3", "hang-4", "hang-5", "last", "hang-6"]  # fmt: skip
_SLOW = ("hang", "stubborn", "too-large", "slow", *(f"hang-{n}" for n in range(2, 7)))
PATIENCE = 60.0


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = resource_dir("kselftests")
    output = tmp_path_factory.mktemp("runner") / "portable"
    units = [
        Path(__file__).with_name("portable.c"),
        *(folder / name for name in ("runner.c", "record.c", "klog.c")),
    ]
    subprocess.run(
        ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", f"-I{folder}", *units, "-o",
         output],
        check=True,
        timeout=PATIENCE,
    )  # fmt: skip
    return output


def _run(program: Path, *arguments: str) -> str:
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def _records(output: str, kind: str) -> list[dict[str, Any]]:
    mark = f"# {kind} "
    return [
        json.loads(line.removeprefix(mark)) for line in output.splitlines() if line.startswith(mark)
    ]


def _only(program: Path, ident: str, *arguments: str) -> str:
    return _run(program, "--only", str(IDS.index(ident)), *arguments)


def test_a_lane_beyond_the_cpus_goes_round(program: Path) -> None:
    """What it runs is the same, whatever CPU it stays on."""
    for lane in ("0", "1", "4095"):
        ends = _records(_only(program, "done", "--lane", lane), "end")
        assert [end["status"] for end in ends] == ["done"]


def test_whole_run_is_ktap(program: Path) -> None:
    chosen = [i for i, ident in enumerate(IDS) if ident not in _SLOW]
    lines = _run(program, "--only", ",".join(map(str, chosen))).splitlines()
    assert lines[:2] == ["KTAP version 1", f"1..{len(chosen)}"]
    plain = [line for line in lines[2:] if not line.startswith("# ")]
    assert [line.partition(" # ")[0] for line in plain] == [
        "ok 1 done",
        "not ok 2 crash",
        "ok 3 skip",
        "not ok 4 infra",
        "not ok 5 exit",
        "ok 6 large",
        "ok 7 last",
    ]
    assert [line for line in lines if line.startswith("# start")] == [
        f"# start {i} {IDS[i]}" for i in chosen
    ]


def test_hello(program: Path) -> None:
    (hello,) = _records(_only(program, "done"), "hello")
    assert hello["protocol"] == 1
    assert hello["suite"] == "portable"
    assert hello["release"] == os.uname().release
    assert (hello["trace"], hello["missing"]) == (True, {})


def test_hello_says_what_is_missing(program: Path) -> None:
    (hello,) = _records(_only(program, "done", "--no-trace"), "hello")
    assert hello["trace"] is False
    assert hello["missing"] == {"maps": "not asked for", "faults": 'a "quoted" reason'}


@pytest.mark.parametrize("sync", [(), ("--sync",)])
def test_steps_of_a_scenario_that_ends_well(program: Path, sync: tuple[str, ...]) -> None:
    output = _only(program, "done", *sync)
    assert _records(output, "step") == [
        {"n": 0, "ret": 0},
        {"n": 1, "ret": -14, "data": (1 << 64) - 1, "exit": None},
    ]
    (end,) = _records(output, "end")
    assert end["status"] == "done"
    assert end["us"] >= 0


@pytest.mark.parametrize("sync", [(), ("--sync",)])
def test_a_crash_keeps_whole_steps_only(program: Path, sync: tuple[str, ...]) -> None:
    output = _only(program, "crash", *sync)
    assert _records(output, "step") == [{"n": 0, "ret": 0}]
    (end,) = _records(output, "end")
    assert (end["status"], end["step"]) == ("crash", 1)
    assert "signal 11" in end["detail"]


@pytest.mark.parametrize("ident", ["hang", "stubborn"])
def test_a_hang_is_ended_and_the_next_runs(program: Path, ident: str) -> None:
    chosen = f"{IDS.index(ident)},{IDS.index('infra')},{IDS.index('done')}"
    output = _run(program, "--only", chosen, "--timeout", "1")
    ends = {end["status"]: end for end in _records(output, "end")}
    assert set(ends) == {"hang", "infra", "done"}
    hang = ends["hang"]
    assert hang["step"] == 1
    assert "within 1 s" in hang["detail"]


def test_where_each_hangs_the_next_has_less_time(program: Path) -> None:
    wanted = ("hang", "hang-2", "hang-3", "hang-4", "hang-5", "last", "hang-6")
    numbers = ",".join(str(IDS.index(ident)) for ident in wanted)
    ends = _records(_run(program, "--only", numbers, "--timeout", "1"), "end")
    assert [end.get("detail", end["status"]) for end in ends] == [
        *["no step within 1 s"] * 3,
        *["no step within 0.2 s"] * 2,
        "done",
        "no step within 1 s",
    ]


def test_a_long_scenario_of_short_steps_is_no_hang(program: Path) -> None:
    """Its lines come while it runs: whoever waits for the kernel's death sees that it lives."""
    runner = subprocess.Popen(
        [program, "--only", str(IDS.index("slow")), "--timeout", "1.5"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert runner.stdout is not None
    lines = []
    alive_at_first_step = None
    for line in runner.stdout:
        lines.append(line)
        if line.startswith("# step") and alive_at_first_step is None:
            alive_at_first_step = bool(psutil.Process(runner.pid).children())
    assert runner.wait(PATIENCE) == 0
    output = "".join(lines)
    assert alive_at_first_step
    assert [step["ret"] for step in _records(output, "step")] == list(range(5))
    assert [end["status"] for end in _records(output, "end")] == ["done"]


def test_the_last_line_says_that_the_kernel_warned_of_nothing(program: Path) -> None:
    expected = "# bye {}" if os.access("/dev/kmsg", os.R_OK) else "ok 1 done"
    assert _only(program, "done").splitlines()[-1] == expected


def test_skip_carries_its_reason(program: Path) -> None:
    output = _only(program, "skip")
    (end,) = _records(output, "end")
    assert (end["status"], end["detail"]) == ("skip", 'needs "more" than \\ 7 ')
    assert 'ok 1 skip # SKIP needs "more" than \\ 7 ' in output.splitlines()


def test_infra_is_no_result(program: Path) -> None:
    (end,) = _records(_only(program, "infra"), "end")
    assert (end["status"], end["detail"], end["step"]) == ("infra", "no memory", 0)


def test_a_child_that_says_nothing(program: Path) -> None:
    (end,) = _records(_only(program, "exit"), "end")
    assert (end["status"], end["detail"]) == ("infra", "exit status 3 without a word")


def test_a_hundred_thousand_steps(program: Path) -> None:
    steps = _records(_only(program, "large"), "step")
    assert [step["ret"] for step in steps] == list(range(100_000))


def test_a_record_that_does_not_fit(program: Path) -> None:
    output = _only(program, "too-large")
    assert _records(output, "step") == []
    (end,) = _records(output, "end")
    assert (end["status"], end["detail"]) == ("infra", "the record of step 0 does not fit")


def test_start_leaves_out_what_comes_before(program: Path) -> None:
    output = _run(program, "--start", "4", "--only", "0,3,4,5")
    assert [line for line in output.splitlines() if line.startswith("# start")] == [
        "# start 4 infra",
        "# start 5 exit",
    ]
    assert "1..2\n" in output


def test_list(program: Path) -> None:
    assert _run(program, "--list").splitlines() == [f"{i} {ident}" for i, ident in enumerate(IDS)]


@pytest.mark.parametrize(
    "arguments",
    [["--only", "99"], ["--only", "1,x"], ["--start", "-1"], ["--timeout", "0"],
     ["--timeout", "soon"], ["--lane", "x"], ["--bogus"], ["extra"]],
)  # fmt: skip
def test_bad_arguments_run_nothing(program: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage:" in done.stderr


# --- endings from outside ------------------------------------------------------------------


def _hanging(program: Path, mark: Path) -> tuple[subprocess.Popen[str], psutil.Process]:
    """The runner with a scenario that hangs, once its child is there."""
    runner = subprocess.Popen(
        [program, "--only", str(IDS.index("stubborn"))],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "STARTED": str(mark)},
    )
    assert runner.stdout is not None
    for line in runner.stdout:
        if line.startswith("# start"):
            break
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        children = psutil.Process(runner.pid).children()
        if children:
            assert mark.exists()
            return runner, children[0]
        time.sleep(0.01)
    runner.kill()
    pytest.fail("the runner started no child")


def _gone(process: psutil.Process) -> bool:
    try:
        process.wait(PATIENCE)
    except psutil.TimeoutExpired:
        return False
    return not process.is_running()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_runner_and_child(
    program: Path, tmp_path: Path, number: signal.Signals
) -> None:
    mark = tmp_path / "started"
    runner, child = _hanging(program, mark)
    runner.send_signal(number)
    assert runner.wait(PATIENCE) == 128 + number
    assert _gone(child)
    assert not mark.exists()  # what the suite set up was undone


def test_a_killed_runner_takes_its_child_along(program: Path, tmp_path: Path) -> None:
    runner, child = _hanging(program, tmp_path / "started")
    runner.kill()
    runner.wait(PATIENCE)
    assert _gone(child)


def test_nobody_reads(program: Path, tmp_path: Path) -> None:
    """The reader is gone: the runner ends, and undoes what it set up."""
    mark = tmp_path / "started"
    runner = subprocess.Popen(
        [program, "--only", str(IDS.index("large"))],
        stdout=subprocess.PIPE,
        env={**os.environ, "STARTED": str(mark)},
    )
    assert runner.stdout is not None
    runner.stdout.close()
    assert runner.wait(PATIENCE) == 128 + signal.SIGPIPE
    assert not mark.exists()
