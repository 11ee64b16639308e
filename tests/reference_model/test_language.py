# SPDX-License-Identifier: GPL-2.0-only
"""Scenario text: what loads, what is refused and in which words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.generate import generate
from reference_model.documents import ScenarioError, parse_number
from reference_model.language import dump_yaml, load_text, to_builtins
from reference_model.scenario import GuestScenario, PgtableScenario

GUEST = """\
schema: 1
id: dirty-after-clear
suite: guest
vm: {vcpus: 1, ipa_bits: 40, dirty_ring: 0, manual_protect: false, eager_split: 0}
steps:
  - {op: slot_add, slot: 1, gpa: 0x80000000, size: 2M, backing: {kind: anon, thp: never, prefill: true}, flags: [log_dirty]}
  - {op: write, vcpu: 0, gpa: 0x80003000, value: 0x11}
  - {op: dirty_get, slot: 1}
"""
PGTABLE = """\
schema: 1
id: range-over-existing
suite: pgtable
granule: 4K           # a comment
ipa_bits: 40
memcache: 64
steps:
  - {op: map, ipa: 0x80002000, size: 0x1000, pa: 0x42000, prot: rw}
  - {op: map, ipa: 0x80000000, size: 16K, pa: 0x40000, prot: rw, flags: [handle_fault, shared]}
"""


def test_examples_of_the_language_load() -> None:
    guest, pgtable = load_text(GUEST + "---\n" + PGTABLE, "both.yaml")
    assert isinstance(guest, GuestScenario)
    assert isinstance(pgtable, PgtableScenario)
    assert guest.steps[0].size == 0x20_0000
    assert pgtable.steps[1].size == 0x4000
    assert pgtable.steps[1].flags == ("handle_fault", "shared")


def test_json_is_the_same_schema() -> None:
    plain = [to_builtins(scenario) for scenario in load_text(GUEST + "---\n" + PGTABLE, "y")]
    assert load_text(json.dumps(plain), "j") == load_text(GUEST + "---\n" + PGTABLE, "y")


def test_memcache_null_is_not_absent() -> None:
    (scenario,) = load_text(PGTABLE.replace("memcache: 64", "memcache: null"), "x")
    assert scenario.memcache is None
    (scenario,) = load_text(PGTABLE.replace("memcache: 64\n", ""), "x")
    assert scenario.memcache == 64


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("op: map", "op: mapp", "f.yaml:8: scenario 'range-over-existing': step 0: unknown op 'mapp' (did you mean 'map'?)"),
        ("flags:", "flag:", "f.yaml:9: scenario 'range-over-existing': step 1 (map): unknown key 'flag' (did you mean 'flags'?)"),
        ("0x80002000", "-4", "step 0 (map): ipa: Expected `int` >= 0"),
        ("0x80002000", "banana", "step 0 (map): ipa: Expected `int`"),
        ("prot: rw,", "prot: rr,", "letters of rwx, each at most once"),
        ("suite: pgtable", "suite: pkvm", "suite 'pkvm' is not in this version"),
        ("suite: pgtable", "suite: nope", "unknown suite 'nope'"),
        ("schema: 1", "schema: 2", "'schema' must be 1"),
        ("id: range-over-existing", "id: Not Good", "lower-case letters"),
        ("id: range-over-existing\n", "", "key 'id' is missing"),
        ("pa: 0x42000, ", "", "step 0 (map): key 'pa' is missing"),
        ("ipa_bits: 40", "ipa_bits: 20", "ipa_bits: Expected `int` >= 32"),
        ("op: map, ipa: 0x80002000, size: 0x1000, pa: 0x42000, prot: rw", "op: destroy", "destroy is the last step only"),
        ("0x80002000", "0xffffffffffffffff", "wraps around"),
        ("steps:", "stepz:", "unknown key 'stepz' (did you mean 'steps'?)"),
        ("suite: pgtable", "suite: pgtable\nsuite: guest", "key 'suite' stands twice"),
        ("prot: rw}", "prot: rw", "not YAML"),
        ("ipa_bits: 40", "ipa_bits: !!python/object:os.system 1", "is not data"),
        ("ipa_bits: 40", "expect: {why: w, steps: [{}, {}, {}]}", "pins 3 steps of 2"),
        ("ipa_bits: 40", "expect: {why: w, steps: [{rett: 0}]}", "unknown channel 'rett'"),
        ("ipa_bits: 40", "expect: {why: w, profile: 6.1, steps: [{}]}", "unknown profile '6.1'; known: v5.10"),
        ("ipa_bits: 40", "expect: {why: w, profile: [v6.1, v6], steps: [{}]}", "unknown profile 'v6'; known: v5.10"),
        ("ipa_bits: 40", "expect: {why: w, profile: [], steps: [{}]}", "names no profile"),
    ],
)  # fmt: skip
def test_errors_name_place_and_mend(old: str, new: str, words: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load_text(PGTABLE.replace(old, new, 1), "f.yaml")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("f.yaml")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("profile: v6.12, ", ("v6.12",)),
        ("profile: [v6.1, v6.12], ", ("v6.1", "v6.12")),
    ],
)
def test_a_pin_names_one_profile_or_several_or_none(text: str, names: tuple[str, ...]) -> None:
    pinned = PGTABLE + f"expect: {{{text}why: w, steps: [{{ret: 0}}]}}\n"
    (scenario,) = load_text(pinned, "f.yaml")
    (pin,) = scenario.expect
    assert pin.profiles == names
    assert pin.applies("v6.12")
    assert pin.applies("v5.10") is not bool(names)
    assert load_text(dump_yaml(scenario), "again") == [scenario]


def test_duplicate_id_names_both_places() -> None:
    with pytest.raises(ScenarioError, match=r"f\.yaml:10: .* already used at f\.yaml:1"):
        load_text(GUEST + "---\n" + GUEST, "f.yaml")


def test_guest_addresses_of_the_runtime_are_refused() -> None:
    with pytest.raises(ScenarioError, match="runtime keeps for itself"):
        load_text(GUEST.replace("gpa: 0x80003000", "gpa: 0x08003000"), "f.yaml")


@pytest.mark.parametrize(
    ("text", "value"), [("17", 17), ("0x10", 16), ("2M", 2 << 20), ("4K", 4096), ("0x1G", 1 << 30)]
)
def test_numbers(text: str, value: int) -> None:
    assert parse_number(text) == value


@given(st.text(max_size=200))
def test_no_text_escapes_as_another_error(text: str) -> None:
    try:
        loaded = load_text(text, "f")
    except ScenarioError as error:
        assert "\n" not in str(error)
    else:
        assert loaded


@pytest.mark.parametrize("suite", ["guest"])
def test_dump_loads_back_equal(suite: str) -> None:
    for scenario in generate(suite, 50, seed=3):
        assert load_text(dump_yaml(scenario), "dumped") == [scenario]
