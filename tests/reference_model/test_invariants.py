# SPDX-License-Identifier: GPL-2.0-only
"""Each invariant finds the fault it is there for, in an observation that was tampered with."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from reference_model.invariants import violations
from reference_model.outcome import Observation
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import (
    Annotate,
    Destroy,
    Flush,
    Map,
    MkOld,
    MkYoung,
    PgtableOp,
    PgtableScenario,
    RelaxPerms,
    Split,
    Unmap,
    WrProtect,
)
from reference_model.stage2_machine import predict_pgtable

PAGE = 0x1000
BLOCK = 1 << 21
ENV = Environment()
NO_TLBI = {"ipa": 0, "ipa_nsh": 0, "vmid": 0, "range": 0}


def leaf(ipa: int, **keys: Any) -> tuple[int, int, int, str, int, bool, str, int]:
    """A run of one RW page at IPA = PA, unless told otherwise."""
    values = {"size": PAGE, "pa": ipa, "prot": "rw", "sw": 0, "af": True, "attr": "normal"}
    values |= {"count": 1} | keys
    return (ipa, *values.values())  # type: ignore[return-value]


def page(ipa: int = 0, count: int = 1, prot: str = "rw", **keys: Any) -> Map:
    return Map(ipa=ipa, size=count * PAGE, pa=ipa, prot=prot, **keys)


def observe(
    steps: list[PgtableOp], profile: str = "v6.12"
) -> tuple[PgtableScenario, list[Observation]]:
    scenario = PgtableScenario(schema=1, id="case", steps=tuple(steps))
    prediction = predict_pgtable(scenario, PROFILES[profile], ENV)
    assert prediction.skip == ""
    return scenario, [step.allowed[0] for step in prediction.steps]


CASES: list[tuple[str, list[PgtableOp], dict[str, Any]]] = [
    ("I6", [page()], {"leaves": (leaf(0, pa=0x800),)}),
    ("I6", [page()], {"leaves": (leaf(0), leaf(0))}),
    ("I6", [page()], {"leaves": (leaf(0), leaf(0x4000, size=0x2000))}),
    ("I6", [page()], {"leaves": (leaf(0), leaf(1 << 40))}),
    ("I7", [page()], {"refcounts": ((0, 3, 2, 3),)}),
    ("I8", [page(), Unmap(ipa=0, size=PAGE)], {"leaves": (leaf(0),)}),
    ("I8", [page(0, 3), Unmap(ipa=0, size=PAGE)], {"leaves": (leaf(PAGE),)}),
    ("I8", [page(), Unmap(ipa=0, size=PAGE)], {"annotations": ((0, PAGE, 4, 1),)}),
    ("I8", [page(0, 512), Unmap(ipa=0, size=PAGE)], {"leaves": (leaf(PAGE),)}),
    ("I9", [page(), Destroy()], {"tables": 1}),
    ("I9", [page(), Destroy()], {"leaves": (leaf(0),)}),
    ("I9", [page(), Unmap(ipa=0, size=1 << 40)], {"tables": 2}),
    ("I9", [page()], {"tables": 3}),
    ("I10", [page(), page()], {"ret": -12}),
    ("I10", [page(), page()], {"leaves": (leaf(0, prot="r"),)}),
    ("I11", [page()], {"leaves": (leaf(0, pa=PAGE),)}),
    ("I11", [page()], {"leaves": (leaf(0, prot="r"),)}),
    ("I11", [page()], {"leaves": (leaf(0, attr="device"),)}),
    ("I11", [page(0, 2)], {"leaves": (leaf(0),)}),
    ("I11", [page()], {"leaves": (leaf(0), leaf(0x5000))}),
    ("I11", [page(0, 512), page(0x3000)], {"leaves": (leaf(0x3000), leaf(0x4000))}),
    ("I11", [page(), Annotate(ipa=0, size=PAGE, owner=1)], {"leaves": (leaf(0),)}),
    (
        "I11",
        [Annotate(ipa=0, size=2 * PAGE, owner=1)],
        {"annotations": ((0, PAGE, 4, 1), (PAGE, PAGE, 8, 1))},
    ),
    ("I12", [page(0, 4)], {"ret": -12, "leaves": (leaf(0), leaf(PAGE, sw=1))}),
    ("I12", [page(0, 4), page(0, 6, memcache=0)], {"ret": -12, "leaves": (leaf(0, count=3),)}),
    ("I14", [page(), page(0, prot="r")], {"ret": -11, "leaves": (leaf(0, prot="r"),)}),
    ("I15", [page(), WrProtect(ipa=0, size=PAGE)], {"leaves": (leaf(0),)}),
    ("I15", [page(), WrProtect(ipa=0, size=PAGE)], {"leaves": (leaf(0, prot=""),)}),
    ("I15", [page(), WrProtect(ipa=0, size=PAGE)], {"leaves": (leaf(0, prot="r", af=False),)}),
    ("I15", [page(), WrProtect(ipa=0, size=PAGE)], {"ret": -11}),
    (
        "I15",
        [page(0, 2), WrProtect(ipa=0, size=PAGE)],
        {"leaves": (leaf(0, prot="r", count=2),)},
    ),
    ("I16", [page(), RelaxPerms(ipa=0, prot="r")], {"leaves": (leaf(0, prot="r"),)}),
    ("I16", [page(), RelaxPerms(ipa=0, prot="x")], {"leaves": (leaf(0),)}),
    ("I16", [page(), RelaxPerms(ipa=0, prot="r")], {"leaves": (leaf(0, pa=PAGE),)}),
    ("I17", [page(), MkOld(ipa=0, size=PAGE)], {"ret": 0}),
    ("I17", [page(), MkOld(ipa=0, size=PAGE)], {"leaves": (leaf(0),)}),
    ("I17", [page(), MkOld(ipa=0, size=PAGE)], {"leaves": (leaf(0, prot="", af=False),)}),
    (
        "I17",
        [page(), MkOld(ipa=0, size=PAGE), MkYoung(ipa=0)],
        {"leaves": (leaf(0, prot="r"),)},
    ),
    (
        "I18",
        [page(0, 512), Split(ipa=0, size=BLOCK)],
        {"leaves": (leaf(0, prot="rwx", count=512),)},
    ),
    ("I18", [page(0, 512), Split(ipa=0, size=BLOCK)], {"leaves": (leaf(0, count=511),)}),
    ("I18", [page(0, 2), Split(ipa=0, size=BLOCK)], {"leaves": (leaf(0, af=False, count=2),)}),
    ("I19", [page(), Map(ipa=0, size=PAGE, pa=0x9000, prot="rw")], {"tlbi": NO_TLBI}),
    ("I20", [page(), Unmap(ipa=0, size=PAGE)], {"tlbi": NO_TLBI}),
    ("I21", [page(prot="rx")], {"cmo": {"dcache": 1, "icache": 0}}),
    ("I21", [page(), RelaxPerms(ipa=0, prot="x")], {"cmo": {"dcache": 0, "icache": 0}}),
    ("I22", [page()], {"cmo": {"dcache": 0, "icache": 0}}),
    ("range", [page(), page(1 << 40)], {"leaves": ()}),
    ("still", [page(), Flush(ipa=0, size=PAGE)], {"leaves": ()}),
    ("cache", [page(memcache=1)], {"alloc": 2, "tables": 2}),
    ("cache", [page(), Flush(ipa=0, size=PAGE)], {"alloc": 1}),
]


@pytest.mark.parametrize(
    ("name", "steps", "fault"),
    CASES,
    ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)],
)
def test_a_fault_is_found(name: str, steps: list[PgtableOp], fault: dict[str, Any]) -> None:
    scenario, observed = observe(steps)
    assert violations(scenario, observed, ENV) == []
    observed[-1] = replace(observed[-1], **fault)
    found = violations(scenario, observed, ENV)
    assert name in {violation.invariant for violation in found}
    assert all(violation.step == len(steps) - 1 for violation in found)


def test_what_was_not_observed_is_not_judged() -> None:
    scenario, observed = observe([page(), Unmap(ipa=0, size=PAGE)])
    blind = [Observation(ret=seen.ret) for seen in observed]
    assert violations(scenario, blind, ENV) == []
    half = [replace(seen, tlbi=UNSET, cmo=UNSET, alloc=UNSET) for seen in observed]
    assert violations(scenario, half, ENV) == []


def test_a_run_that_ended_early_is_judged_as_far_as_it_went() -> None:
    scenario, observed = observe([page(), page(), Destroy()])
    assert violations(scenario, observed[:1], ENV) == []


def test_a_violation_reads_as_one_line() -> None:
    scenario, observed = observe([page(), Unmap(ipa=0, size=PAGE)])
    observed[1] = replace(observed[1], leaves=(leaf(0),))
    text = str(violations(scenario, observed, ENV)[0])
    assert text == (
        "step 1: I8: unmap left 0x0..0x1000 (was rw access, normal, sw 0, young, 0x1000 -> 0x0; "
        "is rw access, normal, sw 0, young, 0x1000 -> 0x0)"
    )


@pytest.mark.parametrize("profile", list(PROFILES))
def test_permissions_may_shrink_with_software_bits_or_on_v5_10(profile: str) -> None:
    """Why "map never reduces permissions" is no invariant of every kernel."""
    bits = {} if profile == "v5.10" else {"sw": 1}
    scenario, observed = observe([page(), page(prot="r", **bits)], profile)
    assert isinstance(observed[1].leaves, tuple)
    assert observed[1].leaves[0][3] == "r"
    assert violations(scenario, observed, ENV) == []
