# SPDX-License-Identifier: GPL-2.0-only
"""Every format: the same bytes twice, everything escaped, and what was not compared is said."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import kcidb_io
import msgspec
import pytest
import xmlschema
from junitparser import JUnitXml

from harness.report.formats import FORMATS
from harness.vocabulary import Verdict
from tests.report.samples import GUEST, INFO, every_verdict, report_of
from tests.store.samples import judged

FINDINGS = every_verdict()
REPORT = report_of(FINDINGS, notes=("guest replaced in 2.1 s",), source=lambda one: "int x;\n")
TEXTS = {name: write(REPORT) for name, write in FORMATS.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_twice_is_the_same(name: str) -> None:
    assert (
        FORMATS[name](report_of(every_verdict(), notes=REPORT.notes, source=REPORT.source))
        == TEXTS[name]
    )


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_not_compared_is_said(name: str) -> None:
    assert re.search(r"not.compared", TEXTS[name], re.IGNORECASE)
    assert "tlbi" in TEXTS[name]
    assert "no probe point" in TEXTS[name]


@pytest.mark.parametrize("name", FORMATS)
def test_control_characters_are_not_passed_on(name: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", TEXTS[name])
    TEXTS[name].encode("utf-8")


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_that_did_not_end_says_so(name: str) -> None:
    cut = msgspec.structs.replace(
        REPORT, state="interrupted", run=msgspec.structs.replace(INFO, expected=99)
    )
    if name == "kcidb":  # the schema has no place for it: what did not run has no test there
        assert len(json.loads(FORMATS[name](cut))["tests"]) == len(FINDINGS)
    else:
        assert "91 of 99 scenarios were not judged" in FORMATS[name](cut)


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_of_nothing(name: str) -> None:
    assert FORMATS[name](report_of([]))


def test_terminal_names_every_failing_scenario_and_step() -> None:
    text = TEXTS["terminal"]
    for finding in FINDINGS:
        if finding.verdict in (Verdict.DIVERGE, Verdict.FLAKY, Verdict.CRASH, Verdict.HANG):
            (line,) = [one for one in text.splitlines() if f"[{finding.short_id}]" in one]
            assert f"{finding.verdict.value} {finding.scenario.id}" in line
            assert f"step {finding.step}" in line
    assert "skip 1: no such thing" in text
    assert "known 1: an old story" in text
    assert "INFRA" in text


# --- JUnit ---------------------------------------------------------------------------------------


def test_junit_is_valid() -> None:
    schema = xmlschema.XMLSchema(Path(__file__).parent / "junit.xsd")
    tree = ElementTree.ElementTree(ElementTree.fromstring(TEXTS["junit"]))
    assert [str(error) for error in schema.iter_errors(tree)] == []


def test_junit_counts() -> None:
    suites = list(JUnitXml.fromstring(TEXTS["junit"].encode()))
    assert len(suites) == 3
    totals: Counter[str] = Counter()
    for suite in suites:
        totals["tests"] += suite.tests
        totals["failures"] += suite.failures
        totals["errors"] += suite.errors
        totals["skipped"] += suite.skipped
    assert totals == {"tests": 8, "failures": 4, "errors": 1, "skipped": 2}
    (failure,) = [
        case.result[0] for suite in suites for case in suite if case.name == FINDINGS[1].scenario.id
    ]
    assert failure.type == "DIVERGE"
    assert FINDINGS[1].reason in failure.message
    assert f"harness replay {FINDINGS[1].short_id}" in failure.text


# --- KTAP ----------------------------------------------------------------------------------------


def test_ktap_is_nested_and_plans_hold() -> None:
    levels: dict[int, list[int]] = {}
    names: dict[int, set[str]] = {}
    for line in TEXTS["ktap"].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        text = line.lstrip()
        if text.startswith("KTAP version 1"):
            levels[depth], names[depth] = [], set()
        elif plan := re.fullmatch(r"1\.\.(\d+)", text):
            levels[depth] = [int(plan[1]), 0]
        elif result := re.fullmatch(
            r"(not )?ok (\d+) ([^#]+?)( # (SKIP|XFAIL|TIMEOUT|ERROR) .*)?", text
        ):
            levels[depth][1] += 1
            assert int(result[2]) == levels[depth][1] <= levels[depth][0]
            assert result[3] not in names[depth], "a name twice"
            names[depth].add(result[3])
            inner = levels.pop(depth + 1, [0, 0])
            assert inner[0] == inner[1], "the plan of a subtest does not hold"
        else:
            assert text.startswith("# "), line
    assert levels == {0: [2, 2]}


def test_ktap_directives() -> None:
    text = TEXTS["ktap"]
    assert re.search(r"^    ok \d+ \S+ # SKIP no such thing", text, re.MULTILINE)
    assert re.search(r"^    ok \d+ \S+ # XFAIL an old story$", text, re.MULTILINE)
    assert re.search(r"^    not ok \d+ \S+ # TIMEOUT no step within 10 s$", text, re.MULTILINE)
    assert re.search(r"^    not ok \d+ \S+ # ERROR ", text, re.MULTILINE)


def kernel_parser_says(tool: Path, text: str) -> str:
    """Passed, failed, crashed, skipped and errors, by the kunit_parser.py of a kernel tree."""
    program = (
        "import sys, kunit_parser as p\n"
        "lines = sys.stdin.read().splitlines()\n"
        "try:\n"
        "    from kunit_printer import null_printer\n"
        "    test = p.parse_run_tests(lines, null_printer)\n"
        "except (ImportError, TypeError):\n"
        "    test = p.parse_run_tests(lines)\n"
        "c = test.counts\n"
        "print(c.passed, c.failed, c.crashed, c.skipped, c.errors)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=text,
        check=False,
        capture_output=True,
        text=True,
        cwd=tool,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


#: MATCH and KNOWN pass; DIVERGE, FLAKY, HANG, INFRA and CRASH fail; no error of the format.
PARSED = "2 5 0 1 0"


def test_the_kernels_own_parser_reads_it() -> None:
    tree = os.environ.get("HARNESS_LINUX_SRC", "")
    tool = Path(tree) / "tools/testing/kunit"
    if not tree or not (tool / "kunit_parser.py").exists():
        pytest.skip("HARNESS_LINUX_SRC names no kernel source tree with tools/testing/kunit")
    assert kernel_parser_says(tool, TEXTS["ktap"]) == PARSED


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(900)
def test_the_parser_of_debians_kernel_source_reads_it(tmp_path: Path) -> None:
    from tests.live.test_repro import shell, source_package  # noqa: PLC0415

    package = source_package("trixie", "6.12")
    root = "linux-source-6.12"
    shell(
        f"dpkg-deb --fsys-tarfile {package} | tar -xO ./usr/src/{root}.tar.xz | xz -dc -T0 | "
        f"tar -x --wildcards '{root}/tools/testing/kunit/*.py'",
        tmp_path,
        600,
    )
    assert kernel_parser_says(tmp_path / root / "tools/testing/kunit", TEXTS["ktap"]) == PARSED


# --- JSON lines, KCIDB ---------------------------------------------------------------------------


def test_json_lines() -> None:
    rows = [json.loads(line) for line in TEXTS["jsonl"].splitlines()]
    kinds = Counter(row["type"] for row in rows)
    assert kinds == {"run": 1, "target": 2, "note": 1, "result": 8, "finding": 6, "summary": 1}
    assert rows[-1]["verdicts"]["CRASH"] == 1
    assert rows[-1]["exit_status"] == 1
    results = [row for row in rows if row["type"] == "result"]
    assert [row["verdict"] for row in results] == [one.verdict.value for one in FINDINGS]


def test_kcidb_is_valid() -> None:
    document = json.loads(TEXTS["kcidb"])
    assert kcidb_io.schema.V5_0.is_valid_exactly(document)
    assert kcidb_io.schema.LATEST.is_valid(kcidb_io.schema.LATEST.upgrade(document, copy=True))
    tests = document["tests"]
    assert Counter(test["status"] for test in tests) == {
        "PASS": 1, "FAIL": 4, "DONE": 1, "SKIP": 1, "MISS": 1,
    }  # fmt: skip
    builds = {build["id"] for build in document["builds"]}
    assert {test["build_id"] for test in tests} == builds
    assert len({test["id"] for test in tests}) == len(tests)


# --- HTML ----------------------------------------------------------------------------------------

_VOID = {"meta", "input", "br", "rect", "link", "img"}


class Reader(HTMLParser):
    """Tags balance; nothing is fetched; ids are unique and links lead somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.links: set[str] = set()
        self.scripts = 0
        self.text = io.StringIO()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert not {"src", "srcset", "action", "onclick", "onload"} & values.keys()
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        if "href" in values:
            assert (values["href"] or "").startswith("#")
            self.links.add((values["href"] or "")[1:])
        if "id" in values:
            self.ids[values["id"] or ""] += 1
        self.scripts += tag == "script"
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.write(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


def test_html_is_self_contained_and_escaped() -> None:
    page = TEXTS["html"]
    reader = read(page)
    assert reader.scripts == 1, "a scenario's title became a script"
    assert set(reader.ids.values()) == {1}
    assert reader.links <= reader.ids.keys()
    assert "url(" not in page
    assert "@import" not in page
    assert not re.search(r"https?://", page)


def test_html_has_a_section_a_finding() -> None:
    page = TEXTS["html"]
    for finding in FINDINGS:
        listed = finding.verdict not in (Verdict.MATCH, Verdict.SKIP)
        assert (f'<section id="{finding.short_id}"' in page) is listed
        assert finding.scenario.id in page
    assert page.count("<svg") >= 1
    assert 'class="steps"' in page
    assert "int x;" in page
    assert f"harness replay {FINDINGS[1].short_id}" in page
    assert "kernel log, 2 lines" in page


def test_html_pictures_show_both_sides() -> None:
    section = TEXTS["html"].split(f'<section id="{FINDINGS[1].short_id}"')[1].split("</section>")[0]
    assert "leaves at step" in section
    for label in ("model", "kernel"):
        assert f">{label}</text>" in section
    assert "differs" in section


def test_html_of_matches_has_no_findings() -> None:
    page = FORMATS["html"](report_of([judged(GUEST[0])]))
    assert "<p>None.</p>" in page
    read(page)
