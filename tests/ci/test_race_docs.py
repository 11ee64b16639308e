# SPDX-License-Identifier: GPL-2.0-only
"""docs/races.md is what ci/race_docs.py makes of what is kept, and its figures are counted right."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from harness.vocabulary import Finding, Verdict
from tests.compare.test_comeback import GOOD, bad, finding

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def docs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    return importlib.import_module("race_docs")


@pytest.fixture
def volume(docs: ModuleType) -> ModuleType:
    return importlib.import_module("race_volume")


def kept(path: Path) -> dict[str, object]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_the_page_is_up_to_date(docs: ModuleType) -> None:
    data = kept(docs.DATA)
    assert docs._page(data) == docs.PAGE.read_text(encoding="utf-8")
    assert docs._plot(data) == docs.PLOT.read_text(encoding="utf-8")


def test_every_generation_ran_the_volume_with_nothing_forbidden(volume: ModuleType) -> None:
    """What issue 5 asks for: 300 scenarios of 200 repeats on each generation."""
    data = json.loads(volume.DATA.read_text(encoding="utf-8"))
    seen = {
        ".".join(key.split(".")[:2])
        for key, one in data.items()
        if sum(one["verdicts"].values()) >= 300 and one["repeats"] >= 60_000
    }
    assert seen == {"5.10", "6.1", "6.12", "7.2", "7.3"}
    for one in data.values():
        assert one["forbidden"] == 0
        assert set(one["verdicts"]) <= {"MATCH", "KNOWN"}


def test_figures_are_sums(volume: ModuleType) -> None:
    first = matched(finding((200, GOOD)), {"refused": ((150, 0), (50, 2))})
    second = msgspec.structs.replace(finding((197, GOOD), (3, bad(7))))
    found = volume.figures([first, second])
    assert found["verdicts"] == {"MATCH": 1, "DIVERGE": 1}
    assert (found["repeats"], found["forbidden"]) == (400, 3)
    assert (found["refused"], found["held"]) == (50, 0)
    assert found["seen"] == 2
    assert found["allowed"] > 2
    text = volume.section({"6.12.1 4": found})
    assert "| 6.12.1 | 4 | 2 | 400 | 1 MATCH, 1 DIVERGE | 3 | 50 (0) | 2 / " in text


def matched(one: Finding, counts: dict[str, tuple[tuple[int, int], ...]]) -> Finding:
    assert one.run is not None
    *steps, block = one.run.steps
    block = msgspec.structs.replace(block, counts=counts)
    run = msgspec.structs.replace(one.run, steps=(*steps, block))
    return msgspec.structs.replace(one, run=run, verdict=Verdict.MATCH)


def test_nothing_run_is_no_section(volume: ModuleType) -> None:
    assert volume.section({}) == ""
