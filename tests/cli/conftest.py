# SPDX-License-Identifier: GPL-2.0-only
"""A lab in a directory of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.simulated import Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_STATE", str(tmp_path / "state"))
    return Lab(monkeypatch)
