# SPDX-License-Identifier: GPL-2.0-only
"""Memory of a host for tests: a few 4K pages, or as many as a huge page has."""

from __future__ import annotations

from typing import Any

from reference_model import scenario as sc
from reference_model.choice import Chooser
from reference_model.fault_knobs import FAULT_KNOBS
from reference_model.memory import HostMemory

#: Pages in a huge one.
PMD = 512
SMALL, LARGE = 0x1_0000, 0x20_0000


def memory(size: int = SMALL, knobs: str = "v6.12", **backing: Any) -> HostMemory:
    """Memory of ``size`` bytes that nothing has touched; ``backing`` as a scenario says it."""
    return HostMemory(size, 12, sc.Backing(**backing), FAULT_KNOBS[knobs], Chooser())


def huge(knobs: str = "v6.12", **backing: Any) -> HostMemory:
    """Memory that one transparent huge page can hold."""
    return memory(LARGE, knobs, thp="madvise", **backing)
