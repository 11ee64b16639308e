# SPDX-License-Identifier: GPL-2.0-only
"""The knob that explains a difference is the one that was turned."""

from __future__ import annotations

import sys

import msgspec
import pytest

from harness.compare import explain_finding
from harness.compare.explain import knob_text, variants
from harness.vocabulary import Explanation, Finding
from reference_model import scenario as sc
from reference_model.profiles import PROFILES
from reference_model.scenario import GuestScenario, PgtableScenario
from tests.asif import DIRTY, OVER, as_if, seen_otherwise


def explained(finding: Finding) -> Explanation:
    explanation = explain_finding(finding)
    assert explanation is not None
    return explanation


def test_the_knob_with_its_sources_on_both_sides() -> None:
    explanation = explained(as_if(OVER, "v6.1", "v6.12"))
    assert explanation.step == 1
    first = explanation.flips[0]
    assert (first.knob, first.value, first.profiles, first.whole) == (
        "on_eagain",
        "go",
        ("v6.12",),
        True,
    )
    assert "kvm_pgtable_walk_continue" in first.source
    because = {reason.knob: reason for reason in explanation.because}
    assert because["on_eagain"].value == "stop"
    assert "stops at any error" in because["on_eagain"].source
    assert "v6.12" in explanation.profiles


def test_a_kernel_that_differs_from_the_one_before_in_one_knob() -> None:
    """What MADV_FREE took leaves a table of pages behind, or room for the huge zero page."""
    freed = GuestScenario(
        schema=1,
        id="freed",
        steps=(
            sc.SlotAdd(
                slot=1, gpa=0x8000_0000, size=0x20_0000,
                backing=sc.Backing(thp="madvise", prefill=True),
            ),
            sc.Madvise(gpa=0x8000_0000, size=0x20_0000, advice="free"),
            sc.Madvise(gpa=0x8000_0000, size=0x20_0000, advice="pageout"),
            sc.Read(gpa=0x8000_3000, size=4),
            sc.Read(gpa=0x8000_4000, size=4),
        ),
    )  # fmt: skip
    explanation = explained(as_if(freed, "v7.2", "v7.3"))
    [flip] = explanation.flips
    assert (flip.knob, flip.value, flip.profiles[0], flip.whole) == (
        "drops_blocks",
        "no",
        "v7.3",
        True,
    )
    assert "(7.3): no unmap_huge_pmd_locked" in flip.source
    [back] = explained(as_if(freed, "v7.3", "v7.2")).flips
    assert (back.knob, back.value, back.profiles) == ("drops_blocks", "yes", ("v7.2",))


def test_a_match_has_no_explanation() -> None:
    assert explain_finding(as_if(OVER, "v6.12", "v6.12")) is None


def test_a_kernel_that_is_wrong_by_every_profile() -> None:
    finding = seen_otherwise(as_if(DIRTY, "v6.12", "v6.12"), 2, dirty=())
    explanation = explained(finding)
    assert explanation.flips == ()
    assert explanation.profiles == ()
    assert "every profile" in explanation.note


def test_a_knob_that_only_takes_a_channel_away_explains_nothing() -> None:
    finding = seen_otherwise(
        as_if(OVER, "v6.12", "v6.12"), 1, cmo={"dcache": 77, "icache": 0}
    )  # fmt: skip
    assert "cmo_callbacks" not in {flip.knob for flip in explained(finding).flips}


def test_of_two_knobs_each_explains_its_own_step() -> None:
    both = PgtableScenario(
        schema=1,
        id="both",
        steps=(
            sc.RelaxPerms(ipa=0, prot="r"),
            *OVER.steps,
        ),
    )
    explanation = explained(as_if(both, "v6.1", "v6.12"))
    assert explanation.step == 0
    assert not any(flip.whole for flip in explanation.flips)
    assert "v6.12" in explanation.profiles


def test_what_comes_late_in_a_long_scenario_is_not_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules["harness.compare.explain"], "_MAX_STEPS", 0)
    explanation = explained(as_if(OVER, "v6.1", "v6.12"))
    assert explanation.flips == ()
    assert "harness shrink" in explanation.note


def test_env_of_the_command_line_counts() -> None:
    env = msgspec.structs.replace
    finding = as_if(OVER, "v6.1", "v6.12")
    plain = env(finding, target=env(finding.target, env=finding.target.env | {"fwb": "on"}))
    assert "replay" in explained(plain).note or explained(plain).flips
    overridden = env(plain, env={"fwb": "off"})
    assert explained(overridden).flips[0].knob == "on_eagain"


@pytest.mark.parametrize("name", list(PROFILES))
def test_each_variant_differs_in_one_knob_and_has_a_profile_that_has_it(name: str) -> None:
    profile = PROFILES[name]
    count = 0
    for variant in variants(profile):
        count += 1
        changed = [
            knob
            for part in ("stage2", "fault")
            for knob in getattr(profile, part).__struct_fields__
            if getattr(getattr(variant.profile, part), knob)
            != getattr(getattr(profile, part), knob)
        ]
        assert len(changed) <= 1
        assert variant.profiles
        assert name not in variant.profiles
        for other in variant.profiles:
            sections = [
                part
                for part in PROFILES[other].__struct_fields__
                if hasattr(getattr(PROFILES[other], part), variant.knob)
            ]
            assert any(
                getattr(getattr(PROFILES[other], part), variant.knob) == variant.value
                for part in sections
            )
    assert count > 5


def test_knob_values_in_words() -> None:
    assert knob_text(True) == "yes"
    assert knob_text(()) == "none"
    assert knob_text(("shared", "handle_fault")) == "shared handle_fault"
    assert knob_text("stop") == "stop"
