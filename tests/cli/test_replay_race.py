# SPDX-License-Identifier: GPL-2.0-only
"""``harness replay`` of a race: at least as many repeats, and how often it came back."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.cli import main
from harness.store import Store
from reference_model.outcome import Observation, Outcome
from reference_model.scenario import Parallel, Scenario
from tests.cli.simulated import Lab
from tests.compare.test_histogram import BLOCK, TEXT


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_STATE", str(tmp_path / "state"))
    (tmp_path / "r.yaml").write_text(TEXT, encoding="utf-8")
    return Lab(monkeypatch)


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    return int(ended.value.code or 0)


def raced(scenario: Scenario, steps: tuple[Observation, ...], lost: int) -> tuple[Observation, ...]:
    """The block's repeats, ``lost`` of them with a mark that nobody made."""
    block, outcome = scenario.steps[BLOCK], steps[BLOCK].outcome
    assert isinstance(block, Parallel)
    assert isinstance(outcome, Outcome)
    assert not isinstance(outcome.after, msgspec.UnsetType)
    odd = msgspec.structs.replace(
        outcome, after=msgspec.structs.replace(outcome.after, dirty={"1": (9,)})
    )
    histogram = [(block.repeat - lost, outcome), (lost, odd)]
    seen = Observation(histogram=tuple(pair for pair in histogram if pair[0]))
    return (*steps[:BLOCK], seen, *steps[BLOCK + 1 :])


@pytest.mark.parametrize(("more", "repeats"), [((), 200), (("--repeat", "900"), 900)])
@pytest.mark.parametrize("lost", [3, 0])
def test_it_says_how_often_it_came_back(
    lab: Lab, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], repeats: int, lost: int
) -> None:
    lab.fault = lambda scenario, times, steps: raced(scenario, steps, 1)
    assert run("run", "r.yaml") == 1
    with Store(Path(".harness")) as store:
        (finding,) = store.findings(store.run_named(None).id)
    assert "in 1 of 200 repeats" in finding.reason
    capsys.readouterr()
    lab.fault = lambda scenario, times, steps: raced(scenario, steps, lost)
    assert run("replay", finding.short_id, *more) == (1 if lost else 0)
    out = capsys.readouterr().out
    what = f"came back: {lost} of" if lost else "did not come back: none of"
    assert f"{what} {repeats} repeats had an outcome that is not allowed (at first 1 of 200)" in (
        " ".join(out.split())
    )


def test_fewer_repeats_than_at_first_are_not_taken(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.fault = lambda scenario, times, steps: raced(scenario, steps, 1)
    assert run("run", "r.yaml") == 1
    with Store(Path(".harness")) as store:
        (finding,) = store.findings(store.run_named(None).id)
    capsys.readouterr()
    assert run("replay", finding.short_id, "--repeat", "5") == 1
    assert "came back: 1 of 200" in capsys.readouterr().out
