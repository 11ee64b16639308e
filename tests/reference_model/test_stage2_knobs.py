# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import msgspec
import pytest

from reference_model.profiles import PROFILES
from reference_model.stage2_knobs import STAGE2_KNOBS, Stage2Knobs
from reference_model.stage2_sources import KNOB_SOURCES

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
        assert version in source or source.startswith("the proposal"), (knob, profile)
        assert "\n" not in source


@pytest.mark.parametrize("knob", KNOBS)
def test_a_source_differs_where_the_value_differs(knob: str) -> None:
    """Two profiles with different values must not rest on the same words."""
    seen: dict[str, object] = {}
    for profile, knobs in STAGE2_KNOBS.items():
        source = KNOB_SOURCES[knob].sources[profile]
        value = getattr(knobs, knob)
        assert seen.setdefault(source, value) == value


def test_the_proposal_differs_from_v6_1_in_one_knob() -> None:
    seed = msgspec.structs.asdict(STAGE2_KNOBS["seed-2021"])
    base = msgspec.structs.asdict(STAGE2_KNOBS["v6.1"])
    assert {knob for knob in base if base[knob] != seed[knob]} == {"on_eagain"}
