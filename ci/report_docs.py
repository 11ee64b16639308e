#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs the commands of docs/reports.md on a real kernel and puts in what they print.

    python ci/report_docs.py             outputs and, where there is a Chromium, screenshots

Run in the project's virtual environment, from anywhere; boots one kernel in QEMU. A block is what
stands between ``<!-- $ command -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reports.md"
IMAGES = ROOT / "docs" / "images"
_BLOCK = re.compile(r"<!-- \$ (.+?) -->\n.*?<!-- end -->", re.DOTALL)
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
#: Lines of one output that are shown: its beginning and its end.
_FIRST, _LAST = 16, 20
_LIMIT = 1200


def main() -> int:
    """Rewrite the page and the pictures; the exit status."""
    with tempfile.TemporaryDirectory(prefix="report-docs-") as folder:
        place = Path(folder)
        (place / "scenarios").symlink_to(ROOT / "scenarios")
        page = _BLOCK.sub(lambda found: _block(found[1], place), PAGE.read_text(encoding="utf-8"))
        PAGE.write_text(page, encoding="utf-8")
        return _pictures(place)


def _block(command: str, place: Path) -> str:
    print(f"$ {command}", flush=True)
    done = _run([sys.executable, "-m", *shlex.split(command)], place)
    lines = done.stdout.rstrip("\n").split("\n")
    lines = [line.replace(str(place), "…") for line in lines]
    if len(lines) > _FIRST + _LAST:
        cut = f"… {len(lines) - _FIRST - _LAST} lines …"
        lines = [*lines[:_FIRST], cut, *lines[-_LAST:]]
    text = "\n".join([f"$ {command}", *lines])
    return f"<!-- $ {command} -->\n```\n{text}\n```\n<!-- end -->"


def _pictures(place: Path) -> int:
    """A finding of the page as a picture, wide and on a phone."""
    browser = next((path for path in map(shutil.which, _BROWSERS) if path), None)
    if browser is None:
        print(f"no screenshots: none of {', '.join(_BROWSERS)} is installed", file=sys.stderr)
        return 0
    (source,) = sorted(place.glob(".harness/runs/*/report.html"))[-1:]
    text = source.read_text(encoding="utf-8")
    shown = _only_first_finding(text)
    (place / "shot.html").write_text(shown, encoding="utf-8")
    IMAGES.mkdir(exist_ok=True)
    for name, size in (("report-finding", "1000,1150"), ("report-phone", "500,900")):
        _run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={place / 'profile'}",
                f"--window-size={size}",
                f"--screenshot={IMAGES / name}.png",
                (place / "shot.html").as_uri(),
            ],
            place,
        )
        print(IMAGES / f"{name}.png")
    return 0


def _only_first_finding(page: str) -> str:
    """The page from its first finding with a picture on."""
    head, *sections = re.split(r"(?=<section id=)", page)
    style = head[: head.index("<h1")]
    drawn = next((one for one in sections if "<svg" in one), sections[0])
    return f"{style}{drawn.split('<script>')[0]}</body></html>"


def _run(argv: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    done = subprocess.run(
        argv, check=False, capture_output=True, text=True, cwd=place, env=env, timeout=_LIMIT
    )
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
    return done


if __name__ == "__main__":
    sys.exit(main())
