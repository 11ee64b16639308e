# SPDX-License-Identifier: GPL-2.0-only
"""What a repeat of a parallel block costs, beside a fresh VM that does the same once."""

from __future__ import annotations

from reference_model import scenario as sc
from reference_model.scenario import Parallel, RaceScenario

#: Repeats of one block, and scenarios that do it once each.
REPEATS = 400
FRESH = 40


def many_repeats() -> RaceScenario:
    """One VM, one block, many repeats."""
    return _scenario("bench-repeats", REPEATS)


def many_vms() -> list[RaceScenario]:
    """As many VMs as blocks, one repeat each."""
    return [_scenario(f"bench-fresh-{number}", 1) for number in range(FRESH)]


def _scenario(ident: str, repeat: int) -> RaceScenario:
    """Two stores of one vCPU that the host reads: no time is spent on waking other CPUs."""
    branch = (
        sc.Write(gpa=0x8000_3000, value=1),
        sc.DirtyGet(slot=1),
        sc.Write(gpa=0x8000_3000, value=2),
    )
    slot = sc.SlotAdd(
        slot=1,
        gpa=0x8000_0000,
        size=0x1_0000,
        backing=sc.Backing(prefill=True),
        flags=("log_dirty",),
    )
    return RaceScenario(
        schema=1,
        id=ident,
        vm=sc.VmConfig(vcpus=2),
        steps=(slot, Parallel(parallel=(branch,), repeat=repeat)),
    )
