# SPDX-License-Identifier: GPL-2.0-only
"""One C file of a finding: it compiles alone, says what it must, and refuses what it cannot say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from harness.compare import explain_finding
from harness.render.repro import render_repro
from harness.vocabulary import Finding, RunStatus, UsageError, Verdict
from reference_model import scenario as sc
from reference_model.language import load_text
from reference_model.profiles import Environment
from reference_model.scenario import GuestScenario, PgtableScenario, RaceScenario
from tests.asif import DIRTY, OVER, as_if, seen_otherwise

REPOSITORY = Path(__file__).resolve().parents[3]
COMPILER = "aarch64-linux-gnu-gcc"
NARROW = sorted((REPOSITORY / "scenarios" / "guest").glob("*.yaml"))


def lost() -> Finding:
    """A kernel that lost a dirty page."""
    return seen_otherwise(as_if(DIRTY, "v6.12", "v6.12"), 2, dirty=())


def rendered(finding: Finding, flavour: str = "standalone") -> str:
    return render_repro(finding, explain_finding(finding), flavour, "t")


def comment(text: str) -> str:
    found = re.search(r"/\*(.*?)\*/", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("flavour", ["standalone", "upstream"])
def test_the_comment_says_expected_seen_where_and_how(flavour: str) -> None:
    said = comment(rendered(lost(), flavour))
    assert "Step 2: dirty_get slot 1" in said
    assert re.search(r"expected +dirty +\{3\}", said)
    assert re.search(r"seen +dirty +\{\}", said)
    assert "6.12.107+deb13-cloud-arm64" in said
    assert ("gcc -O2" in said) == (flavour == "standalone")
    assert ("tools/testing/selftests/kvm/arm64/" in said) == (flavour == "upstream")


def test_a_module_says_why() -> None:
    said = comment(rendered(as_if(OVER, "v6.1", "v6.12")))
    assert "expected  ret  -EAGAIN" in said
    assert "0x80003000" not in said.split("seen")[0]
    assert "on_eagain=go (profile v6.12)" in said
    assert "obj-m := t.o" in said


def test_each_step_is_there_with_what_is_expected() -> None:
    text = rendered(lost())
    body = text[text.index("static void test(void)") :]
    assert "guest_write(0, 0x80003000, 8, 0x11);" in body
    assert "expect_dirty(PAGES(3));" in body
    assert "expect_data(0x11);" in body
    assert body.count("begin(") == len(DIRTY.steps)


def test_a_module_asserts_the_prediction_and_not_what_was_seen() -> None:
    text = rendered(as_if(OVER, "v6.1", "v6.12"))
    body = text[text.index("static void test(void)") :]
    assert 'expect("ret", ret, -EAGAIN);' in body
    assert '"0x80000000: 3 x 0x1000 -> 0x40000 rw\\n"' in body


@pytest.mark.parametrize(
    ("release", "there", "absent"),
    [
        ("6.1.0-39", ["vm->arch.vtcr", "own_cache"], ["free_unlinked", "cache_of(64), 0)"]),
        ("6.12.1", ["mmu->vtcr", "free_unlinked", "cache_of(64), 0)"], ["own_cache"]),
    ],
)
def test_a_module_calls_the_api_of_the_kernel_it_was_found_on(
    release: str, there: list[str], absent: list[str]
) -> None:
    finding = as_if(OVER, "v6.1", "v6.12")
    target = msgspec.structs.replace(finding.target, release=release)
    text = rendered(msgspec.structs.replace(finding, target=target))
    assert all(word in text for word in there)
    assert not any(word in text for word in absent)


def test_a_module_is_for_the_page_size_it_was_found_with() -> None:
    env = Environment(page_shift=14)
    scenario = msgspec.structs.replace(
        OVER, steps=(sc.Map(ipa=0, size=0x4000, pa=0x4000, prot="r"),) * 2
    )
    text = rendered(as_if(scenario, "v6.1", "v6.12", env))
    assert "#if PAGE_SHIFT != 14" in text
    assert "pages of 16K" in text


def with_step(op: object) -> GuestScenario:
    return msgspec.structs.replace(DIRTY, steps=(*DIRTY.steps[:1], op))


@pytest.mark.parametrize(
    ("scenario", "word"),
    [
        (with_step(sc.Cas(gpa=0x8000_3000, expected=0, value=1)), "cas"),
        (with_step(sc.Read(gpa=0x8000_3000, form="pair")), "form"),
        (with_step(sc.Madvise(gpa=0x8000_3000, size=0x1000, advice="pageout")), "pageout"),
        (msgspec.structs.replace(DIRTY, vm=sc.VmConfig(dirty_ring=1024)), "dirty_ring"),
        (
            msgspec.structs.replace(
                DIRTY,
                steps=(
                    msgspec.structs.replace(DIRTY.steps[0], backing=sc.Backing(kind="file_ro")),
                ),
            ),
            "file_ro",
        ),
        (
            msgspec.structs.replace(
                DIRTY,
                steps=(msgspec.structs.replace(DIRTY.steps[0], backing=sc.Backing(kind="device")),),
            ),
            "PCI device",
        ),
    ],
)
def test_what_the_file_cannot_say_is_refused_by_name(scenario: GuestScenario, word: str) -> None:
    finding = msgspec.structs.replace(as_if(DIRTY, "v6.12", "v6.12"), scenario=scenario)
    with pytest.raises(UsageError, match=word) as refused:
        render_repro(finding)
    assert "harness replay" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_difference_that_no_c_file_sees_is_refused() -> None:
    with pytest.raises(UsageError, match="maps alone"):
        render_repro(seen_otherwise(as_if(DIRTY, "v6.12", "v6.12"), 1, maps=()))
    unseen = seen_otherwise(as_if(OVER, "v6.12", "v6.12"), 1, tlbi={"ipa": 9})
    with pytest.raises(UsageError, match="tlbi alone"):
        render_repro(unseen)


def test_the_library_cannot_call_into_the_kernel() -> None:
    with pytest.raises(UsageError, match="kernel module"):
        render_repro(as_if(OVER, "v6.1", "v6.12"), flavour="upstream")


def test_a_kernel_without_callbacks_and_other_suites_are_refused() -> None:
    finding = as_if(OVER, "v6.1", "v6.12")
    old = msgspec.structs.replace(finding.target, release="5.10.0-32")
    with pytest.raises(UsageError, match=r"5\.10"):
        render_repro(msgspec.structs.replace(finding, target=old))
    race = RaceScenario(schema=1, id="r", steps=DIRTY.steps)
    with pytest.raises(UsageError, match="race"):
        render_repro(msgspec.structs.replace(as_if(DIRTY, "v6.12", "v6.12"), scenario=race))
    with pytest.raises(UsageError, match="flavour"):
        render_repro(finding, flavour="kunit")


def test_the_library_memory_is_left_alone() -> None:
    low = (sc.SlotAdd(slot=1, gpa=0, size=0x1_0000), sc.Write(gpa=0x3000, value=1))
    text = rendered(
        as_if(GuestScenario(schema=1, id="low", steps=low), "v6.12", "v6.12"), "upstream"
    )
    assert "slot_add(1, 0x40000000, 0x10000" in text
    assert "guest_write(0, 0x40003000" in text
    assert "0x40000000 higher" in comment(text)
    both = (*low, sc.Write(gpa=(1 << 40) - 8, value=1))
    with pytest.raises(UsageError, match="64M"):
        rendered(as_if(GuestScenario(schema=1, id="x", steps=both), "v6.12", "v6.12"), "upstream")
    odd = msgspec.structs.replace(DIRTY, vm=sc.VmConfig(ipa_bits=42))
    with pytest.raises(UsageError, match="42"):
        rendered(as_if(odd, "v6.12", "v6.12"), "upstream")


def test_text_of_a_scenario_stays_text() -> None:
    title = 'ends */ int x; /* "quoted" \\ %s ??/'
    scenario = msgspec.structs.replace(DIRTY, title=title)
    finding = seen_otherwise(as_if(scenario, "v6.12", "v6.12"), 2, dirty=())
    text = rendered(finding)
    assert comment(text).count("*/") == 0
    assert "Step 2" in comment(text)


def test_a_crash_is_told_by_its_log() -> None:
    finding = as_if(DIRTY, "v6.12", "v6.12")
    assert finding.run is not None
    run = msgspec.structs.replace(
        finding.run, status=RunStatus.CRASH, step=1, log=("kernel BUG at mm/x.c:1!",)
    )
    crash = msgspec.structs.replace(finding, verdict=Verdict.CRASH, run=run, reason="kernel BUG")
    said = comment(rendered(crash))
    assert "CRASH in step 1" in said
    assert "mm/x.c:1!" in said


def test_a_known_hang_is_told_as_one() -> None:
    finding = as_if(DIRTY, "v6.12", "v6.12")
    assert finding.run is not None
    run = msgspec.structs.replace(finding.run, status=RunStatus.HANG, step=1)
    known = msgspec.structs.replace(
        finding, verdict=Verdict.KNOWN, known="an old story", run=run, reason="no step within 10 s"
    )
    assert "HANG in step 1" in comment(rendered(known))


def compiled(text: str, folder: Path) -> str:
    """What the compiler has to say of the program."""
    source = folder / "t.c"
    source.write_text(text)
    done = subprocess.run(
        [COMPILER, "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", "t", "t.c"],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stderr if done.returncode else ""


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed")
@pytest.mark.parametrize("name", ["faults", "slots", "dirty-log"])
def test_it_compiles_without_this_project(name: str, tmp_path: Path) -> None:
    file = REPOSITORY / "scenarios" / "guest" / f"{name}.yaml"
    assert file in NARROW
    made = 0
    for scenario in load_text(file.read_text(), file.name)[:4]:
        finding = as_if(scenario, "v6.12", "v6.12")
        if finding.prediction is None or finding.prediction.skip:
            continue
        assert compiled(rendered(finding), tmp_path) == ""
        made += 1
    assert made >= 2


def test_the_same_finding_gives_the_same_bytes() -> None:
    assert rendered(lost()) == rendered(lost())


def test_no_line_is_too_long() -> None:
    pages = tuple(range(0, 400, 3))
    finding = seen_otherwise(as_if(DIRTY, "v6.12", "v6.12"), 2, dirty=pages)
    prediction = finding.prediction
    assert prediction is not None
    steps = list(prediction.steps)
    allowed = (msgspec.structs.replace(steps[2].allowed[0], dirty=pages),)
    steps[2] = msgspec.structs.replace(steps[2], allowed=allowed)
    changed = msgspec.structs.replace(prediction, steps=tuple(steps))
    text = render_repro(msgspec.structs.replace(finding, prediction=changed))
    assert max(len(line.expandtabs(8)) for line in text.splitlines()) <= 100


def test_pgtable_operations_all_have_a_form() -> None:
    steps = (
        sc.Map(ipa=0, size=0x20_0000, pa=0, prot="rwx", sw=3),
        sc.RelaxPerms(ipa=0, prot="x"),
        sc.WrProtect(ipa=0, size=0x1000),
        sc.MkOld(ipa=0, size=0x1000),
        sc.IsYoung(ipa=0, size=0x1000),
        sc.MkYoung(ipa=0),
        sc.Flush(ipa=0, size=0x1000),
        sc.Split(ipa=0, size=0x20_0000),
        sc.GetLeaf(ipa=0),
        sc.Annotate(ipa=0x40_0000, size=0x1000, owner=1),
        sc.Unmap(ipa=0, size=0x1000),
        sc.Destroy(),
    )
    scenario = PgtableScenario(schema=1, id="all", steps=steps)
    text = rendered(as_if(scenario, "v6.12", "v6.12"))
    for function in ("map", "relax_perms", "wrprotect", "test_clear_young", "mkyoung", "flush",
                     "split", "get_leaf", "set_owner", "unmap", "destroy"):  # fmt: skip
        assert f"kernel.{function}(" in text
