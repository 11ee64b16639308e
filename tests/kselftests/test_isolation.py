# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios share a process and its memory: none sees what another did, and all of it goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import kernels
from harness.render import render_batch
from harness.targets import QemuConfig, QemuTarget, open_qemu, run
from harness.toolchain import build_batch
from reference_model.language import load_text
from reference_model.memory import prefill_word

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

PATIENCE = 120.0
SCENARIOS = Path(__file__).with_name("isolation.yaml")
#: What must be as it was before: huge pages free and promised, modules, traces.
RESOURCES = (
    "cat /sys/kernel/mm/hugepages/*/free_hugepages; grep HugePages_Rsvd /proc/meminfo; lsmod;"
    " ls /sys/kernel/tracing/instances; cat /sys/kernel/tracing/kprobe_events"
)

Step = dict[str, Any]


@pytest.fixture(scope="module")
def target() -> Iterator[QemuTarget]:
    with open_qemu(kernels.resolve("debian:trixie")) as guest:
        yield guest


def _lines(target: QemuTarget, *argv: str) -> list[str]:
    lines: list[str] = []
    run(target, argv, timeout=PATIENCE, on_line=lines.append)
    return lines


@pytest.fixture(scope="module")
def resources(target: QemuTarget) -> list[str]:
    """Taken before anything ran."""
    return _lines(target, "sh", "-c", RESOURCES)


@pytest.fixture(scope="module")
def program(target: QemuTarget, resources: list[str]) -> str:
    assert resources
    scenarios = load_text(SCENARIOS.read_text(), SCENARIOS.name)
    ids = [scenario.id for scenario in scenarios]
    return target.put(Path(build_batch(render_batch(scenarios), ids).elf), "isolation")


def _by_scenario(lines: list[str]) -> dict[str, tuple[list[Step], Step]]:
    """Scenario id -> its steps and its end."""
    found: dict[str, tuple[list[Step], Step]] = {}
    name, steps = "", list[Step]()
    for line in lines:
        if line.startswith("# start "):
            name, steps = line.split()[3], []
        elif line.startswith("# step "):
            steps.append(json.loads(line.removeprefix("# step ")))
        elif line.startswith("# end "):
            found[name] = (steps, json.loads(line.removeprefix("# end ")))
    return found


@pytest.fixture(scope="module")
def seen(target: QemuTarget, program: str) -> dict[str, tuple[list[Step], Step]]:
    return _by_scenario(_lines(target, program))


def test_all_but_one_run_to_their_end(seen: dict[str, tuple[list[Step], Step]]) -> None:
    ended = {name: end["status"] for name, (_, end) in seen.items()}
    assert ended.pop("skips-in-a-step") == "skip"
    assert ended.pop("wants-more-than-the-device-has") == "skip"
    assert set(ended.values()) == {"done"}


def test_what_was_written_is_gone(seen: dict[str, tuple[list[Step], Step]]) -> None:
    steps, _ = seen["finds-it-whole"]
    assert [step.get("data") for step in steps[1:4]] == [prefill_word(3), prefill_word(4), 5]
    assert steps[4]["dirty"] == []


def test_memory_that_was_changed_does_not_come_back(
    seen: dict[str, tuple[list[Step], Step]],
) -> None:
    steps, _ = seen["finds-it-mapped"]
    assert [step.get("data") for step in steps[1:3]] == [prefill_word(3), prefill_word(4)]
    # Writable at once: the host's page is there, and shared with nobody.
    assert [len(step["maps"]) for step in steps[1:4]] == [1, 1, 1]
    assert all(step["marks"] for step in steps[1:4])


def test_a_device_is_empty_for_each(seen: dict[str, tuple[list[Step], Step]]) -> None:
    steps, _ = seen["stores-in-a-device"]
    assert [step.get("data") for step in steps[3:]] == [0x11, 0x12]
    steps, _ = seen["finds-the-device-empty"]
    assert [step.get("data") for step in steps[1:]] == [0, 0]
    _, end = seen["wants-more-than-the-device-has"]
    assert "are left" in end["detail"]


def test_a_skip_in_a_step_leaves_whole_lines(seen: dict[str, tuple[list[Step], Step]]) -> None:
    steps, end = seen["skips-in-a-step"]
    assert [step["ret"] for step in steps] == [0, 0]
    assert "ages pages" in end["detail"]


def test_pages_are_in_swap_and_the_zero_page_is_not(
    seen: dict[str, tuple[list[Step], Step]],
) -> None:
    steps, _ = seen["swaps"]
    assert [step["ret"] for step in steps] == [0, 0, 0, 0, 0]
    assert steps[2]["data"] == prefill_word(3)


def test_without_a_device_its_scenarios_are_skips_and_the_rest_runs() -> None:
    scenarios = load_text(SCENARIOS.read_text(), SCENARIOS.name)
    ids = [scenario.id for scenario in scenarios]
    image = kernels.resolve("debian:trixie")
    with open_qemu(image, QemuConfig(device_memory=False)) as guest:
        assert "device memory" in guest.info.missing
        elf = Path(build_batch(render_batch(scenarios), ids).elf)
        found = _by_scenario(_lines(guest, guest.put(elf, "isolation")))
    for name in ("stores-in-a-device", "finds-the-device-empty"):
        assert found[name][0] == []
        assert found[name][1]["status"] == "skip"
        assert "1af4:1110" in found[name][1]["detail"]
    assert found["finds-it-whole"][1]["status"] == "done"


def test_nothing_of_the_machine_is_kept(
    target: QemuTarget, resources: list[str], seen: dict[str, tuple[list[Step], Step]]
) -> None:
    assert seen
    assert _lines(target, "sh", "-c", RESOURCES) == resources


def test_each_alone_sees_what_it_saw_among_others(
    target: QemuTarget, program: str, seen: dict[str, tuple[list[Step], Step]]
) -> None:
    for index, (name, (steps, _)) in enumerate(seen.items()):
        alone = _by_scenario(_lines(target, program, "--only", str(index)))
        assert alone[name][0] == steps
