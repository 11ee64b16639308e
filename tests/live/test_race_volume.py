# SPDX-License-Identifier: GPL-2.0-only
"""The volume of races: 300 generated scenarios, each block 200 times, on each kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.live.test_race_line import KERNELS

#: A kernel takes ten minutes on a core of its own.
pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(3600)]

COUNT = 300
REPEATS = 200


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_outcome_that_is_not_allowed(kernel: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "harness", "run", "--suite", "race"),
            *("--count", str(COUNT), "--seed", "1", "--kernel", kernel, "--json", "-q"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        check=False,
        timeout=3500,
    )
    judged = json.loads(done.stdout)
    verdicts = Counter(one["verdict"] for one in judged)
    assert set(verdicts) <= {"MATCH", "KNOWN"}, verdicts
    assert sum(verdicts.values()) == COUNT
    assert done.returncode == 0
    for one in judged:
        blocks = [seen["histogram"] for seen in one["observed"] if "histogram" in seen]
        assert [sum(row[0] for row in block) for block in blocks] == [REPEATS], one["id"]
