# SPDX-License-Identifier: GPL-2.0-only
"""Facts from stored answers of the probe, of real kernels on QEMU's CPU models."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.targets import probe
from harness.vocabulary import TargetError
from reference_model.profiles import Environment

PROBES = Path(__file__).parent / "probes"
N1 = Environment()

#: stored answer -> release prefix, and what differs from the model's default environment.
STORED: dict[str, tuple[str, dict[str, Any]]] = {
    "5.10": ("5.10.0-", {}),
    "5.10-nvhe": ("5.10.0-", {}),  # kvm-arm.mode=nvhe came with 5.12
    "6.1": ("6.1.0-", {}),
    "6.1-nvhe": ("6.1.0-", {"mode": "nvhe"}),
    "6.1-protected": ("6.1.0-", {"mode": "protected"}),
    "6.12": ("6.12.", {}),
    "6.12-nvhe": ("6.12.", {"mode": "nvhe"}),
    "6.12-memory": ("6.12.", {}),
    "6.12-protected": ("6.12.", {"mode": "protected"}),
    "6.12-a57": ("6.12.", {"mode": "nvhe", "ipa_limit": 44, "haf": False, "xnx": False}),
    "6.12-max": ("6.12.", {"ipa_limit": 52, "fwb": True, "tlb_range": True, "lpa2": True}),
    "7.2": ("7.2.", {}),
    "7.2-nvhe": ("7.2.", {"mode": "nvhe"}),
    "7.2-max": ("7.2.", {"ipa_limit": 52, "fwb": True, "tlb_range": True, "lpa2": True}),
    "7.3": ("7.3.", {}),
}


def answer(name: str) -> list[str]:
    return (PROBES / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize("name", STORED)
def test_stored_answers(name: str) -> None:
    release, differs = STORED[name]
    facts = probe.parse(answer(name))
    assert facts.release.startswith(release)
    assert facts.machine == "aarch64"
    assert not facts.kvm
    assert (facts.tracefs, facts.modules) == (True, True)
    # The other answers were given to a script that did not yet ask for these.
    unasked = {"device memory"}
    unasked |= set() if name == "6.12-memory" else {"swap", "thp", "userfaultfd"}
    assert set(facts.missing) == unasked
    assert facts.hugepages == ("64K", "2M", "32M", "1G")
    env = Environment.parse(facts.env.items())
    expected = {field: getattr(N1, field) for field in Environment.__struct_fields__} | differs
    assert {field: getattr(env, field) for field in Environment.__struct_fields__} == expected


@pytest.mark.parametrize(
    ("line", "without", "what", "reason"),
    [
        ("hugepages 2048kB 24", "hugepages 2048kB 0", "hugetlb 2M", "no page of that size"),
        ("thp [always] madvise never", "thp always madvise [never]", "thp", "is never"),
        ("thp [always] madvise never", "", "thp", "TRANSPARENT_HUGEPAGE"),
        ("uffd 0", "", "userfaultfd", "CONFIG_USERFAULTFD"),
        ("swap /dev/ram0 131068", "", "swap", "no swap device"),
        ("swap /dev/ram0 131068", "swap /dev/ram0 4092", "swap", "4092 KiB are too few"),
        ("device_memory 0000:00:03.0", "", "device memory", "1af4:1110"),
    ],
)
def test_what_memory_management_lacks_is_named(
    line: str, without: str, what: str, reason: str
) -> None:
    lines = ["device_memory 0000:00:03.0", *answer("6.12-memory")]
    assert line in lines
    facts = probe.parse([without if one == line else one for one in lines])
    assert set(facts.missing) == {what}
    assert reason in facts.missing[what]


def test_every_stored_answer_is_used() -> None:
    assert {path.stem for path in PROBES.glob("*.txt")} == {*STORED, "6.12-tiny"}


def test_a_kernel_without_the_hardware_access_flag_is_known_by_its_symbols() -> None:
    lines = answer("6.12-tiny")
    assert probe.parse(lines).env["haf"] == "off"
    older = [line.replace("uname 6.12.117", "uname 5.10.0") for line in lines]
    assert "env.haf" in probe.parse(older).missing
    unseen = [line for line in lines if not line.startswith("symbols")]
    assert "env.haf" in probe.parse(unseen).missing
    listed = [line.replace(" do_exit", " do_exit has_hw_dbm") for line in lines]
    assert "env.haf" in probe.parse(listed).missing


def test_a_boot_log_that_was_overwritten_makes_features_unknown_not_off() -> None:
    lines = [line for line in answer("6.12") if "] " not in line]
    facts = probe.parse(lines)
    assert set(facts.env) == {"granule", "xnx"}
    assert {"env.fwb", "env.mode", "env.ipa_limit", "env.haf"} <= set(facts.missing)
    Environment.parse(facts.env.items())


def test_the_ipa_limit_can_come_from_the_ioctl() -> None:
    lines = [line for line in answer("6.12") if "IPA Size" not in line]
    facts = probe.parse([*lines[:-1], "ipa_ioctl 40", "end ."])
    assert facts.env["ipa_limit"] == "40"


def test_an_erratum_keeps_the_access_flag_off() -> None:
    line = "[    0.1] CPU features: detected: AmpereOne erratum AC03_CPU_38"
    facts = probe.parse([*answer("6.12")[:-1], line, "end ."])
    assert facts.env["haf"] == "off"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("kvm usable", "kvm denied"), "group kvm"),
        (("kvm usable", "kvm absent"), "CONFIG_KVM"),
        (("aarch64", "x86_64"), "not an arm64 machine"),
    ],
)
def test_a_target_without_kvm_is_refused_with_the_mend(change: tuple[str, str], says: str) -> None:
    facts = probe.parse([line.replace(*change) for line in answer("6.12")])
    with pytest.raises(TargetError, match=says):
        probe.require_kvm(facts, "there")


def test_why_there_is_no_kvm_comes_from_the_kernel() -> None:
    lines = [line for line in answer("6.12") if "kvm [1]" not in line and line != "kvm usable"]
    facts = probe.parse(
        [*lines[:-1], "kvm absent", "[ 0.1] kvm [1]: HYP mode not available", "end"]
    )
    assert "not started at EL2" in facts.kvm


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("modules_disabled 1", "kernel.modules_disabled"),
        ("lockdown none [integrity] confidentiality", "lockdown is on"),
        ("uid 1000", "not root"),
    ],
)
def test_why_modules_cannot_be_loaded(line: str, reason: str) -> None:
    key = line.split(maxsplit=1)[0]
    lines = [other for other in answer("6.12") if other.split()[0] != key]
    facts = probe.parse([line, *lines])
    assert not facts.modules
    assert reason in facts.missing["modules"]


@pytest.mark.parametrize("lines", [[], ["uname 6.12 aarch64"], ["sh: not found"]])
def test_a_cut_answer_is_an_error_in_one_line(lines: list[str]) -> None:
    with pytest.raises(TargetError, match=r"there: probing failed: .*cut short") as caught:
        probe.ask(lambda argv: "\n".join(lines), "there")
    assert "\n" not in str(caught.value)


@given(st.data())
def test_damage_never_raises_anything_else(data: st.DataObject) -> None:
    lines = data.draw(st.permutations(answer("6.12")))
    cut = data.draw(st.integers(0, len(lines)))
    junk = data.draw(st.lists(st.text(max_size=30), max_size=3))
    try:
        facts = probe.parse([*lines[:cut], *junk])
    except ValueError:
        return
    # The model takes what is left (else this raises), and as it was said.
    env = Environment.parse(facts.env.items())
    assert facts.env.items() <= env.facts().items()


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "busybox"])
def test_the_script_runs_to_its_end_in_every_shell(shell: str) -> None:
    argv = ["busybox", "sh"] if shell == "busybox" else [shell]
    try:
        done = subprocess.run(
            [*argv, "-c", probe.SCRIPT], capture_output=True, text=True, timeout=30, check=False
        )
    except FileNotFoundError:
        pytest.skip(f"{shell} is not installed")
    facts = probe.parse(done.stdout.splitlines())
    assert facts.release
    assert facts.env["granule"] in ("4K", "16K", "64K")
    assert facts.boot_id


NOTES = (
    "06 00 00 00 04 00 00 00 01 01 00 00 4c 69 6e 75 78 00 00 00 00 00 00 00 "
    "04 00 00 00 14 00 00 00 03 00 00 00 47 4e 55 00 "
    "0f 8c 5e 6c 42 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"
)


def test_build_of_the_kernel() -> None:
    lines = [*answer("6.12"), f"notes {NOTES}", "version #1 SMP Debian 6.12.57-1"]
    facts = probe.parse([*lines, "end ."])
    assert facts.build_id == "0f8c5e6c420102030405060708090a0b0c0d0e0f"
    assert facts.version == "#1 SMP Debian 6.12.57-1"
    info = probe.target_info(facts, name="n", kind="qemu")
    assert (info.version, info.build_id) == (facts.version, facts.build_id)


@pytest.mark.parametrize(
    "notes", ["", "zz", NOTES[:60], NOTES[:-3], "04 00 00 00 ff ff ff ff 01 00 00 00"]
)
def test_no_build_id(notes: str) -> None:
    assert probe.build_id(notes) == ""


@given(st.binary(max_size=64))
def test_any_notes_are_read(data: bytes) -> None:
    assert probe.build_id(data.hex()) in data.hex()
    head = struct.pack("<III", 4, 20, 3) + b"GNU\0"
    assert probe.build_id((head + data).hex()) == (data[:20].hex() if len(data) >= 20 else "")
