# SPDX-License-Identifier: GPL-2.0-only
"""docs/coverage.md says what the corpus and the generator reach."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from reference_model.guest_rows import ROWS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "coverage.md"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guest_docs", ROOT / "ci" / "guest_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_row_has_a_scenario_in_the_corpus(writer: ModuleType) -> None:
    corpus = writer.corpus_rows()
    assert [name for name in ROWS if not corpus[name]] == []
    text = PAGE.read_text()
    for name, ids in corpus.items():
        more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
        assert f"| {name} | `{ids[0]}`{more} |" in text, "run: python ci/guest_docs.py"


@pytest.mark.slow
def test_the_table_is_up_to_date(writer: ModuleType) -> None:
    text = PAGE.read_text()
    assert writer.page(text) == text, "run: python ci/guest_docs.py"
