# SPDX-License-Identifier: GPL-2.0-only
"""The patches that break a kernel, and what is said of those that are not found."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

SANE = "int map(void)\n{\n\treturn -EAGAIN;\n}\n"
PATCH = """\
Subject: a map returns 0
Suites: pgtable
---
--- a/map.c
+++ b/map.c
@@ -1,4 +1,4 @@
 int map(void)
 {
-\treturn -EAGAIN;
+\treturn 0;
 }
"""


@pytest.fixture
def broken_kernels(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    return importlib.import_module("broken_kernels")


def test_every_patch_says_what_it_breaks_and_changes_one_file_of_kvm(
    broken_kernels: ModuleType,
) -> None:
    patches = sorted(broken_kernels.PATCHES.iterdir())
    assert len(patches) > 50
    for file in patches:
        broken = broken_kernels.load(file)
        lines = file.read_text(encoding="utf-8").splitlines()
        (changed,) = [line for line in lines if line.startswith("+++ b/")]
        assert "kvm" in changed
        # One place, or two where something moved.
        assert 1 <= sum(line.startswith("@@ ") for line in lines) <= 2
        assert broken.suites


@pytest.mark.skipif(shutil.which("patch") is None, reason="no patch(1)")
def test_a_patch_is_taken_back_whatever_happens(tmp_path: Path, broken_kernels: ModuleType) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "map.c").write_text(SANE)
    file = tmp_path / "wrong.patch"
    file.write_text(PATCH)
    broken = broken_kernels.load(file)
    with pytest.raises(KeyboardInterrupt), broken_kernels.applied(source, broken):
        assert "return 0" in (source / "map.c").read_text()
        raise KeyboardInterrupt
    assert (source / "map.c").read_text() == SANE
    assert [path.name for path in source.iterdir()] == ["map.c"]


def test_a_heading_that_is_not_there(tmp_path: Path, broken_kernels: ModuleType) -> None:
    file = tmp_path / "wrong.patch"
    file.write_text(PATCH.replace("Suites: pgtable", "Suites: all"))
    with pytest.raises(ValueError, match="'Suites: …' of pgtable, guest, race"):
        broken_kernels.load(file)


def test_the_page_counts_findings_of_what_was_compared(broken_kernels: ModuleType) -> None:
    data: dict[str, dict[str, Any]] = {
        "wrong": {"what": "a map returns 0", "verdicts": {"pgtable": {"DIVERGE": 3, "MATCH": 7}}},
        "none": {"what": "nothing", "verdicts": {"guest": {"MATCH": 5, "KNOWN": 1, "SKIP": 9}}},
        "quiet": {"what": "a comment", "verdicts": {"race": {"MATCH": 4}}},
    }
    rows = broken_kernels.table(data).splitlines()[2:]
    assert rows == [
        "| none | nothing |  | 0 / 6 |  |",
        "| quiet | a comment |  |  | 0 / 4 |",
        "| wrong | a map returns 0 | 3 / 10 |  |  |",
    ]
    assert broken_kernels.missed(data) == ["quiet"]
    data["none"]["verdicts"]["guest"]["CRASH"] = 1
    assert broken_kernels.missed(data) == ["none", "quiet"]
