# SPDX-License-Identifier: GPL-2.0-only
"""A run of 10,000 scenarios makes a page that a browser opens, whatever became of them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from harness.report import RunReport
from harness.report.formats import FORMATS
from harness.vocabulary import Finding, Verdict
from tests.report.samples import INFO, PGTABLE, report_of
from tests.store.samples import P61, P612, judged

COUNT = 10_000
_MB = 1_000_000


def many(*, diverging: int) -> RunReport:
    """10,000 results, the first of which diverge; findings are made as they are asked for."""
    some = [judged(scenario, kernel=P61, model=P612) for scenario in PGTABLE]
    bad = [one for one in some if one.verdict is Verdict.DIVERGE]
    small = report_of(bad)
    rows = [
        msgspec.structs.replace(
            small.results[at % len(bad)],
            scenario=f"pgtable-v6.1-4k-s1-{at:05}",
            short_id=f"{at:06x}",
            verdict=Verdict.DIVERGE if at < diverging else Verdict.MATCH,
            reason=small.results[at % len(bad)].reason if at < diverging else "",
        )
        for at in range(COUNT)
    ]

    def findings() -> Iterator[Finding]:
        for at in range(diverging):
            yield msgspec.structs.replace(bad[at % len(bad)], short_id=f"{at:06x}")

    return RunReport(
        run=msgspec.structs.replace(INFO, expected=COUNT),
        state="done",
        ended=INFO.started,
        targets=small.targets,
        results=rows,
        findings=findings,
        source=lambda finding: "static void step(void)\n{\n}\n" * 60,
    )


@pytest.mark.parametrize("diverging", [0, 100, COUNT])
def test_the_page_stays_small(diverging: int) -> None:
    page = FORMATS["html"](many(diverging=diverging))
    assert len(page.encode()) < 10 * _MB
    sections = page.count("<section id=")
    if diverging == COUNT:
        assert 200 < sections < COUNT
        assert f"{COUNT - sections} more findings have no section here" in page
    else:
        assert sections == diverging
        assert "have no section here" not in page
    assert page.count("<tr data-v=") == COUNT
