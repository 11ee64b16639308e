# SPDX-License-Identifier: GPL-2.0-only
"""Leaves of a running VM, and ageing, through the module, beside what the trace says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import kernels
from harness.render import render_batch
from harness.targets import QemuTarget, open_qemu, run
from harness.toolchain import build_batch, build_module
from reference_model.language import load_text

pytestmark = [
    pytest.mark.live,
    pytest.mark.network,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]

KERNELS = ["debian:bullseye", "debian:trixie"]
PATIENCE = 120.0
SCENARIOS = Path(__file__).with_name("leaves.yaml")
BASE, BLOCK, PAGE = 0x8000_0000, 2 << 20, 4096


@pytest.fixture(scope="module", params=KERNELS)
def target(request: pytest.FixtureRequest) -> Iterator[QemuTarget]:
    with open_qemu(kernels.resolve(request.param)) as guest:
        yield guest


def leaf(ipa: int, size: int, prot: str, *, young: bool = True, count: int = 1) -> list[Any]:
    return [ipa, size, 0, prot, 0, young, "normal", count]


def test_leaves_and_ageing(target: QemuTarget) -> None:
    scenarios = load_text(SCENARIOS.read_text(), SCENARIOS.name)
    program = Path(build_batch(render_batch(scenarios), ["leaves"]).elf)
    module = build_module(kernels.fetch_headers(target.info.release))
    target.put(module, module.name)
    lines: list[str] = []
    run(target, [target.put(program, "leaves")], timeout=PATIENCE, on_line=lines.append)
    (hello,) = [json.loads(line[8:]) for line in lines if line.startswith("# hello ")]
    # KVM_CAP_BINARY_STATS_FD is of 5.14.
    assert set(hello["missing"]) - {"stats", "flushes"} == set()
    steps = [json.loads(line[7:]) for line in lines if line.startswith("# step ")]

    other = leaf(BASE + BLOCK, BLOCK, "r")
    assert [step["leaves"] for step in steps] == [
        [],
        [leaf(BASE, BLOCK, "rw")],
        [leaf(BASE, BLOCK, "rw", count=2)],
        # Logging write-protects blocks; the first write splits one and maps its page alone.
        [leaf(BASE, BLOCK, "r", count=2)],
        [leaf(BASE + 3 * PAGE, PAGE, "rw"), other],
        [leaf(BASE + 3 * PAGE, PAGE, "rw"), leaf(BASE + 4 * PAGE, PAGE, "r"), other],
        [
            leaf(BASE + 3 * PAGE, PAGE, "rw"),
            leaf(BASE + 4 * PAGE, PAGE, "r"),
            leaf(BASE + 6 * PAGE, PAGE, "rx"),
            other,
        ],
        [
            leaf(BASE + 3 * PAGE, PAGE, "rw", young=False),
            leaf(BASE + 4 * PAGE, PAGE, "r", young=False),
            leaf(BASE + 6 * PAGE, PAGE, "rx"),
            other,
        ],
        [],
    ]
    loaded: list[str] = []
    run(target, ["lsmod"], timeout=PATIENCE, on_line=loaded.append)
    assert not [line for line in loaded if "hx_pgtable" in line]
