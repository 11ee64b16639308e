# SPDX-License-Identifier: GPL-2.0-only
"""A known divergence is one, and hides nothing else."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from harness.compare import Judgement, KnownList, parse_known
from harness.compare.known import NO_STEP, NOT_KILLED
from harness.resources import resource_dir
from harness.vocabulary import StepDifference, UsageError, Verdict
from reference_model.language import load_text
from tests.reference_model.test_language import GUEST

TEXT = """
- title: faults counted twice
  scenario: dirty-*
  channels: [faults]
  kernels: ["6.12.*"]
  reason: the tracepoint fires twice
  link: "KVM: arm64: trace the fault once"
  review: 2027-01-31
"""
(SCENARIO,) = load_text(GUEST, "g")
TODAY = datetime.date(2026, 12, 1)


def refusal(text: str) -> str:
    """What is said of a list that cannot stand: one line, with the name of its file."""
    with pytest.raises(UsageError, match=r"^known\.yaml: .*") as raised:
        parse_known(text, "known.yaml")
    assert "\n" not in str(raised.value)
    return str(raised.value)


def diverge(*channels: str) -> Judgement:
    return Judgement(
        verdict=Verdict.DIVERGE,
        reason="step 1 faults: model 1, kernel 2",
        differences=tuple(
            StepDifference(step=1, channel=channel, expected=1, observed=2) for channel in channels
        ),
    )


def test_it_turns_a_divergence_into_a_known_one() -> None:
    known = KnownList(parse_known(TEXT, "known.yaml"))
    judgement, title = known.apply(diverge("faults"), SCENARIO, "6.12.9-arm64")
    assert judgement.verdict is Verdict.KNOWN
    assert title == "faults counted twice"
    assert judgement.reason.startswith("faults counted twice: step 1")
    assert judgement.differences
    assert known.complaints(TODAY) == []


@pytest.mark.parametrize(
    ("judgement", "release", "scenario"),
    [
        (diverge("faults", "data"), "6.12.9", "dirty-a"),
        (diverge("data"), "6.12.9", "dirty-a"),
        (diverge("faults"), "6.1.9", "dirty-a"),
        (diverge("faults"), "6.12.9", "clean-a"),
        (
            msgspec.structs.replace(diverge("faults"), verdict=Verdict.CRASH),
            "6.12.9",
            "dirty-a",
        ),
        (
            msgspec.structs.replace(diverge("faults"), verdict=Verdict.FLAKY),
            "6.12.9",
            "dirty-a",
        ),
    ],
)
def test_it_hides_nothing_else(judgement: Judgement, release: str, scenario: str) -> None:
    known = KnownList(parse_known(TEXT, "known.yaml"))
    other = msgspec.structs.replace(SCENARIO, id=scenario)
    assert known.apply(judgement, other, release) == (judgement, "")


def test_operations_narrow_it() -> None:
    name = SCENARIO.steps[1].name
    for operations, hit in (([name], True), (["no-such"], False)):
        entries = parse_known(TEXT + f"  operations: {operations}\n", "known.yaml")
        judgement, _ = KnownList(entries).apply(diverge("faults"), SCENARIO, "6.12.9")
        assert (judgement.verdict is Verdict.KNOWN) is hit


HANGS = """
- title: a vCPU that never gets on
  scenario: dirty-*
  verdict: HANG
  kernels: ["7.2.*"]
  reason: nothing is injected
  link: "KVM: arm64: inject something"
  review: 2027-01-31
"""
HANG = Judgement(verdict=Verdict.HANG, reason="no step within 10 s")


def test_it_turns_a_hang_into_a_known_one() -> None:
    known = KnownList(parse_known(HANGS, "known.yaml"))
    known.apply(Judgement(verdict=Verdict.MATCH), SCENARIO, "7.2.13")
    judgement, title = known.apply(HANG, SCENARIO, "7.2.13")
    assert judgement.verdict is Verdict.KNOWN
    assert title == "a vCPU that never gets on"
    assert judgement.reason == f"{title}: no step within 10 s"
    assert known.complaints(TODAY) == []


@pytest.mark.parametrize("other", [one for one in Verdict if one is not Verdict.HANG])
def test_a_hang_that_is_known_hides_no_other_verdict(other: Verdict) -> None:
    known = KnownList(parse_known(HANGS, "known.yaml"))
    judgement = msgspec.structs.replace(diverge("faults"), verdict=other)
    assert known.apply(judgement, SCENARIO, "7.2.13") == (judgement, "")
    assert known.apply(HANG, SCENARIO, "6.12.9") == (HANG, "")
    elsewhere = msgspec.structs.replace(SCENARIO, id="clean-a")
    assert known.apply(HANG, elsewhere, "7.2.13") == (HANG, "")


@pytest.mark.parametrize(
    "reason",
    [
        "no step within 10 s, and SIGKILL does not end it",
        "no line for 15 s; the console is silent too",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!; no step within 10 s",
    ],
)
def test_a_step_that_is_known_to_hang_hides_no_kernel_that_does(reason: str) -> None:
    known = KnownList(parse_known(HANGS, "known.yaml"))
    worse = msgspec.structs.replace(HANG, reason=reason)
    assert known.apply(worse, SCENARIO, "7.2.13") == (worse, "")


def test_the_runner_says_so_of_a_hang() -> None:
    text = (resource_dir("kselftests") / "runner.c").read_text(encoding="utf-8")
    assert f'"{NO_STEP}%g s%s"' in text
    assert f'"{NOT_KILLED}"' in text


def test_a_divergence_that_is_known_hides_no_hang() -> None:
    known = KnownList(parse_known(TEXT, "known.yaml"))
    assert known.apply(HANG, SCENARIO, "6.12.9") == (HANG, "")


@pytest.mark.parametrize("line", ["channels: [faults]", "operations: [read]"])
def test_a_hang_has_no_channels_and_no_operations(line: str) -> None:
    with pytest.raises(UsageError, match="take channels and operations out") as raised:
        parse_known(f"{HANGS}  {line}\n", "known.yaml")
    assert "entry 1 ('a vCPU that never gets on')" in str(raised.value)


CRASHES = """
- title: no page for the table
  scenario: "*"
  verdict: CRASH
  splat: "WARNING at * in kvm_mmu_memory_cache_alloc"
  kernels: ["6.12.*"]
  operations: [slot_flags, exec]
  reason: the cache is not filled
  link: "KVM: arm64: fill the cache"
  review: 2027-01-31
"""
WARNING = "WARNING at virt/kvm/kvm_main.c:471 in kvm_mmu_memory_cache_alloc"
CRASH = Judgement(verdict=Verdict.CRASH, reason=WARNING, compared=("ret", "data"))
(CALLED,) = load_text(
    """
schema: 1
id: race-s1-00001
suite: race
vm: {vcpus: 2}
steps:
  - {op: slot_add, slot: 1, gpa: 0x80000000, size: 64K}
  - parallel:
      - [{op: exec, gpa: 0x80003fc0}]
      - [{op: slot_flags, slot: 1, flags: [log_dirty]}]
    repeat: 2
""",
    "called",
)


@pytest.mark.parametrize("note", ["", " (again when run alone)"])
def test_a_warning_that_is_known(note: str) -> None:
    known = KnownList(parse_known(CRASHES, "known.yaml"))
    known.apply(Judgement(verdict=Verdict.MATCH), CALLED, "6.12.9")
    assert known.complaints(TODAY) == [], "a race need not show it each time"
    crash = msgspec.structs.replace(CRASH, reason=WARNING + note)
    judgement, title = known.apply(crash, CALLED, "6.12.9")
    assert judgement.verdict is Verdict.KNOWN
    assert judgement.reason == f"no page for the table: {WARNING}{note}"
    assert title == "no page for the table"


@pytest.mark.parametrize(
    "crash",
    [
        msgspec.structs.replace(CRASH, reason=f"WARNING at a.c:1 in f; {WARNING}"),
        msgspec.structs.replace(CRASH, reason=f"{WARNING}; WARNING at a.c:1 in f"),
        msgspec.structs.replace(CRASH, reason="Unable to handle kernel paging request"),
        msgspec.structs.replace(CRASH, compared=()),
        msgspec.structs.replace(CRASH, differences=diverge("data").differences),
        msgspec.structs.replace(CRASH, verdict=Verdict.HANG),
        msgspec.structs.replace(CRASH, verdict=Verdict.DIVERGE),
    ],
    ids=["first", "second", "oops", "not to its end", "differs", "hang", "diverge"],
)
def test_a_warning_that_is_known_hides_nothing_else(crash: Judgement) -> None:
    known = KnownList(parse_known(CRASHES, "known.yaml"))
    assert known.apply(crash, CALLED, "6.12.9") == (crash, "")
    assert known.apply(CRASH, CALLED, "7.3.4") == (CRASH, "")
    assert known.apply(CRASH, SCENARIO, "6.12.9") == (CRASH, ""), "no exec, no slot_flags"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"WARNING at * in kvm_mmu_memory_cache_alloc"', '"*"'), "would hide new bugs"),
        (('"WARNING at * in kvm_mmu_memory_cache_alloc"', '""'), "told by its splat"),
        (("  operations: [slot_flags, exec]\n", ""), "say in operations"),
        (("verdict: CRASH", "verdict: CRASH\n  channels: [data]"), "no channels"),
        (("verdict: CRASH", "verdict: HANG"), "would hide new bugs"),
        (
            ('scenario: "*"\n  verdict: CRASH', 'scenario: "a*"\n  channels: [data]'),
            "only a CRASH has a splat",
        ),
        (('scenario: "*"\n  verdict: CRASH', 'scenario: "a*"\n  verdict: HANG'), "only a CRASH"),
    ],
)
def test_entries_of_a_crash_that_cannot_stand(change: tuple[str, str], words: str) -> None:
    assert words in refusal(CRASHES.replace(*change))


def test_an_entry_that_matches_nothing_any_more_is_told() -> None:
    known = KnownList(parse_known(TEXT, "known.yaml"))
    match = Judgement(verdict=Verdict.MATCH)
    assert known.complaints(TODAY) == []  # its scenarios did not run
    known.apply(match, SCENARIO, "6.1.0")
    assert known.complaints(TODAY) == []  # not on its kernels
    known.apply(match, SCENARIO, "6.12.9")
    (line,) = known.complaints(TODAY)
    assert "ran and matched; take the entry out" in line
    known.apply(diverge("faults"), SCENARIO, "6.12.9")
    assert known.complaints(TODAY) == []  # another of its scenarios still does


def test_an_entry_past_its_date_is_told() -> None:
    known = KnownList(parse_known(TEXT, "known.yaml"))
    (line,) = known.complaints(datetime.date(2027, 2, 1))
    assert "to be looked at again by 2027-01-31" in line
    assert "trace the fault once" in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("scenario: dirty-*", 'scenario: "*"'), "would hide new bugs"),
        (('["6.12.*"]', '["*"]'), "would hide new bugs"),
        (('["6.12.*"]', "[]"), "at least one"),
        (("[faults]", "[]"), "at least one"),
        (("[faults]", "[fault]"), "no channel 'fault'"),
        (("  channels: [faults]", ""), "channels must name at least one"),
        (("  channels: [faults]", "  verdict: CRASH"), "entry 1"),
        (("2027-01-31", "soon"), "entry 1"),
        (("  link: ", "  lnk: "), "entry 1"),
        (("the tracepoint fires twice", '""'), "reason is empty"),
        (("- title", "title: ["), "not YAML"),
        ((TEXT, TEXT + TEXT), "titles are unique"),
        ((TEXT, "a: 1"), "a list of entries"),
    ],
)
def test_entries_that_cannot_stand(change: tuple[str, str], words: str) -> None:
    assert words in refusal(TEXT.replace(*change))


def test_an_empty_list_is_one() -> None:
    assert parse_known("# nothing\n", "known.yaml") == []


def test_the_list_of_this_tree_is_in_order() -> None:
    folder = resource_dir("scenarios")
    entries = parse_known((folder / "known.yaml").read_text(encoding="utf-8"), "known.yaml")
    corpus = {
        scenario.id
        for path in folder.glob("*/*.yaml")
        for scenario in load_text(path.read_text(encoding="utf-8"), path.name)
    }
    assert {entry.scenario for entry in entries if "*" not in entry.scenario} <= corpus
