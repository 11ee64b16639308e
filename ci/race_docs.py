#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Writes docs/races.md: who meets whom on a page, what may come of it, and how often it did.

    python ci/race_docs.py [--repeat N] [--only WORD] KERNEL…     such as debian:trixie
    python ci/race_docs.py --volume 300 [--seed S] KERNEL…        generated scenarios instead
    python ci/race_docs.py --stored RUN…    a generated campaign that was run before, by its id
    python ci/race_docs.py                  writes the page anew from what is kept

Run in the project's virtual environment; boots each kernel. What was seen is kept in
docs/races.json and docs/races-volume.json, one entry a kernel, so that kernels can be run one after
another.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import race_volume

from harness.generate.race_table import CROWDS, Row, crowd_ident, crowds, row_scenario, rows
from reference_model.language import dump_yaml
from reference_model.outcome import Observation, Outcome, StepPrediction
from reference_model.race_outcome import match, outcome_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "races.md"
DATA = ROOT / "docs" / "races.json"
PLOT = ROOT / "docs" / "races-vcpus.svg"
COUNTS = ("faults", "mapped", "refused", "marked")
#: Verdicts that are no failure.
_GOOD = ("MATCH", "KNOWN", "SKIP")

INTRODUCTION = """\
# Races: what may happen when vCPUs meet on one page, and nothing else

Written by `python ci/race_docs.py KERNEL…` from real kernels; `docs/races.json` holds what they
did. The suite is `race`; `docs/scenarios.md` says how its scenarios are written.

The question of July 2021: two vCPUs fault on one page, one of them loses and gets -EAGAIN. Was
the page marked dirty, once, by the right one; can anything be lost?

Nothing is lost. Whoever maps the page writable marks it. The loser's map changes nothing and is
not marked; its vCPU enters the guest again, and finds a leaf that lets its access through, or
takes a permission fault that relaxes the leaf and marks the page. On 5.10 there is no -EAGAIN: the
second map writes over the first, and each marks before it maps. From 6.12 on the mark comes after
mmu_lock is let go of: another vCPU may store through the new leaf, and a report read just then
lacks the page; the next report has it.
"""


def main() -> int:
    """Run the table on the kernels that are named, and write the page."""
    parser = argparse.ArgumentParser(description="writes docs/races.md")
    parser.add_argument("--repeat", type=int, default=60, help="repeats of a block")
    parser.add_argument("--only", default="", help="scenarios with this in their id")
    parser.add_argument("--volume", type=int, metavar="N", help="run N generated scenarios")
    parser.add_argument("--seed", type=int, default=1, help="of the generated scenarios")
    parser.add_argument("--stored", action="store_true", help="KERNEL is the id of a stored run")
    parser.add_argument("kernels", nargs="*", help="such as debian:trixie")
    arguments = parser.parse_args()
    if arguments.stored or arguments.volume:
        return _volumes(arguments)
    data = _read(DATA)
    bad = False
    for kernel in arguments.kernels:
        release, seen = _run(kernel, arguments.repeat, arguments.only)
        data[release] = data.get(release, {}) | seen if arguments.only else seen
        bad |= any(one["verdict"] not in _GOOD for one in seen.values())
        DATA.write_text(json.dumps(data, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    _write(data)
    return int(bad)


def _volumes(arguments: argparse.Namespace) -> int:
    """Take in generated campaigns, stored ones or new ones, and write the page."""
    kept = _read(race_volume.DATA)
    bad = False
    for name in arguments.kernels:
        if arguments.stored:
            found = race_volume.stored(None, name)
        else:
            found = race_volume.run(name, arguments.volume, arguments.seed)
        kept |= found
        bad |= any(set(one["verdicts"]) - set(_GOOD) for one in found.values())
        race_volume.DATA.write_text(
            json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
    _write(_read(DATA))
    return int(bad)


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _write(data: dict[str, Any]) -> None:
    PAGE.write_text(_page(data), encoding="utf-8")
    PLOT.write_text(_plot(data), encoding="utf-8")


# --- running -------------------------------------------------------------------------------------


def _run(kernel: str, repeat: int, only: str) -> tuple[str, dict[str, Any]]:
    """The kernel's release, and per scenario what came of it."""
    scenarios = [row_scenario(row, repeat) for count in (2, 4) for row in rows(count)]
    scenarios += crowds(repeat)
    scenarios = [one for one in scenarios if only in one.id]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.yaml"
        path.write_text("---\n".join(dump_yaml(one) for one in scenarios), encoding="utf-8")
        done = subprocess.run(
            ["harness", "run", str(path), "--kernel", kernel, "--json", "-q"],
            stdout=subprocess.PIPE,
            check=False,
        )
    findings = json.loads(done.stdout)
    if not findings:
        sys.exit(f"{kernel}: nothing was judged")
    release = str(findings[0]["target"]["release"]).removesuffix("-cloud-arm64")
    return release, {finding["id"]: _digest(finding) for finding in findings}


def _digest(finding: dict[str, Any]) -> dict[str, Any]:
    """Verdict, [outcome in words, times it was seen] and the counts of one scenario."""
    out: dict[str, Any] = {"verdict": finding["verdict"], "outcomes": [], "counts": {}}
    if finding["verdict"] != "MATCH":
        out["reason"] = finding.get("reason", finding.get("skip", ""))
    observed = finding.get("observed") or []
    if not observed or "histogram" not in observed[-1]:
        return out
    allowed = msgspec.convert(finding["steps"][-1], StepPrediction)
    seen = msgspec.convert(observed[-1], Observation)
    times = [0] * len(allowed.allowed)
    assert not isinstance(seen.histogram, msgspec.UnsetType)
    for count, outcome in seen.histogram:
        one = match(allowed, Observation(histogram=((count, outcome),)))
        for number in one.seen:
            times[number] += count
        if one.forbidden:
            out["outcomes"].append([f"NOT ALLOWED {outcome_text(outcome)}", count])
    for number, observation in enumerate(allowed.allowed):
        assert isinstance(observation.outcome, Outcome)
        out["outcomes"].append([outcome_text(observation.outcome), times[number]])
    if not isinstance(seen.counts, msgspec.UnsetType):
        out["counts"] = {
            name: [list(pair) for pair in pairs] for name, pairs in seen.counts.items()
        }
    return out


# --- the page ------------------------------------------------------------------------------------


def _page(data: dict[str, Any]) -> str:
    kernels = sorted(data, key=lambda release: [int(part) for part in release.split(".")[:2]])
    parts = [
        INTRODUCTION,
        _totals(data, kernels),
        race_volume.section(_read(race_volume.DATA)),
        _findings(data, kernels),
        _crowd_table(data, kernels),
    ]
    for count, words in ((2, "Two vCPUs"), (4, "Four vCPUs, two of each kind of access")):
        parts.append(f"\n## {words}\n\n{_KEY if count == 2 else ''}")
        parts.append(_table(data, kernels, list(rows(count))))
    return "".join(parts)


_KEY = """\
Each line is an outcome that the model allows: what vCPU A, B, … showed (a load's value, a call's
result, `-` for a store that went well), then what was left behind. A cell says how often it was
seen; 0: allowed and never seen; empty: not allowed under that kernel's profile. `held`: both
faults wait inside the kernel and are let go at once. Below each row, per repeat: calls of the
page-table API that were refused with -EAGAIN, and pages marked dirty.

"""


def _totals(data: dict[str, Any], kernels: list[str]) -> str:
    lines = [
        "\n## In short\n\n",
        "| kernel | two vCPUs: outcomes seen / allowed | four vCPUs | not allowed |\n",
        "|---|---|---|---|\n",
    ]
    for kernel in kernels:
        cells = []
        bad = 0
        for count in (2, 4):
            seen = allowed = 0
            for row in _merged(list(rows(count))):
                found = _outcomes(data[kernel], row)
                allowed += sum(not text.startswith("NOT") for text in found)
                seen += sum(
                    times > 0 and not text.startswith("NOT") for text, times in found.items()
                )
                bad += sum(times for text, times in found.items() if text.startswith("NOT"))
            cells.append(
                f"{seen} / {allowed}" + (f" ({100 * seen // allowed} %)" if allowed else "")
            )
        lines.append(f"| {kernel} | {cells[0]} | {cells[1]} | {bad} |\n")
    return "".join(lines)


def _findings(data: dict[str, Any], kernels: list[str]) -> str:
    """What did not match, kernel by kernel."""
    told: dict[str, dict[str, list[str]]] = {}
    for kernel in kernels:
        for ident, one in data[kernel].items():
            if one["verdict"] not in ("MATCH", "SKIP"):
                words = f"{one['verdict']} {one.get('reason', '')}"
                short = re.sub(
                    r"^(\w+) (?:.*: )?WARNING at .* in (\w+).*", r"\1 WARNING at \2", words
                )
                told.setdefault(short, {}).setdefault(kernel, []).append(ident)
    if not told:
        return ""
    lines = ["\n## What did not match\n\n"]
    for words, where in told.items():
        lines.append(f"{words}:\n\n")
        for kernel, idents in where.items():
            lines.append(f"- {kernel}: {', '.join(f'`{ident}`' for ident in sorted(idents))}\n")
        if "kvm_mmu_memory_cache_alloc" in words:
            lines.append(_EXEC_ON_A_BLOCK)
    return "".join(lines)


_EXEC_ON_A_BLOCK = """
A block was mapped without execute permission, its slot is logged since, and a vCPU calls into it.
`user_mem_abort` (`kvm_s2_fault_map` in 7.x) maps a page then, which needs a table page; but it
fills the vCPU's cache of table pages only for a translation fault, or for a *write* that is
logged. A vCPU whose cache is empty, such as one that has not faulted before, runs into
`WARN_ON(!mc->nobjs)` and takes a page from the atomic reserve. No page and no mark is lost.
7.3 fills the cache for every fault on a logged slot, and shows nothing. Listed in
`scenarios/known.yaml`; `exec-on-a-logged-block-by-a-fresh-vcpu` shows it alone.
"""


def _merged(table: list[Row]) -> list[Row]:
    """Rows without the held ones, which belong to the same row of the table."""
    return [row for row in table if not row.held]


def _parts(row: Row) -> list[str]:
    """Ids of the scenarios that make up a row: free, and held where there is one."""
    held = msgspec.structs.replace(row, held=True).ident
    return [row.ident, held]


def _outcomes(kernel: dict[str, Any], row: Row) -> dict[str, int]:
    found: dict[str, int] = {}
    for ident in _parts(row):
        for text, times in kernel.get(ident, {}).get("outcomes", []):
            found[text] = found.get(text, 0) + times
    return found


def _table(data: dict[str, Any], kernels: list[str], table: list[Row]) -> str:
    head = f"| | {' | '.join(kernels)} |\n|---|{'---|' * len(kernels)}\n"
    lines = [head]
    for row in _merged(table):
        size = "block" if row.block else "page"
        logging = "logging" if row.logged else "not logging"
        what = f"**{row.first}, {row.second}**: {row.state} {size}, {logging}"
        verdicts = [_verdict(data[kernel], row) for kernel in kernels]
        lines.append(f"| {what} | {' | '.join(verdicts)} |\n")
        found = {kernel: _outcomes(data[kernel], row) for kernel in kernels}
        for text in dict.fromkeys(text for one in found.values() for text in one):
            cells = [str(found[kernel].get(text, "")) for kernel in kernels]
            lines.append(f"| `{text.replace('|', '·')}` | {' | '.join(cells)} |\n")
        for ident, name in zip(_parts(row), ("free", "held"), strict=True):
            counts = [_count_words(data[kernel].get(ident, {})) for kernel in kernels]
            if any(counts):
                lines.append(f"| {name}: refused, marked | {' | '.join(counts)} |\n")
    return "".join(lines)


def _verdict(kernel: dict[str, Any], row: Row) -> str:
    """The verdict where it is no match."""
    found = [kernel[ident]["verdict"] for ident in _parts(row) if ident in kernel]
    return next((verdict for verdict in found if verdict not in ("MATCH", "SKIP")), "")


def _count_words(result: dict[str, Any]) -> str:
    counts = result.get("counts", {})
    if not counts:
        return ""
    return ", ".join(_range(counts.get(name, [])) for name in ("refused", "marked"))


def _range(pairs: list[list[int]]) -> str:
    """The smallest and the largest count of a repeat."""
    if not pairs:
        return "?"
    values = [value for _, value in pairs]
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}-{high}"


def _mean(pairs: list[list[int]]) -> float:
    times = sum(count for count, _ in pairs)
    return sum(count * value for count, value in pairs) / times if times else 0.0


def _crowd_table(data: dict[str, Any], kernels: list[str]) -> str:
    lines = [
        "\n## Many vCPUs on one page\n\n"
        "Up to 16 vCPUs store to one page that none has touched, each to a word of its own. Per\n"
        "page and repeat, on average: faults, calls refused with -EAGAIN, pages marked dirty.\n"
        "`held`: all faults are let go at once, which is the worst that can happen. The cost of\n"
        "losing is one more entry of the guest, and never a lost mark: one vCPU maps and marks,\n"
        "all others are refused. On 5.10 nobody is: each maps over the last and marks again.\n\n"
        "![faults, refusals and markings by vCPUs](races-vcpus.svg)\n\n",
        "| kernel | | " + " | ".join(f"{n} vCPU{'s' if n > 1 else ''}" for n in CROWDS) + " |\n",
        "|---|---|" + "---|" * len(CROWDS) + "\n",
    ]
    for kernel in kernels:
        for logged in (False, True):
            for held in (False, True):
                cells = []
                for vcpus in CROWDS:
                    one = data[kernel].get(crowd_ident(vcpus, logged=logged, held=held), {})
                    counts = one.get("counts", {})
                    means = [_mean(counts.get(n, [])) for n in ("faults", "refused", "marked")]
                    cells.append(" ".join(f"{mean:.1f}" for mean in means) if counts else "?")
                what = ("logging" if logged else "not logging") + (", held" if held else "")
                lines.append(f"| {kernel} | {what} | {' | '.join(cells)} |\n")
    return "".join(lines)


# --- the plot ------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _EDGE = 640, 320, 48
_COLOURS = ("#1b6e3c", "#b3261e", "#2456a6", "#8a5a00", "#6b3fa0")


def _plot(data: dict[str, Any]) -> str:
    """Refusals per page by the number of vCPUs (held, logging), one line a kernel."""
    kernels = sorted(data, key=lambda release: [int(part) for part in release.split(".")[:2]])
    top = float(max(CROWDS))

    def place(vcpus: int, value: float) -> str:
        x = _EDGE + (_WIDTH - 2 * _EDGE) * vcpus / max(CROWDS)
        y = _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * value / top
        return f"{x:.1f},{y:.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_EDGE}" y="20">per page and repeat: refused with -EAGAIN (line), marked dirty '
        "(dashes); faults let go at once</text>",
        f'<polyline fill="none" stroke="#444" points="{_EDGE},{_EDGE} {_EDGE},{_HEIGHT - _EDGE} '
        f'{_WIDTH - _EDGE},{_HEIGHT - _EDGE}"/>',
    ]
    for vcpus in CROWDS:
        x, y = place(vcpus, 0).split(",")
        lines.append(f'<text x="{x}" y="{float(y) + 18}" text-anchor="middle">{vcpus}</text>')
    for value in (0, 4, 8, 12, 16):
        x, y = place(0, value).split(",")
        lines.append(f'<text x="{float(x) - 8}" y="{y}" text-anchor="end">{value}</text>')
    for number, kernel in enumerate(kernels):
        colour = _COLOURS[number % len(_COLOURS)]
        for name, dash in (("refused", ""), ("marked", ' stroke-dasharray="4 4"')):
            points = []
            for vcpus in CROWDS:
                one = data[kernel].get(crowd_ident(vcpus, logged=True, held=True), {})
                if one.get("counts"):
                    points.append(place(vcpus, _mean(one["counts"].get(name, []))))
            lines.append(
                f'<polyline fill="none" stroke="{colour}" stroke-width="2"{dash} '
                f'points="{" ".join(points)}"/>'
            )
        y_text = _EDGE + 16 * (number + 1)
        lines.append(f'<text x="{_EDGE + 16}" y="{y_text}" fill="{colour}">{kernel}</text>')
    return "\n".join([*lines, "</svg>\n"])


if __name__ == "__main__":
    sys.exit(main())
