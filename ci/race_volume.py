# SPDX-License-Identifier: GPL-2.0-only
"""Generated race campaigns in figures: what docs/races.md says of them.

``ci/race_docs.py --volume N KERNEL…`` runs them, ``ci/race_docs.py --stored RUN…`` takes those that
are stored below the directory one is in; docs/races-volume.json keeps the figures.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from harness.compare.comeback import forbidden_of
from harness.store import Store, default_root
from harness.vocabulary import Finding, Verdict
from reference_model.interleave_knobs import RACE_KNOBS
from reference_model.profiles import PROFILES, Environment
from reference_model.race_machine import predict_race
from reference_model.race_outcome import match
from reference_model.scenario import Parallel, RaceScenario

DATA = Path(__file__).resolve().parents[1] / "docs" / "races-volume.json"

_INTRODUCTION = """
## Generated races

`python ci/race_docs.py --volume 300 KERNEL…`: scenarios of `harness run --suite race`, each block
200 times. Refused: repeats in which a call of the page-table API returned -EAGAIN; held: those of
them in blocks whose faults are let go at once. Seen: different outcomes, of those that the model
allows; what no order forces needs luck. The last column holds the same repeats against models with
one wrong step: in how many scenarios the kernel showed what such a model forbids, where the losing
side marks nothing, where a store does not see the write protection, and where the page is marked
before mmu_lock is taken to map it.

In four of five of these blocks the numbers of calls and of pages marked are predicted as well
(`reference_model/interleave_counts.py`): in none of them was there a number that no order gives. A
6.12 kernel whose map returns 0 where it should refuse shows two maps and two marks in each repeat
of `race-two-stores-held`.

"""

#: Wrong steps, in the order of the last column.
_WRONG: tuple[dict[str, object], ...] = (
    {"relax_marks": False},
    {"wrprotects": False},
    {"dirty": "before_lock"},
)


def run(kernel: str, count: int, seed: int) -> dict[str, Any]:
    """Boot a kernel, run so many generated scenarios, and return the figures by their key."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["harness", "run", "--suite", "race", "--count", str(count), "--seed", str(seed),
             "--kernel", kernel],
            cwd=folder,
            check=False,
        )  # fmt: skip
        return stored(Path(folder) / ".harness", None)


def stored(root: Path | None, name: str | None) -> dict[str, Any]:
    """The figures of a stored run (None: the last), by release and seed."""
    with Store(root or default_root()) as store:
        info = store.run_named(name)
        out: dict[str, list[Finding]] = {}
        for finding in store.findings(info.id):
            release = finding.target.release.removesuffix("-cloud-arm64")
            out.setdefault(f"{release} {info.seed}", []).append(finding)
        return {key: figures(findings) for key, findings in out.items()}


def figures(findings: Iterable[Finding]) -> dict[str, Any]:
    """Verdicts, repeats, those with a refusal, forbidden outcomes, outcomes seen and allowed.

    ``wrong``: scenarios that diverge from models with one wrong step.
    """
    verdicts: Counter[str] = Counter()
    total: Counter[str] = Counter()
    wrong = [0] * len(_WRONG)
    for finding in findings:
        verdicts[finding.verdict.value] += 1
        found = forbidden_of(finding)
        if found is None or finding.run is None or finding.prediction is None:
            continue
        total["repeats"] += found.repeats
        total["forbidden"] += found.times
        steps = zip(
            finding.scenario.steps, finding.prediction.steps, finding.run.steps, strict=False
        )
        for block, predicted, seen in steps:
            if not isinstance(block, Parallel):
                continue
            total["seen"] += len(match(predicted, seen).seen)
            total["allowed"] += len(predicted.allowed)
            refused = 0 if seen.counts is UNSET else _some(seen.counts.get("refused", ()))
            total["refused"] += refused
            total["held"] += refused if block.hold else 0
        for number, step in enumerate(_WRONG):
            wrong[number] += _differs(finding, step)
    return {"verdicts": dict(verdicts), "wrong": wrong, **total}


def _differs(finding: Finding, step: dict[str, object]) -> bool:
    """Whether a model with that step forbids what the kernel did."""
    assert isinstance(finding.scenario, RaceScenario)
    knobs = msgspec.structs.replace(RACE_KNOBS[finding.profile], **step)
    env = Environment.parse((finding.target.env | finding.env).items())
    prediction = predict_race(finding.scenario, PROFILES[finding.profile], env, knobs)
    found = forbidden_of(msgspec.structs.replace(finding, prediction=prediction))
    return found is not None and bool(found.outcomes)


def _some(counts: Iterable[tuple[int, int]]) -> int:
    """Repeats in which a count was not 0."""
    return sum(times for times, value in counts if value)


def section(data: dict[str, Any]) -> str:
    """The table, by kernel and seed; "" where nothing was run."""
    if not data:
        return ""
    lines = [
        _INTRODUCTION,
        "| kernel | seed | scenarios | repeats | verdicts | not allowed | refused (held) "
        "| seen / allowed | unmarked, unprotected, too early |\n",
        "|---|---|---|---|---|---|---|---|---|\n",
    ]
    for key in sorted(data, key=_order):
        one, (release, seed) = data[key], key.split(" ")
        verdicts = ", ".join(
            f"{one['verdicts'][verdict.value]:,} {verdict.value}"
            for verdict in Verdict
            if verdict.value in one["verdicts"]
        )
        lines.append(
            f"| {release} | {seed} | {sum(one['verdicts'].values()):,} | {one['repeats']:,} "
            f"| {verdicts} | {one['forbidden']} | {one['refused']:,} ({one['held']:,}) "
            f"| {one['seen']:,} / {one['allowed']:,} | {', '.join(map(str, one['wrong']))} |\n"
        )
    return "".join(lines)


def _order(key: str) -> tuple[list[int], int]:
    release, seed = key.split(" ")
    return [int(part) for part in release.split(".")[:2]], int(seed)
