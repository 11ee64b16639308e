# SPDX-License-Identifier: GPL-2.0-only
"""``harness run`` and what can be asked of its results, on a kernel that is the model."""

from __future__ import annotations

import _thread
import json
import re
import sqlite3
import threading
from collections import Counter
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.plans import plans_from
from harness.store import RunState, Store
from harness.vocabulary import UsageError, Verdict
from reference_model.outcome import Observation
from reference_model.scenario import Scenario
from tests.cli.simulated import Lab, Simulated, wrong

COUNT = 12


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    return int(ended.value.code or 0)


def campaign(*more: str) -> int:
    return run("run", "--suite", "guest", "--count", str(COUNT), *more)


def verdicts(root: Path = Path()) -> dict[str, Verdict]:
    with Store(root / ".harness") as store:
        return {row.scenario: row.verdict for row in store.results(store.run_named(None).id)}


def test_all_match(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign() == 0
    out = capsys.readouterr().out
    assert f"guest  {COUNT} scenarios  {COUNT} match  0 diverge" in out
    assert set(lab.ran.values()) == {1}
    (page,) = Path(".harness/runs").glob("*/report.html")
    assert f"{COUNT} match" in page.read_text()
    with Store(Path(".harness")) as store:
        info = store.run_named(None)
        assert info.command == ("harness", "run", "--suite", "guest", "--count", str(COUNT))
        assert info.expected == COUNT
        assert store.state(info.id)[0] is RunState.DONE
        (target,) = store.targets(info.id)
        assert target.profile == "v6.12"
        assert target.env["granule"] == "4K"


def test_what_diverges_is_run_again_and_named(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    def fault(
        scenario: Scenario, times: int, steps: tuple[Observation, ...]
    ) -> tuple[Observation, ...]:
        return wrong(steps) if scenario.id.endswith("3") else steps

    lab.fault = fault
    assert campaign() == 1
    out = capsys.readouterr().out
    assert "1 diverge" in out
    (line,) = [one for one in out.splitlines() if one.startswith("✗ DIVERGE")]
    assert "-00003" in line
    assert "kernel -1000" in line
    assert lab.ran == {name: 2 if name.endswith("3") else 1 for name in lab.ran}
    with Store(Path(".harness")) as store:
        (finding,) = store.findings(store.run_named(None).id, only_findings=True)
    assert len(finding.again) == 1


def test_two_programs_at_once_and_what_diverges_alone(lab: Lab) -> None:
    lab.lanes = 2
    lab.fault = lambda scenario, times, steps: (
        wrong(steps) if scenario.id.endswith("3") and not times else steps
    )
    assert campaign() != 0
    assert verdicts()["guest-s1-00003"] is Verdict.FLAKY
    assert Counter(verdicts().values()) == {Verdict.MATCH: COUNT - 1, Verdict.FLAKY: 1}
    (target,) = lab.targets
    shares = [argv[argv.index("--only") + 1].split(",") for argv in target.started[:2]]
    assert sorted(int(at) for share in shares for at in share) == list(range(COUNT))
    assert all("--lane" in argv for argv in target.started[:2])
    assert all("--lane" not in argv for argv in target.started[2:]), "again, and alone"


def test_a_cpu_for_each_program() -> None:
    machine = {"accel": "auto", "cpu": "", "memory": 1024, "vcpus": 1, "append": (), "lanes": 3}
    (plan,) = plans_from(["debian:trixie"], [], machine)
    assert plan.lanes == 3
    assert plan.options[-2:] == ("--smp", "3"), "a finding is replayed on a machine like it"


def test_what_does_not_come_again_is_flaky(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.fault = lambda scenario, times, steps: (
        wrong(steps) if scenario.id.endswith("3") and not times else steps
    )
    assert campaign() == 1
    out = capsys.readouterr().out
    assert "1 flaky" in out
    assert "diverged in 1 of 4 runs of the same input" in out
    assert verdicts()["guest-s1-00003"] is Verdict.FLAKY
    (page,) = Path(".harness/runs").glob("*/report.html")
    assert re.search(r"<li>run 2: done step \d+: ret 0", page.read_text()), "both are shown"
    assert run("diff", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert [one["status"] for one in told["repeats"]] == ["done"] * 3
    assert told["observed"][-1]["ret"] == -1000
    assert told["repeats"][0]["observed"]["ret"] == 0


# --- interrupted, and gone on with -----------------------------------------------------------------


def interrupt_at(lab: Lab, number: int) -> None:
    """Ctrl-C while the batch that has this scenario is being prepared."""

    def fault(
        scenario: Scenario, times: int, steps: tuple[Observation, ...]
    ) -> tuple[Observation, ...]:
        if scenario.id.endswith(f"{number:05}"):
            raise KeyboardInterrupt
        return steps

    lab.fault = fault


def in_small_batches(monkeypatch: pytest.MonkeyPatch, size: int = 4) -> None:
    from harness.campaign import workload  # noqa: PLC0415

    real = workload.Batches.__init__

    def init(self: workload.Batches, scenarios: list[Scenario], *_: int) -> None:
        real(self, scenarios, size)

    monkeypatch.setattr(workload.Batches, "__init__", init)


def test_interrupted_and_resumed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_small_batches(monkeypatch)
    interrupt_at(lab, 9)
    assert campaign() == 130
    captured = capsys.readouterr()
    assert "interrupted: 4 of 12 scenarios were not judged" in captured.err
    assert "8 scenarios  8 match" in captured.out
    assert "run 2" in captured.out
    before = dict(lab.ran)
    assert len(before) >= 8
    with Store(Path(".harness")) as store:
        assert store.state(store.run_named(None).id)[0] is RunState.INTERRUPTED
    lab.targets.clear()
    lab.fault = lambda scenario, times, steps: steps
    assert run("run", "--resume") == 0
    captured = capsys.readouterr()
    assert "goes on: harness run --suite guest --count 12" in captured.err
    assert "12 scenarios  12 match" in captured.out
    assert sorted(lab.ran) == [f"guest-s1-{at:05}" for at in range(8, 12)]
    with Store(Path(".harness")) as store:
        assert len(store.runs()) == 1
        assert store.state(store.run_named(None).id)[0] is RunState.DONE
    assert run("run", "--resume") == 2
    assert "that did not end" in capsys.readouterr().err


def test_killed_and_resumed(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A process that was killed left its run as running."""
    assert campaign() == 0
    with sqlite3.connect(".harness/harness.db") as database:
        database.execute("UPDATE runs SET state = 'running'")
        database.execute("DELETE FROM results WHERE scenario > 'guest-s1-00004'")
    lab.targets.clear()
    assert campaign("--resume", "-q") == 0
    assert sorted(lab.ran) == [f"guest-s1-{at:05}" for at in range(5, COUNT)]
    assert len(verdicts()) == COUNT


def test_a_failure_of_the_machine_is_run_again(lab: Lab) -> None:
    assert campaign() == 0
    with Store(Path(".harness")) as store:
        run_id = store.run_named(None).id
        (first, *_) = store.findings(run_id)
        import msgspec  # noqa: PLC0415

        store.add(run_id, [msgspec.structs.replace(first, verdict=Verdict.INFRA)])
    lab.targets.clear()
    assert run("run", "--resume") == 0
    assert list(lab.ran) == [first.scenario.id]
    assert set(verdicts().values()) == {Verdict.MATCH}


def test_resume_of_another_command_is_refused(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    interrupt_at(lab, 3)
    assert campaign() == 130
    capsys.readouterr()
    assert run("run", "--suite", "guest", "--count", "99", "--resume") == 2
    assert "no run of this command" in capsys.readouterr().err


def test_a_run_that_goes_on_is_left_alone(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    from filelock import FileLock  # noqa: PLC0415

    interrupt_at(lab, 3)
    assert campaign() == 130
    (lock,) = Path(".harness/runs").glob("*/running.lock")
    with FileLock(lock):
        assert run("run", "--resume") == 2
    assert "is still going on" in capsys.readouterr().err


def test_a_command_that_was_wrong_leaves_no_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last run stays the last run, for ``diff`` and ``report``."""

    def refuse(self: Simulated) -> None:
        raise UsageError("image:nowhere: no such file")

    assert campaign("-q") == 0
    monkeypatch.setattr(Simulated, "__init__", lambda self, *_, **__: refuse(self))
    assert campaign() == 2
    with Store(Path(".harness")) as store:
        assert len(store.runs()) == 1


# --- json, replay, report, history -----------------------------------------------------------------


def test_json(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign("--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["verdict"] for one in found] == ["MATCH"] * COUNT
    assert all(len(one["observed"]) == len(one["steps"]) for one in found)
    assert all("not_compared" in one for one in found)


def test_two_targets_of_one_name_are_told_apart(lab: Lab) -> None:
    lab.names = ("sim", "sim")
    assert campaign() == 0
    with Store(Path(".harness")) as store:
        names = [row.target for row in store.results()]
    assert names.count("sim") == names.count("sim #2") == COUNT


def test_two_targets_at_once(lab: Lab) -> None:
    lab.names = ("one", "two", "three")
    assert campaign("-j", "3") == 0
    assert set(lab.ran.values()) == {3}


def test_replay(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.fault = lambda scenario, times, steps: wrong(steps) if scenario.id.endswith("3") else steps
    assert campaign("--env", "fwb=on") == 1
    with Store(Path(".harness")) as store:
        (finding,) = store.findings(store.run_named(None).id, only_findings=True)
        first = store.run_named(None)
    capsys.readouterr()
    for ident in (finding.short_id, finding.short_id[:5], f"{first.id}/{finding.scenario.id}"):
        lab.targets.clear()
        assert run("replay", ident) == 1
        assert set(lab.ran) == {finding.scenario.id}
        assert "kernel -1000" in capsys.readouterr().out.replace("  ", " ").replace("  ", " ")
    with Store(Path(".harness")) as store:
        assert store.run_named(None).env == ("fwb=on",)
    lab.fault = lambda scenario, times, steps: steps
    assert run("replay", f"{first.id}/{finding.scenario.id}") == 0


@pytest.mark.parametrize("name", ["terminal", "html", "junit", "ktap", "jsonl", "kcidb"])
def test_reports_are_the_same_bytes_twice(
    lab: Lab, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], name: str
) -> None:
    lab.fault = lambda scenario, times, steps: wrong(steps) if scenario.id.endswith("3") else steps
    assert campaign() == 1
    capsysbinary.readouterr()
    assert run("report", "--format", name) == 0
    first = capsysbinary.readouterr().out
    assert run("report", "--format", name, "-o", "out") == 0
    assert (tmp_path / "out").read_bytes() == first
    assert b"-00003" in first


def test_report_of_nothing(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report") == 2
    assert "no run is stored here" in capsys.readouterr().err
    assert campaign("-q") == 0
    assert run("report", "nope") == 2
    assert "no run 'nope'" in capsys.readouterr().err
    Path("file").write_text("")
    Path("folder").mkdir()
    for place in ("file/report.html", "folder"):
        assert run("report", "-o", place) == 2
        assert "check the path" in capsys.readouterr().err
    assert list(Path("folder").iterdir()) == []


def test_history(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign("-q") == 0
    lab.fault = lambda scenario, times, steps: wrong(steps) if scenario.id.endswith("3") else steps
    assert campaign("-q") == 1
    with Store(Path(".harness")) as store:
        first, second = (info.id for info in store.runs())
    capsys.readouterr()
    assert run("history") == 0
    out = capsys.readouterr().out
    assert first in out
    assert second in out
    assert "flaky: 1" in out
    assert f"guest-s1-00003  6.12.0  profile v6.12  MD  last match {first}" in out
    assert "guest-s1-00004" not in out
    assert run("history", "guest-s1-0000[34]", "--json") == 0
    three, four = json.loads(capsys.readouterr().out)["scenarios"]
    assert (three["verdicts"], four["verdicts"]) == ("MD", "MM")
    assert three["flaky"]
    assert not four["flaky"]
    assert run("history", "--runs") == 0
    assert "flaky" not in capsys.readouterr().out


def test_interrupted_with_several_targets(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guests are ended at once, nobody waits for one to boot, and the summary is printed."""
    ended = threading.Event()
    monkeypatch.setattr("harness.cli.execution.end_all_guests", ended.set)

    def fault(
        scenario: Scenario, times: int, steps: tuple[Observation, ...]
    ) -> tuple[Observation, ...]:
        if scenario.id.endswith("5"):
            _thread.interrupt_main()
            assert ended.wait(30), "the guests were not ended"
        return steps

    lab.fault = fault
    lab.names = ("one", "two")
    assert campaign("-j", "2") == 130
    captured = capsys.readouterr()
    assert "interrupted" in captured.err
    assert "compared:" in captured.out
    assert ended.is_set()
