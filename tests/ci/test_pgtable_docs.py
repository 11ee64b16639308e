# SPDX-License-Identifier: GPL-2.0-only
"""docs/pgtable.md and docs/coverage-pgtable.md say what the model says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from reference_model.profiles import PROFILES, Environment
from reference_model.stage2_knobs import Stage2Knobs
from reference_model.transition_universe import universe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pgtable_docs", ROOT / "ci" / "pgtable_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_knobs_is_up_to_date(writer: ModuleType) -> None:
    page = (ROOT / "docs" / "pgtable.md").read_text()
    assert page == writer.knobs_page(), "run: python ci/pgtable_docs.py"


def test_every_knob_that_changes_is_told_apart_by_a_scenario(writer: ModuleType) -> None:
    page = writer.knobs_page()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    assert list(sections) == list(Stage2Knobs.__struct_fields__)
    for name, text in sections.items():
        values = {getattr(profile.stage2, name) for profile in PROFILES.values()}
        assert (".yaml: `" in text) == (len(values) > 1), name


def test_the_figures_of_coverage_are_of_this_model() -> None:
    page = (ROOT / "docs" / "coverage-pgtable.md").read_text()
    for profile in PROFILES.values():
        match = re.search(rf"^\| {re.escape(profile.name)} \| (\d+) \|", page, re.MULTILINE)
        assert match, profile.name
        known = len(universe(profile, Environment()))
        assert int(match[1]) == known, "run: python ci/pgtable_docs.py coverage"
    assert "unknown" not in page


@pytest.mark.slow
def test_the_page_of_coverage_is_up_to_date(writer: ModuleType) -> None:
    page = (ROOT / "docs" / "coverage-pgtable.md").read_text()
    assert page == writer.coverage_page(), "run: python ci/pgtable_docs.py coverage"


def test_unknown_arguments_are_usage(
    writer: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert writer.main(["nonsense"]) == 2
    assert "usage:" in capsys.readouterr().err
