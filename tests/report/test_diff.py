# SPDX-License-Identifier: GPL-2.0-only
"""What a reader of ``harness diff`` sees."""

from __future__ import annotations

from html.parser import HTMLParser

import msgspec

from harness.compare import explain_finding, pair
from harness.report.diff import diff_lines
from harness.report.diffpage import diff_page
from harness.report.kernels import kernel_pair_lines
from harness.report.leaves import leaf_pictures
from harness.report.pictures import pictures
from harness.vocabulary import Finding, Verdict
from reference_model import scenario as sc
from reference_model.scenario import PgtableScenario
from tests.asif import DIRTY, OVER, as_if, seen_otherwise


def text(finding: Finding, *, every_step: bool = False) -> str:
    lines = diff_lines(finding, every_step=every_step, explanation=explain_finding(finding))
    return "\n".join(line for _, line in lines)


def test_the_first_difference_is_marked_named_and_explained() -> None:
    shown = text(as_if(OVER, "v6.1", "v6.12"))
    marked = [line for line in shown.splitlines() if line.startswith("✗")]
    assert len(marked) == 1
    assert "1  map 0x80000000 +16K" in marked[0]
    assert "model   -EAGAIN" in shown
    assert "kernel  0" in shown
    assert "before  80001000 ·█·· 80005000" in shown
    assert "kernel  80001000 ███· 80005000" in shown
    assert "80003000: model no leaf, kernel 4K rw -> 0x43000" in shown
    assert "why the model says so: profile v6.1" in shown
    assert "on_eagain=stop (__kvm_pgtable_walk()" in shown
    assert "one knob explains the difference: on_eagain=go  → profile v6.12" in shown


def test_the_mark_stands_under_the_cell_that_differs() -> None:
    shown = text(as_if(OVER, "v6.1", "v6.12")).splitlines()
    at = next(number for number, line in enumerate(shown) if line.strip() == "^")
    assert shown[at - 1][shown[at].index("^")] == "█"
    assert shown[at - 2][shown[at].index("^")] == "·"


def test_a_dirty_page_is_named() -> None:
    finding = seen_otherwise(as_if(DIRTY, "v6.12", "v6.12"), 2, dirty=(3, 7))
    shown = text(finding)
    assert "only kernel: page 7" in shown
    assert "only model" not in shown


def long(count: int) -> PgtableScenario:
    unmaps = tuple(sc.Unmap(ipa=number << 21, size=0x1000) for number in range(count))
    return PgtableScenario(schema=1, id="long", steps=(*unmaps, *OVER.steps, *unmaps))


def test_context_and_what_is_left_out() -> None:
    finding = as_if(long(10), "v6.1", "v6.12")
    shown = text(finding)
    assert "… 8 steps before" in shown
    assert "… 7 steps after" in shown
    every = text(finding, every_step=True)
    assert "steps before" not in every
    assert every.count("unmap") == 20
    assert "differs too: leaves" in shown


def test_a_crash_marks_its_step_and_shows_the_log() -> None:
    finding = as_if(OVER, "v6.12", "v6.12")
    assert finding.run is not None
    run = msgspec.structs.replace(finding.run, step=1, log=("kernel BUG at mm/x.c",))
    crash = msgspec.structs.replace(finding, verdict=Verdict.CRASH, run=run, reason="BUG")
    shown = text(crash)
    assert "✗ 1  map" in shown
    assert "kernel BUG at mm/x.c" in shown


def test_pictures_of_blocks_and_pages() -> None:
    block = [(0, 0x20_0000, 0, "rw", 0, True, "normal", 1)]
    pages = [(0, 0x1000, 0, "rw", 0, True, "normal", 3)]
    made = leaf_pictures(block, pages)
    assert made is not None
    assert "1 x 2M rw" in made.lines[0]
    assert "3 x 4K rw" in made.lines[1]
    assert leaf_pictures(block, block) is None
    assert leaf_pictures("nonsense", block) is None


def test_where_outputs_were_not_read_a_page_is_not_told_apart_by_its_place_in_a_run() -> None:
    model = [(0x2000, 0x1000, 0, "r", 0, True, "normal", 2)]
    kernel = [(0x3000, 0x1000, 0, "r", 0, True, "normal", 1)]
    made = leaf_pictures(model, kernel, outputs=False)
    assert made is not None
    assert made.named == ("2000: model 4K r, kernel no leaf",)
    read = leaf_pictures(model, kernel)
    assert read is not None
    assert read.named[1] == "3000: model 4K r -> 0x1000, kernel 4K r -> 0x0"


def test_leaves_of_a_guest_lead_nowhere() -> None:
    """Suite guest does not read where; as 0 and the place in its run it would be told wrongly."""
    finding = as_if(DIRTY, "v6.12", "v6.12")
    assert finding.run is not None
    run = ((0x8000_2000, 0x1000, 0, "rw", 0, True, "normal", 2),)
    wrong = seen_otherwise(finding, 1, leaves=run)
    shown = text(wrong)
    assert "leaves" in shown
    assert " -> " not in shown
    (drawn,) = [one for one in pictures(wrong) if one.title.startswith("leaves")]
    assert not [box for row in drawn.rows for box in row.boxes if "->" in box.words]


def test_two_kernels_side_by_side() -> None:
    made = pair(as_if(OVER, "v6.1", "v6.1"), as_if(OVER, "v6.12", "v6.12"))
    shown = "\n".join(line for _, line in kernel_pair_lines(made))
    assert "debian:v6.1" in shown
    assert "each does what its profile says (v6.1, v6.12)" in shown
    assert "DIFFER in 1 step, first 1: ret leaves" in shown
    alike = pair(as_if(OVER, "v6.1", "v6.1"), as_if(OVER, "v6.1", "v6.1"))
    assert kernel_pair_lines(alike)[-1][1].startswith("ALIKE on ret leaves")


def test_a_kernel_that_also_differs_from_its_model_is_said_to() -> None:
    wrong = seen_otherwise(as_if(OVER, "v6.12", "v6.12"), 1, ret=-12)
    made = pair(as_if(OVER, "v6.12", "v6.12"), wrong)
    shown = "\n".join(line for _, line in kernel_pair_lines(made))
    assert "differs from its model (v6.12) on ret" in shown


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name in ("src", "href") for name, _ in attrs)


def test_the_page_escapes_and_needs_no_network() -> None:
    page = diff_page("a <b>", [[("head", "<script>alert(1)</script>"), ("bad", "x & y")]])
    parser = _Tags()
    parser.feed(page)
    assert "script" not in parser.tags
    assert "&lt;script&gt;" in page
    assert page == diff_page("a <b>", [[("head", "<script>alert(1)</script>"), ("bad", "x & y")]])
