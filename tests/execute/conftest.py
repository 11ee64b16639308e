# SPDX-License-Identifier: GPL-2.0-only
"""What tests of a batch on a fake target ask for."""

from __future__ import annotations

import pytest

from harness.execute import runner, watch


@pytest.fixture
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script takes no time, so what is told by time in real life is told by order."""
    monkeypatch.setattr(runner, "MARGIN", 0.05)
    monkeypatch.setattr(watch, "_BEHIND", 0.0)
    monkeypatch.setattr(watch, "_ON_THEIR_WAY", 0.0)
