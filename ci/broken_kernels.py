#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Kernels that are broken on purpose: is each found, and by what? Writes docs/broken-kernels.md.

    python ci/broken_kernels.py SOURCE BUILD [NAME…]

SOURCE is a tree of Linux 6.12 and BUILD a folder outside of it that is configured (``make O=``) as
docs/own-kernels.md says. Each patch in ci/broken-kernels is applied, the kernel built and run, and
the patch taken back, also when this is ended; without NAME all of them, which takes a minute or two
each. Run in the project's virtual environment.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

ROOT = Path(__file__).resolve().parents[1]
PATCHES = ROOT / "ci" / "broken-kernels"
PAGE = ROOT / "docs" / "broken-kernels.md"
DATA = ROOT / "docs" / "broken-kernels.json"
SUITES = ("pgtable", "guest", "race")
#: Generated scenarios, beside the corpus of the suite.
_COUNT = {"pgtable": 150, "guest": 150, "race": 20}
_SEED = 5
#: Seconds for a kernel's build, and for a suite: where each scenario hangs, it is cut off.
_BUILD_LIMIT, _RUN_LIMIT = 3600, 900
#: Seconds that a suite which is cut off has to end its guest and tell what it has.
_END_LIMIT = 120
_MAKE = ("make", "-s", "ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-")
#: What tells that a kernel is wrong.
FINDINGS = ("DIVERGE", "CRASH", "HANG")

_INTRODUCTION = """\
# Kernels that are broken on purpose

Written by `python ci/broken_kernels.py SOURCE BUILD`: Linux 6.12.117 with one wrong line, a patch
in `ci/broken-kernels` each, built with `kselftests/config`. Of each suite the corpus is run and as
many generated scenarios as the heading says; the figures are scenarios that diverge, crash or hang,
of those that were compared. The first row is the same kernel without a patch. A run in which all
scenarios hang or panic is cut off. Rows are of different times: the corpus grows, which the number
compared tells.

"""


class Broken(Struct, frozen=True):
    """A patch: its name, what it breaks, and the suites that are to find it.

    ``beyond``: what scenarios would have to say for it, and cannot; "" for what they can.
    """

    name: str
    what: str
    suites: tuple[str, ...]
    file: Path
    beyond: str = ""


def load(file: Path) -> Broken:
    """A patch and its heading, two lines and maybe "Beyond: …"; ValueError where one is missing."""
    text = file.read_text(encoding="utf-8")
    what = re.search(r"^Subject: (.+)$", text, re.MULTILINE)
    suites = re.search(r"^Suites: (.+)$", text, re.MULTILINE)
    if what is None or suites is None or not set(suites[1].split()) <= set(SUITES):
        raise ValueError(f"{file}: wants 'Subject: …' and 'Suites: …' of {', '.join(SUITES)}")
    beyond = re.search(r"^Beyond: (.+)$", text, re.MULTILINE)
    return Broken(file.stem, what[1], tuple(suites[1].split()), file, beyond[1] if beyond else "")


@contextlib.contextmanager
def applied(source: Path, broken: Broken) -> Iterator[None]:
    """The tree with the patch, and without it again in the end."""
    command = ["patch", "-p1", "--batch", "--silent", "-d", str(source), "-i", str(broken.file)]
    subprocess.run([*command, "--forward", "--dry-run"], check=True)
    subprocess.run([*command, "--forward"], check=True)
    try:
        yield
    finally:
        subprocess.run([*command, "--reverse"], check=True)


def build(source: Path, folder: Path) -> None:
    """The Image of a tree, in its folder."""
    subprocess.run(
        [*_MAKE, "-j2", f"O={folder}", "Image"], cwd=source, check=True, timeout=_BUILD_LIMIT
    )


def run(suite: str, folder: Path) -> dict[str, int]:
    """Verdicts of the corpus and of generated scenarios of a suite, and how often each came."""
    with tempfile.TemporaryDirectory() as place:
        command = [
            "harness", "run", str(ROOT / "scenarios" / suite), "--suite", suite,
            "--count", str(_COUNT[suite]), "--seed", str(_SEED), "--kernel", f"tree:{folder}",
            "--json", "--quiet",
        ]  # fmt: skip
        with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True) as process:
            try:
                out, _ = process.communicate(timeout=_RUN_LIMIT)
            except subprocess.TimeoutExpired:
                process.terminate()
                out, _ = process.communicate(timeout=_END_LIMIT)
            except BaseException:
                process.terminate()
                raise
    found: list[dict[str, Any]] = json.loads(out)
    return dict(Counter(one["verdict"] for one in found))


def table(data: dict[str, dict[str, Any]]) -> str:
    """The page's table: a row for each kernel, the sane one first."""
    heading = " | ".join(f"{suite}, corpus and {_COUNT[suite]}" for suite in SUITES)
    lines = [f"| kernel | what is wrong | {heading} |", "|---|---|---|---|---|"]
    for name in sorted(data, key=lambda name: (name != "none", name)):
        row = data[name]
        cells = (_cell(row["verdicts"].get(suite)) for suite in SUITES)
        beyond = f"; beyond the language: {row['beyond']}" if row.get("beyond") else ""
        lines.append(f"| {name} | {row['what']}{beyond} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(verdicts: dict[str, int] | None) -> str:
    if verdicts is None:
        return ""
    found = sum(verdicts.get(name, 0) for name in FINDINGS)
    return f"{found} / {found + sum(verdicts.get(name, 0) for name in ('MATCH', 'KNOWN'))}"


def missed(data: dict[str, dict[str, Any]]) -> list[str]:
    """Kernels that no suite found though it could, and the sane one where a suite did."""
    out = []
    for name, row in data.items():
        found = any(run.get(word) for run in row["verdicts"].values() for word in FINDINGS)
        if found == (name == "none") and not row.get("beyond"):
            out.append(name)
    return out


def main() -> int:
    """Build and run each, and write the page; 1 where one is missed."""
    parser = argparse.ArgumentParser(description="runs kernels that are broken on purpose")
    parser.add_argument("source", type=Path)
    parser.add_argument("build", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a patch, or none: no patch")
    arguments = parser.parse_args()
    # make runs in the one, and the harness in a place of its own.
    source, folder = arguments.source.resolve(), arguments.build.resolve()
    # So that a patch is taken back then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    known = {one.name: one for one in map(load, sorted(PATCHES.glob("*.patch")))}
    if unknown := set(arguments.names) - {*known, "none"}:
        parser.error(f"no patch of that name: {', '.join(sorted(unknown))}; see {PATCHES}")
    data: dict[str, dict[str, Any]] = json.loads(DATA.read_text()) if DATA.exists() else {}
    for name in arguments.names or ("none", *known):
        broken = known.get(name)
        suites = broken.suites if broken else SUITES
        with applied(source, broken) if broken else contextlib.nullcontext():
            build(source, folder)
            verdicts = {suite: run(suite, folder) for suite in suites}
        data[name] = {"what": broken.what if broken else "nothing", "verdicts": verdicts}
        if broken and broken.beyond:
            data[name]["beyond"] = broken.beyond
        print(f"{name}: {verdicts}", flush=True)
        DATA.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        PAGE.write_text(_INTRODUCTION + table(data), encoding="utf-8")
    for name in (bad := missed(data)):
        print(f"{name}: {'found something' if name == 'none' else 'not found'}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
