# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reference_model.fault_knobs import FAULT_KNOBS
from reference_model.fault_sources import FAULT_KNOB_SOURCES
from reference_model.interleave_knobs import RACE_KNOB_SOURCES, RACE_KNOBS
from reference_model.profiles import PROFILES
from reference_model.stage2_knobs import STAGE2_KNOBS, Stage2Knobs
from reference_model.stage2_sources import AS_BEFORE, KNOB_SOURCES

KNOBS = Stage2Knobs.__struct_fields__


def test_every_knob_is_documented_and_nothing_else() -> None:
    assert set(KNOB_SOURCES) == set(KNOBS)


def test_every_profile_has_knobs() -> None:
    assert set(STAGE2_KNOBS) == set(PROFILES)


@pytest.mark.parametrize("knob", KNOBS)
def test_every_profile_has_a_source_of_one_line(knob: str) -> None:
    doc = KNOB_SOURCES[knob]
    assert doc.what
    assert "\n" not in doc.what
    assert set(doc.sources) == set(PROFILES)
    for profile, source in doc.sources.items():
        version = "v6.1" if profile == "seed-2021" else profile
        assert version in source or source.startswith(("the proposal", "as in v")), (knob, profile)
        assert "\n" not in source


@pytest.mark.parametrize("knob", KNOBS)
def test_a_source_differs_where_the_value_differs(knob: str) -> None:
    """Two profiles with different values must not rest on the same words."""
    seen: dict[str, object] = {}
    for profile, knobs in STAGE2_KNOBS.items():
        source = KNOB_SOURCES[knob].sources[profile]
        value = getattr(knobs, knob)
        assert seen.setdefault(source, value) == value


def test_a_line_is_taken_over_only_where_the_value_is() -> None:
    """A profile that is as the one before but for a knob says itself where that was read."""
    tables: list[tuple[dict[str, Any], dict[str, dict[str, str]]]] = [
        (STAGE2_KNOBS, {knob: doc.sources for knob, doc in KNOB_SOURCES.items()}),
        (FAULT_KNOBS, {knob: doc.sources for knob, doc in FAULT_KNOB_SOURCES.items()}),
        (RACE_KNOBS, {knob: sources for knob, (_, sources) in RACE_KNOB_SOURCES.items()}),
    ]
    for knobs, lines in tables:
        for later, before in AS_BEFORE.items():
            for knob, sources in lines.items():
                if getattr(knobs[later], knob) != getattr(knobs[before], knob):
                    assert sources[before] not in sources[later], knob


def test_v7_3_differs_from_v7_2_in_two_knobs() -> None:
    assert STAGE2_KNOBS["v7.3"] == STAGE2_KNOBS["v7.2"]
    assert RACE_KNOBS["v7.3"] == RACE_KNOBS["v7.2"]
    new, old = (msgspec.structs.asdict(FAULT_KNOBS[name]) for name in ("v7.3", "v7.2"))
    assert {knob for knob in new if new[knob] != old[knob]} == {
        "drops_blocks",
        "uffd_keeps_wp",
    }
    assert "(7.3): no unmap_huge_pmd_locked" in FAULT_KNOB_SOURCES["drops_blocks"].sources["v7.3"]
    assert "VM_UFFD_WP" in FAULT_KNOB_SOURCES["uffd_keeps_wp"].sources["v7.3"]
    assert KNOB_SOURCES["split"].sources["v7.3"] == "as in v7.2: kvm_pgtable_stage2_split(), v7.2"


def test_the_proposal_differs_from_v6_1_in_one_knob() -> None:
    seed = msgspec.structs.asdict(STAGE2_KNOBS["seed-2021"])
    base = msgspec.structs.asdict(STAGE2_KNOBS["v6.1"])
    assert {knob for knob in base if base[knob] != seed[knob]} == {"on_eagain"}
