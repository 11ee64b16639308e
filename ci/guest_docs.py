#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Writes the table of docs/coverage.md: what of the fault path the guest suite reaches.

    python ci/guest_docs.py

Run in the project's virtual environment (a minute). What stands outside of the two marks of the
page, the figures of runs on kernels, is kept as it is. A unit test compares the corpus column, one
that is marked slow the whole table.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from harness.generate import generate
from reference_model.guest_rows import ROWS, rows
from reference_model.language import load_text
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import GuestScenario

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "coverage.md"
BEGIN, END = "<!-- rows: written by ci/guest_docs.py -->", "<!-- end of rows -->"
COUNT, SEED = 1000, 1
_KERNELS = ("v5.10", "v6.1", "v6.12", "v7.2", "v7.3")


def corpus_rows() -> dict[str, list[str]]:
    """Row to the ids of the hand-written scenarios that reach it, in some profile."""
    found: dict[str, list[str]] = {name: [] for name in ROWS}
    for file in sorted((ROOT / "scenarios").glob("guest*/*.yaml")):
        for scenario in load_text(file.read_text(), file.name):
            if not isinstance(scenario, GuestScenario):
                continue
            reached = frozenset().union(
                *(
                    rows(scenario, PROFILES[name], Environment(haf=haf, page_shift=shift))
                    for name in _KERNELS
                    for haf in (True, False)
                    for shift in (12, 14)
                )
            )
            for name in reached:
                found[name].append(scenario.id)
    return found


def generated_rows(profile: str) -> Counter[str]:
    """Row to the number of generated scenarios that reach it."""
    counts: Counter[str] = Counter()
    for scenario in generate("guest", COUNT, SEED):
        assert isinstance(scenario, GuestScenario)
        counts.update(rows(scenario, PROFILES[profile], Environment()))
    return counts


def table() -> str:
    """What stands between the marks of docs/coverage.md: every row, and what reaches it."""
    corpus = corpus_rows()
    old, new = generated_rows("v5.10"), generated_rows("v7.2")
    reached = sum(1 for name in ROWS if corpus[name])
    lines = [
        f"{len(ROWS)} rows: the corpus reaches {reached}, {COUNT:,} generated scenarios of seed "
        f"{SEED} reach {sum(1 for name in ROWS if new[name])} (v7.2) and "
        f"{sum(1 for name in ROWS if old[name])} (v5.10).",
        "",
        "| row | scenario of the corpus | generated, v5.10 | generated, v7.2 |",
        "|---|---|---|---|",
    ]
    for name in ROWS:
        example = f"`{corpus[name][0]}`" if corpus[name] else "none"
        more = f" and {len(corpus[name]) - 1} more" if len(corpus[name]) > 1 else ""
        lines.append(f"| {name} | {example}{more} | {old[name]} | {new[name]} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its table written anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
