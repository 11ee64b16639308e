# SPDX-License-Identifier: GPL-2.0-only
"""The page in a browser: its filter works, and no part of it is wider than a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.report.formats import FORMATS
from tests.report.samples import every_verdict, report_of

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for path in map(shutil.which, _NAMES) if path), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(_NAMES)} is installed")

#: Appended to the page: what it finds of itself goes into an attribute of the document.
_PROBE = """
<script>
const rows = () => [...document.querySelectorAll("#rows tbody tr")].filter(one => !one.classList.contains("hidden")).length;
const found = [rows()];
document.querySelector("[name=verdict][value=MATCH]").click(); found.push(rows());
document.getElementById("words").value = "BUG kernel"; form.dispatchEvent(new Event("input")); found.push(rows());
found.push([...document.querySelectorAll("section:not(.hidden)")].length);
found.push(document.documentElement.scrollWidth <= innerWidth ? "fits" : "wide:" + document.documentElement.scrollWidth);
found.push(window.harmed ? "harmed" : "unharmed");
document.documentElement.dataset.found = found.join(" ");
</script></body>
"""


def show(tmp_path: Path, page: str, width: int) -> str:
    """The document as the browser has it after its scripts."""
    assert BROWSER is not None
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", _PROBE), encoding="utf-8")
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},900",
            "--virtual-time-budget=5000",
            "--dump-dom",
            file.as_uri(),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("width", [390, 1200])
def test_filters_and_width(tmp_path: Path, width: int) -> None:
    page = FORMATS["html"](report_of(every_verdict()))
    document = show(tmp_path, page.replace("alert(", "window.harmed=("), width)
    found = re.search(r'data-found="([^"]*)"', document)
    assert found is not None, document[:2000]
    # MATCH and SKIP are hidden at first; then MATCH is shown; then what both words are in.
    assert found[1].split() == ["6", "7", "1", "1", "fits", "unharmed"]


def test_print(tmp_path: Path) -> None:
    assert BROWSER is not None
    file, printed = tmp_path / "page.html", tmp_path / "page.pdf"
    file.write_text(FORMATS["html"](report_of(every_verdict())), encoding="utf-8")
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--print-to-pdf={printed}",
            file.as_uri(),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert printed.read_bytes().startswith(b"%PDF")
