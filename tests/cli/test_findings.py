# SPDX-License-Identifier: GPL-2.0-only
"""diff, shrink and repro of a stored finding, on a kernel that is the model with a fault in it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from harness.cli import main
from harness.compare import KnownList, parse_known
from reference_model.language import dump_yaml, load_text
from reference_model.outcome import Observation
from reference_model.scenario import Scenario
from tests.asif import DIRTY, OVER
from tests.cli.simulated import Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_STATE", str(tmp_path / "state"))
    lab = Lab(monkeypatch)
    for name in ("plans_from", "plans_again"):
        monkeypatch.setattr(f"harness.cli.shrink.{name}", lab._plans)
    lab.fault = forgets
    return lab


def forgets(
    scenario: Scenario, times: int, steps: tuple[Observation, ...]
) -> tuple[Observation, ...]:
    """The dirty log loses what was written where the log is read."""
    del scenario, times
    return tuple(
        msgspec.structs.replace(step, dirty=()) if step.dirty else step for step in steps
    )  # fmt: skip


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    return int(ended.value.code or 0)


@pytest.fixture
def red(lab: Lab, capsys: pytest.CaptureFixture[str]) -> str:
    """The id of a finding."""
    del lab
    Path("s.yaml").write_text(dump_yaml(DIRTY))
    assert run("run", "s.yaml", "--json", "-q") == 1
    (finding,) = json.loads(capsys.readouterr().out)
    return str(finding["short_id"])


def test_diff_of_a_stored_finding(red: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("diff", red, "--html", "d.html") == 1
    out = capsys.readouterr().out
    assert "only model: page 3" in out
    assert "every profile says the same" in out
    assert "only model: page 3" in Path("d.html").read_text()
    assert run("diff", red, "--json") == 1
    (plain,) = json.loads(capsys.readouterr().out)
    assert plain["explanation"]["flips"] == []
    assert plain["explanation"]["step"] == 2


def test_shrink_stores_what_is_left_and_repro_writes_it(
    red: str, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("shrink", red, "-o", "small.yaml", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    (small,) = load_text(Path("small.yaml").read_text(), "small.yaml")
    assert [step.name for step in small.steps] == ["slot_add", "write", "dirty_get"]
    assert small.id == "dirty-small"
    assert told["verdict"] == "DIVERGE"
    assert told["steps"] == 3
    assert told["short_id"] != red
    assert len(lab.targets) == 2
    assert run("repro", told["short_id"], "-o", "t.c") == 0
    text = Path("t.c").read_text()
    assert "expect_dirty(PAGES(0));" in text or "expect_dirty(PAGES(3));" in text
    assert run("repro", told["short_id"], "--flavour", "upstream") == 0
    assert "ksft_set_plan(STEPS)" in capsys.readouterr().out
    assert run("diff", told["short_id"]) == 1


def test_shrink_twice_gives_the_same(red: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("shrink", red, "--json") == 1
    first = json.loads(capsys.readouterr().out)["scenario"]
    assert run("shrink", red, "--json") == 1
    assert json.loads(capsys.readouterr().out)["scenario"] == first


def test_files_run_now_and_two_kernels(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.yaml").write_text(dump_yaml(DIRTY))
    assert run("diff", "s.yaml") == 1
    out = capsys.readouterr().out
    assert "smaller: harness shrink" in out
    lab.names = ("one", "two")
    assert run("diff", "s.yaml") == 0
    assert "1 pairs  1 alike" in capsys.readouterr().out
    before = {"times": 0}

    def second(
        scenario: Scenario, times: int, steps: tuple[Observation, ...]
    ) -> tuple[Observation, ...]:
        before["times"] += 1
        return steps if before["times"] == 1 else forgets(scenario, times, steps)

    lab.fault = second
    assert run("diff", "s.yaml", "--json") == 1
    (pair,) = json.loads(capsys.readouterr().out)
    assert [one["channel"] for one in pair["differences"]] == ["dirty"]


def test_files_run_now_know_what_is_known(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del lab
    entry = {
        "title": "the log is lost",
        "scenario": DIRTY.id,
        "channels": ["dirty"],
        "kernels": ["6.12.*"],
        "reason": "a test",
        "link": "none",
        "review": "2999-01-01",
    }
    entries = parse_known(json.dumps([entry]), "known.yaml")
    monkeypatch.setattr("harness.cli.collect.known_list", lambda file: KnownList(entries))
    Path("s.yaml").write_text(dump_yaml(DIRTY))
    assert run("diff", "s.yaml") == 0
    out = capsys.readouterr().out
    assert "only model: page 3" in out
    assert "known 1: the log is lost" in out


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["shrink"], "ID"),
        (["shrink", "nothere"], "no finding"),
        (["shrink", "--between", "v6.1", "v6.12", "--kernel", "debian:sid"], "drop --kernel"),
        (["shrink", "--between", "v6.1", "v6.12", "--suite", "none"], "suite"),
        (["repro", "nothere"], "no finding"),
        (["diff", "--kernel", "debian:sid"], "name one"),
        (["diff", "a", "b"], "give one"),
    ],
)
def test_wrong_usage_is_one_line(
    args: list[str], word: str, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    del lab
    assert run(*args) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert word in line


def test_a_c_file_has_a_name_that_can_be_built(
    red: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("repro", red, "-o", "t.txt") == 2
    assert "t.c" in capsys.readouterr().err
    assert run("repro", red, "-o", "no/such/t.c") == 2


def test_between_profiles_needs_no_kernel(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.yaml").write_text(dump_yaml(OVER))
    assert run("shrink", "--between", "v6.1", "v6.12", "s.yaml", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == 2
    assert told["asked_kernel"] == 0
    assert lab.targets == []
    assert run("shrink", "--between", "v6.1", "v6.1", "s.yaml") == 0
    assert "none of 1 scenarios" in capsys.readouterr().err
