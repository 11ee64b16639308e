# SPDX-License-Identifier: GPL-2.0-only
"""The largest programs that suite pgtable is meant for, on real kernels, through the command."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from reference_model import scenario as sc
from reference_model.language import dump_yaml

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(1800)]

_PAGE, _GIB = 0x1000, 1 << 30
_IPA_BITS = 48


def _in_pages() -> sc.PgtableScenario:
    """1 GiB whose IPA and PA disagree below the size of a block: 262,144 leaves."""
    step = sc.Map(ipa=_GIB, size=_GIB, pa=4 * _GIB + _PAGE, prot="rw")
    return _scenario("large-1g-in-pages", [step, sc.WrProtect(ipa=_GIB, size=_GIB)])


def _scattered() -> sc.PgtableScenario:
    """10,000 pages anywhere in the IPA space."""
    pages = random.Random(1).sample(range(1 << (_IPA_BITS - 12)), 10_000)
    return _scenario("large-scattered", [_page(page * _PAGE) for page in pages])


def _long() -> sc.PgtableScenario:
    """5,000 steps that go over 64 pages again and again."""
    draw = random.Random(2)
    steps: list[sc.PgtableOp] = []
    for _ in range(2_500):
        steps.append(_page(_GIB + draw.randrange(64) * _PAGE))
        steps.append(sc.Unmap(ipa=_GIB + draw.randrange(64) * _PAGE, size=_PAGE))
    return _scenario("large-long", steps)


def _page(ipa: int) -> sc.Map:
    return sc.Map(ipa=ipa, size=_PAGE, pa=_GIB + ipa % _GIB, prot="rw")


def _scenario(ident: str, steps: list[sc.PgtableOp]) -> sc.PgtableScenario:
    return sc.PgtableScenario(
        schema=1, id=ident, granule="4K", ipa_bits=_IPA_BITS, steps=tuple(steps)
    )


@pytest.mark.parametrize("kernel", ["debian:bullseye", "debian:trixie", "debian:sid"])
def test_the_largest_programs_match(kernel: str, tmp_path: Path) -> None:
    text = "---\n".join(dump_yaml(one) for one in (_in_pages(), _scattered(), _long()))
    (tmp_path / "large.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "large.yaml", "--kernel", kernel, "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [one["verdict"] for one in json.loads(done.stdout)] == ["MATCH"] * 3
