# SPDX-License-Identifier: GPL-2.0-only
"""A focus: the same seed gives the same scenarios, of their own, mostly about its area."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from random import Random

import msgspec
import pytest

from harness.generate import FOCI, generate
from harness.generate.guest import _Walk
from harness.generate.guest_focus import drawn as focus_drawn
from harness.generate.guest_focus import focus_named
from harness.generate.guest_host import HostSteps
from harness.vocabulary import UsageError
from reference_model import scenario as sc
from reference_model.scenario import GuestScenario
from reference_model.validate import check

#: What an area is about: steps that are a larger share of its scenarios than of ordinary ones.
ABOUT = {
    "host": ("madvise", "mprotect", "remap", "fork_touch"),
    "huge": ("madvise", "mprotect", "fork_touch"),
    "parts": ("madvise", "mprotect", "fork_touch", "remap"),
    "log": ("dirty_get", "dirty_clear", "ring_reset"),
    "slots": ("slot_add", "slot_move", "slot_delete"),
    "uffd": ("uffd_register", "uffd_copy", "uffd_zero", "uffd_continue", "uffd_wp"),
    "hugetlb": ("madvise", "mprotect", "uffd_register"),
    "tables": ("stage1_tables", "at"),
}


def drawn(focus: str, count: int = 80) -> list[GuestScenario]:
    scenarios = list(generate("guest", count, 4, focus=focus))
    return [one for one in scenarios if isinstance(one, GuestScenario)]


def share(scenarios: list[GuestScenario], names: tuple[str, ...]) -> float:
    seen = Counter(step.name for scenario in scenarios for step in scenario.steps)
    return sum(seen[name] for name in names) / seen.total()


def test_every_focus_is_about_something() -> None:
    assert {*ABOUT, "swarm"} == set(FOCI)


@pytest.mark.parametrize("focus", ABOUT)
def test_it_is_repeatable_valid_and_about_its_area(focus: str) -> None:
    scenarios = drawn(focus)
    assert scenarios == drawn(focus)
    assert [one.id for one in scenarios[:2]] == [f"guest-{focus}-s4-0000{n}" for n in (0, 1)]
    assert all(check(one) is None for one in scenarios)
    assert share(scenarios, ABOUT[focus]) > 1.5 * share(drawn(""), ABOUT[focus])


def test_huge_has_huge_pages() -> None:
    def huge(scenarios: list[GuestScenario]) -> float:
        first = [one.steps[0] for one in scenarios]
        large = [op for op in first if isinstance(op, sc.SlotAdd) and op.backing.thp != "never"]
        return len(large) / len(first)

    assert huge(drawn("huge")) > 0.7
    assert huge(drawn("")) < 0.3


def test_parts_are_odd_and_looked_at() -> None:
    steps = [step for one in drawn("parts") for step in one.steps]
    ranges = [(op, steps[at + 1]) for at, op in enumerate(steps[:-1]) if isinstance(op, sc.Madvise)]
    assert any(op.gpa % 0x1_0000 and op.size > 0x1_0000 for op, _ in ranges)
    assert any(op.size % 0x1_0000 == 0x1000 for op, _ in ranges)
    edges = [
        op
        for op, after in ranges
        if isinstance(after, (sc.Read, sc.Write))
        and after.gpa in (op.gpa - 0x1000, op.gpa, op.gpa + op.size - 0x1000, op.gpa + op.size)
    ]
    assert len(edges) > len(ranges) / 5


def test_an_ordinary_campaign_is_what_it_was() -> None:
    # docs/coverage.md names seeds. Whoever changes the ordinary generator changes this too.
    digest = sha256()
    for index in range(200):
        walk = _Walk(Random(f"guest:901:{index}"), focus_named(""))
        digest.update(msgspec.json.encode(walk.scenario(f"guest-s901-{index:05d}")))
    assert digest.hexdigest() == "3bf596cb5454f441a78b6126132ef5599dcb3a5b811be9079928a45da0f320e9"


def test_a_swarm_is_drawn_anew_of_what_there_is() -> None:
    one, other = (focus_drawn(FOCI["swarm"], Random(seed)) for seed in (1, 2))
    assert one != other
    assert all(hasattr(_Walk, f"_{name}") for name in one.actions)
    assert all(hasattr(HostSteps, f"_{name}") for name in one.host)
    assert focus_drawn(FOCI["host"], Random(1)) is FOCI["host"]


def test_a_swarm_is_repeatable_and_valid() -> None:
    scenarios = drawn("swarm")
    assert scenarios == drawn("swarm")
    assert all(check(one) is None for one in scenarios)


def test_what_is_write_protected_goes_and_comes_in_the_area_of_userfaultfd() -> None:
    modes = {op.mode for one in drawn("uffd") for op in one.steps if op.name == "uffd_register"}
    assert {("wp",), ("missing", "wp"), ("minor", "wp")} <= modes


def test_log_has_rings_and_eager_splitting() -> None:
    vms = [one.vm for one in drawn("log")]
    assert sum(vm.dirty_ring > 0 for vm in vms) > len(vms) / 5
    assert sum(vm.eager_split > 0 for vm in vms) > len(vms) / 5


def test_hugetlb_has_hugetlb_pages() -> None:
    added = [op for one in drawn("hugetlb") for op in one.steps if isinstance(op, sc.SlotAdd)]
    assert sum(op.backing.kind == "hugetlb" for op in added) > len(added) / 2


@pytest.mark.parametrize("focus", FOCI)
def test_its_factors_are_of_actions_that_there_are(focus: str) -> None:
    assert all(hasattr(_Walk, f"_{name}") for name in FOCI[focus].actions)
    assert all(hasattr(HostSteps, f"_{name}") for name in FOCI[focus].host)


def test_one_that_there_is_not_is_named() -> None:
    with pytest.raises(UsageError, match="--focus hug: this version has: host, huge"):
        focus_named("hug")
    with pytest.raises(UsageError, match="only with --suite guest"):
        list(generate("race", 1, 1, focus="huge"))
