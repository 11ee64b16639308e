#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Writes docs/seed-2021.md: one range map over an existing page, on each kernel, side by side.

    python ci/seed_story.py KERNEL…     such as debian:bullseye debian:bookworm debian:trixie

Run in the project's virtual environment; boots each kernel. A cell is what the kernel did, and
says so where the model does not agree; the column of the proposal of July 2021 is the model's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.report.leaves import picture
from reference_model import predict
from reference_model.describe import describe, value_text
from reference_model.language import load_text
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import Scenario

ROOT = Path(__file__).resolve().parents[1]
STORY = ROOT / "scenarios" / "pgtable" / "seed-story.yaml"
PAGE = ROOT / "docs" / "seed-2021.md"
PROPOSAL = "proposal of July 2021 (model)"

INTRODUCTION = """\
# The question of July 2021

Written by `python ci/seed_story.py` from real kernels.

*KVM: arm64: Continue stage-2 map when re-creating mappings* (July 2021) met this: a range is
mapped, and one of its pages is mapped already. Since 5.12 the walker answers -EAGAIN for that
page, and the walk stops: the range is half mapped. The proposal let the walker remember -EAGAIN,
skip the page and go on; the reviewer asked who then marks the pages dirty that became writable
although the call failed. The proposal was dropped; what the kernels do instead changed twice.

Each table: the steps of a scenario of `scenarios/pgtable/seed-story.yaml`, and what its last step
returned and left behind.
"""


def main(kernels: list[str]) -> int:
    """Run the story's scenarios and write the page; 1 where a kernel and the model differ."""
    scenarios = load_text(STORY.read_text(encoding="utf-8"), STORY.name)
    rows: dict[str, list[tuple[str, str, str]]] = {scenario.id: [] for scenario in scenarios}
    differ = False
    for scenario in scenarios:
        prediction = predict(scenario, PROFILES["seed-2021"], Environment())
        if not prediction.skip:
            last = prediction.steps[-1].allowed[0]
            rows[scenario.id].append((PROPOSAL, *_cells(last.ret, last.leaves)))
    for kernel in kernels:
        done = subprocess.run(
            ["harness", "run", str(STORY), "--kernel", kernel, "--json", "-q"],
            stdout=subprocess.PIPE,
            check=False,
        )
        for finding in json.loads(done.stdout):
            if finding["verdict"] == "SKIP":
                continue
            if not finding.get("observed"):
                sys.exit(f"{kernel}: {finding['verdict']} {finding.get('reason', '')}")
            differ |= finding["verdict"] != "MATCH"
            release = finding["target"]["release"].removesuffix("-cloud-arm64")
            last = finding["observed"][-1]
            name = release + ("" if finding["verdict"] == "MATCH" else " (the model differs)")
            rows[finding["id"]].append((name, *_cells(last["ret"], last["leaves"])))
    PAGE.write_text(_page(scenarios, rows), encoding="utf-8")
    return int(differ)


def _cells(ret: Any, leaves: Any) -> tuple[str, str]:
    return value_text("ret", ret), picture(leaves)


def _page(scenarios: list[Scenario], rows: dict[str, list[tuple[str, str, str]]]) -> str:
    parts = [INTRODUCTION]
    for scenario in scenarios:
        parts.append(f"\n## {scenario.title}\n\n`{scenario.id}`\n\n")
        parts += [f"    {index}  {describe(op)}\n" for index, op in enumerate(scenario.steps)]
        parts.append("\n| kernel | returns | leaves |\n|---|---|---|\n")
        parts += [
            f"| {name} | {ret} | `{drawn}` |\n" for name, ret, drawn in sorted(rows[scenario.id])
        ]
    parts.append(
        "\nA filled cell is a mapped page. In-tree callers of the fault path map one leaf a call,\n"
        "so no kernel loses a dirty page this way; a caller that maps ranges must know in which\n"
        "row it is. `docs/pgtable.md` leads from each difference to the kernel function it comes\n"
        "from.\n"
    )
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
