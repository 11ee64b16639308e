# SPDX-License-Identifier: GPL-2.0-only
"""The guest suite's language: every operation, what is refused, and what a kernel lacks."""

from __future__ import annotations

import typing
from typing import Any

import pytest

from reference_model import predict
from reference_model import scenario as sc
from reference_model.describe import describe
from reference_model.documents import ScenarioError
from reference_model.language import dump_yaml, load_text
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import GuestScenario

SLOT = "{op: slot_add, slot: 1, gpa: 0x80000000, size: 64K}"
STEPS = [
    "{op: read, gpa: 0x80003003, size: 4, form: writeback}",
    "{op: write, gpa: 0x80003000, value: 1, form: pair, tables: 0x80004000}",
    "{op: exec, gpa: 0x80003000, vcpu: 1}",
    "{op: cas, gpa: 0x80003000, expected: 1, value: 2, size: 4}",
    "{op: dc_zva, gpa: 0x80003000, size: 1K}",
    "{op: dc_civac, gpa: 0x80003000}",
    "{op: at, gpa: 0x80003000, write: true}",
    "{op: slot_flags, slot: 1, flags: [log_dirty]}",
    "{op: slot_move, slot: 1, gpa: 0x90000000}",
    "{op: slot_delete, slot: 1}",
    "{op: dirty_get, slot: 1}",
    "{op: dirty_clear, slot: 1, pages: [1, 2]}",
    "{op: ring_reset, count: 4}",
    "{op: host_read, gpa: 0x80003000}",
    "{op: host_write, gpa: 0x80003000, value: 0x11}",
    "{op: stage1_tables, gpa: 0x80004000, af: false}",
    "{op: madvise, gpa: 0x80000000, size: 64K, advice: pageout}",
    "{op: mprotect, gpa: 0x80000000, size: 64K, prot: none}",
    "{op: remap, gpa: 0x80000000, size: 64K, to: none}",
    "{op: age, gpa: 0x80000000, size: 64K}",
    "{op: punch_hole, gpa: 0x80000000, size: 64K}",
    "{op: fork_touch, gpa: 0x80000000, size: 64K}",
    "{op: uffd_register, gpa: 0x80000000, size: 64K, mode: [missing, wp]}",
    "{op: uffd_copy, gpa: 0x80000000, size: 64K, value: 0x1122334455667788}",
    "{op: uffd_zero, gpa: 0x80000000, size: 64K}",
    "{op: uffd_continue, gpa: 0x80000000, size: 64K}",
    "{op: uffd_wp, gpa: 0x80000000, size: 64K, protect: false}",
]


def text(*steps: str, vm: str = "{vcpus: 2}") -> str:
    head = f"schema: 1\nid: t\nsuite: guest\nvm: {vm}\nsteps:\n"
    return head + "".join(f"- {step}\n" for step in steps)


def test_every_operation_comes_back_as_it_went() -> None:
    scenario = load_text(text(SLOT, *STEPS), "t.yaml")[0]
    assert isinstance(scenario, GuestScenario)
    known = {str(op.__struct_config__.tag) for op in typing.get_args(sc.GuestOp)}
    assert {step.name for step in scenario.steps} == known
    assert load_text(dump_yaml(scenario), "t.yaml") == [scenario]
    words = [describe(step) for step in scenario.steps]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("{op: read, gpa: 0x80000ffd, size: 4}", "crosses a 4K page; make it two steps"),
        ("{op: read, gpa: 0x80000000, size: 4, form: pair}", "form pair is two words: size 8"),
        ("{op: cas, gpa: 0x80000004, expected: 0, value: 0}", "not aligned to its size 8"),
        ("{op: cas, gpa: 0x80000000, expected: 256, value: 0, size: 1}", "does not fit in 1 bytes"),
        ("{op: dc_zva, gpa: 0x80000100}", "not aligned to its size 512"),
        ("{op: stage1_tables, gpa: 0x80000800}", "not aligned to a 4K table"),
        ("{op: read, gpa: 0x8000000000, tables: 0x80000000}", "beyond the 512G"),
        ("{op: read, gpa: 0x80000000, tables: 0x80000100}", "no 4K-aligned address"),
        ("{op: mprotect, gpa: 0x80000000, size: 0, prot: r}", "size 0 names no memory"),
        ("{op: mprotect, gpa: 0x80000000, size: 4K, prot: x}", "prot"),
        ("{op: uffd_register, gpa: 0x80000000, size: 4K, mode: []}", "mode is empty"),
        ("{op: madvise, gpa: 0x80000000, size: 4K, advice: cold}", "advice"),
    ],
)
def test_a_wrong_step_is_refused_with_the_mend(step: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words) as error:
        load_text(text(SLOT, step), "t.yaml")
    assert "step 1" in str(error.value)


@pytest.mark.parametrize(
    ("backing", "words"),
    [
        ("{kind: hugetlb}", "page_size belongs to kind hugetlb, which needs it"),
        ("{kind: hugetlb, page_size: 3M}", "is none of 64K, 2M, 32M, 512M, 1G"),
        ("{page_size: 2M}", "page_size belongs to kind hugetlb"),
        ("{kind: memfd, thp: always}", "thp is for kind anon"),
        ("{kind: zero, prefill: true}", "prefill does not go with kind zero"),
        ("{offset: 17}", "no multiple of 4K"),
    ],
)
def test_wrong_memory_is_refused_with_the_mend(backing: str, words: str) -> None:
    step = SLOT.replace("64K}", f"2M, backing: {backing}}}")
    with pytest.raises(ScenarioError, match=words):
        load_text(text(step), "t.yaml")


@pytest.mark.parametrize(
    ("vm", "words"),
    [
        ("{dirty_ring: 1000}", "not a power of two"),
        ("{ring_bitmap: true}", "ring_bitmap needs a dirty_ring"),
        ("{eager_split: 3M}", "is no block size"),
    ],
)
def test_a_wrong_vm_is_refused_with_the_mend(vm: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_text(text(SLOT, vm=vm), "t.yaml")


@pytest.mark.parametrize(
    ("profile", "env", "vm", "words"),
    [
        ("v6.1", {}, {"dirty_ring": 1024}, "has no dirty ring"),
        ("v6.12", {"page_shift": 14}, {"dirty_ring": 256}, "less than a page of entries"),
        ("v6.1", {}, {"eager_split": 0x20_0000}, "has no eager splitting"),
        ("v6.12", {"page_shift": 14}, {"eager_split": 0x20_0000}, "no leaf size with 16K"),
        ("v7.2", {"mode": "protected"}, {"eager_split": 0x20_0000}, "in protected mode"),
        ("v6.12", {}, {"ipa_bits": 52}, "over the host's limit"),
    ],
)
def test_what_a_kernel_lacks_is_a_skip(
    profile: str, env: dict[str, Any], vm: dict[str, Any], words: str
) -> None:
    step = sc.SlotAdd(slot=1, gpa=0x8000_0000, size=0x1_0000)
    scenario = GuestScenario(schema=1, id="t", steps=(step,), vm=sc.VmConfig(**vm))
    assert words in predict(scenario, PROFILES[profile], Environment(**env)).skip


@pytest.mark.parametrize(
    ("step", "profile", "env", "words"),
    [
        (
            sc.UffdRegister(gpa=0x8000_0000, size=4096, mode=("wp",)),
            "v6.1",
            {},
            "no userfaultfd wp mode",
        ),
        (sc.UffdContinue(gpa=0x8000_0000, size=4096), "v5.10", {}, "no UFFDIO_CONTINUE"),
        (sc.Stage1Tables(gpa=0x8000_0000, af=False), "v6.12", {"haf": False}, "haf is off"),
        (
            sc.SlotAdd(
                slot=2,
                gpa=0x9000_0000,
                size=0x1_0000,
                backing=sc.Backing(kind="hugetlb", page_size=0x1_0000),
            ),
            "v6.12",
            {"page_shift": 14},
            "no hugetlb pages of 0x10000 with 16K pages",
        ),
    ],
)
def test_steps_that_a_kernel_lacks_are_a_skip(
    step: sc.GuestOp, profile: str, env: dict[str, Any], words: str
) -> None:
    scenario = GuestScenario(schema=1, id="t", steps=(step,))
    assert words in predict(scenario, PROFILES[profile], Environment(**env)).skip
