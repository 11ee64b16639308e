# SPDX-License-Identifier: GPL-2.0-only
"""The model's environment facts, from what a kernel said when it booted and from /proc/cpuinfo.

Features that EL0 cannot read from ID registers (they show sanitised values) come from the kernel
log: ``CPU features: detected: …`` (``.desc`` in arch/arm64/kernel/cpufeature.c) and ``kvm [1]: …``
(arch/arm64/kvm/{arm,reset}.c). The wording of each has been the same from 5.10 to 7.3. A fact that
can be had from neither is not guessed: it has no entry, and ``missing`` says why. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

#: MIDR implementer: Arm.
_ARM = 0x41
#: MIDR part numbers of Arm's own cores, for a readable name. (arch/arm64/include/asm/cputype.h)
_ARM_PARTS = {
    0xD03: "cortex-a53",
    0xD04: "cortex-a35",
    0xD05: "cortex-a55",
    0xD07: "cortex-a57",
    0xD08: "cortex-a72",
    0xD09: "cortex-a73",
    0xD0A: "cortex-a75",
    0xD0B: "cortex-a76",
    0xD0C: "neoverse-n1",
    0xD40: "neoverse-v1",
    0xD49: "neoverse-n2",
    0xD4F: "neoverse-v2",
    0xD84: "neoverse-v3",
    0xD8E: "neoverse-n3",
}
#: Armv8.0 cores: no FEAT_HAFDBS, no FEAT_XNX.
_V8_0_PARTS = frozenset({0xD03, 0xD04, 0xD07, 0xD08, 0xD09})

_DETECTED = re.compile(r"CPU features: detected: (.*)")
_MODE = re.compile(r"kvm \[\d+\]: (Protected |Hyp )?(n|h)?VHE(?:\+NV2)? mode initialized")
#: 5.10 to 6.1 say "Hyp mode" for nVHE.
_MODE_HYP = re.compile(r"kvm \[\d+\]: Hyp mode initialized")
_IPA = re.compile(r"kvm \[\d+\]: IPA Size Limit: (\d+) bits")

#: Environment fact -> the kernel's description of the feature.
_FEATURES = {
    "fwb": "Stage-2 Force Write-Back",
    "dic": "Instruction cache invalidation not required for I/D coherence",
    "tlb_range": "TLB range maintenance instructions",
    "lpa2": "52-bit Virtual Addressing for KVM (LPA2)",
}
_DIRTY_BIT = "Hardware dirty bit management"
#: Kernels that set VTCR_EL2.HA without CONFIG_ARM64_HW_AFDBM too. (kvm_arm_setup_stage2)
_SETS_HA_ALWAYS = ("5.",)
#: The erratum for which VTCR_EL2.HA stays clear. (kvm_get_vtcr, 6.6 and later)
_NO_VTCR_HA = "AmpereOne erratum AC03_CPU_38"


class Evidence(Struct, frozen=True, kw_only=True):
    """What the facts are drawn from.

    ``log``: kernel log messages (no time stamps); ``page_kib``: KernelPageSize; ``ipa_ioctl``:
    the answer to KVM_CAP_ARM_VM_IPA_SIZE; ``cpu``: lines of /proc/cpuinfo that begin with "CPU"
    or "Features"; ``release``: ``uname -r``; ``symbols``: of ``has_hw_dbm`` and ``do_exit``, which
    every kernel has, those in /proc/kallsyms. Text that was not to be had is empty.
    """

    log: tuple[str, ...]
    page_kib: str = ""
    ipa_ioctl: str = ""
    cpu: tuple[str, ...] = ()
    release: str = ""
    symbols: frozenset[str] = frozenset()

    @property
    def without_hardware_flag(self) -> bool:
        """Whether it is known that the kernel is built without CONFIG_ARM64_HW_AFDBM."""
        return "do_exit" in self.symbols and "has_hw_dbm" not in self.symbols

    @property
    def whole(self) -> bool:
        """Whether the log holds the boot from its first line: only then does silence mean no."""
        return any(line.startswith("Booting Linux on") for line in self.log)

    @property
    def features(self) -> frozenset[str]:
        """The CPU features that the kernel said it detected."""
        return frozenset(m[1].strip() for line in self.log if (m := _DETECTED.match(line)))

    @property
    def old_core(self) -> bool:
        """Whether all CPUs are known to be of Armv8.0."""
        parts = _cpu_fields(self.cpu, "part")
        arm = set(_cpu_fields(self.cpu, "implementer")) == {_ARM}
        return arm and bool(parts) and all(part in _V8_0_PARTS for part in parts)


#: A fact as the model's text, or "" and why it is not known.
Fact = tuple[str, str]


def environment(evidence: Evidence) -> tuple[dict[str, str], dict[str, str]]:
    """The facts as ``Environment.parse`` takes them, and per unknown one the reason."""
    found: dict[str, Fact] = {
        "granule": _granule(evidence),
        "mode": _mode(evidence),
        "ipa_limit": _ipa_limit(evidence),
        **{fact: _feature(evidence, text) for fact, text in _FEATURES.items()},
        "haf": _access_flag(evidence),
        "xnx": _execute_never(evidence),
    }
    env = {name: value for name, (value, _) in found.items() if value}
    missing = {f"env.{name}": why for name, (value, why) in found.items() if not value}
    return env, missing


def cpu_name(lines: Sequence[str]) -> str:
    """The first CPU's name, "0x43:0x0af" for one of another make, "" if it cannot be told."""
    implementer, part = _cpu_fields(lines, "implementer"), _cpu_fields(lines, "part")
    if not implementer or not part:
        return ""
    if implementer[0] == _ARM and part[0] in _ARM_PARTS:
        return _ARM_PARTS[part[0]]
    return f"{implementer[0]:#04x}:{part[0]:#05x}"


def _granule(evidence: Evidence) -> Fact:
    if evidence.page_kib in ("4", "16", "64"):
        return f"{evidence.page_kib}K", ""
    return "", "no KernelPageSize in /proc/self/smaps"


def _mode(evidence: Evidence) -> Fact:
    for line in evidence.log:
        if match := _MODE.match(line):
            return "protected" if match[1] == "Protected " else f"{match[2] or ''}vhe", ""
        if _MODE_HYP.match(line):
            return "nvhe", ""
    return "", "no 'kvm [1]: … mode initialized' in the kernel log"


def _ipa_limit(evidence: Evidence) -> Fact:
    for line in evidence.log:
        if match := _IPA.match(line):
            return match[1], ""
    if evidence.ipa_ioctl.isdigit():
        return evidence.ipa_ioctl, ""
    return "", "no 'IPA Size Limit' in the kernel log and no python3 to ask KVM for it"


def _feature(evidence: Evidence, text: str) -> Fact:
    if text in evidence.features:
        return "on", ""
    if evidence.whole:
        return "off", ""
    return "", "the kernel log no longer holds the messages of the boot"


def _access_flag(evidence: Evidence) -> Fact:
    """HAF: the walker sets the access flag at stage 2.

    Kernels set VTCR_EL2.HA without asking (5.10 kvm_arm_setup_stage2; later kvm_get_vtcr, with
    CONFIG_ARM64_HW_AFDBM) but for one erratum, so the CPU decides. The kernel tells only of
    ID_AA64MMFR1.HAFDBS >= 2 (has_hw_dbm), with " on CPU0-1" behind it in newer kernels.
    """
    if any(feature.startswith(_NO_VTCR_HA) for feature in evidence.features):
        return "off", ""
    if any(feature.startswith(_DIRTY_BIT) for feature in evidence.features):
        return "on", ""
    asks_config = not evidence.release.startswith(_SETS_HA_ALWAYS)
    if evidence.without_hardware_flag and asks_config:
        return "off", ""
    if evidence.old_core:
        return "off", ""
    return "", (
        "ID_AA64MMFR1_EL1.HAFDBS cannot be read, and the kernel log has no 'Hardware dirty bit "
        "management' (it says nothing of a CPU with the access flag alone)"
    )


def _execute_never(evidence: Evidence) -> Fact:
    """XNX is mandatory from Armv8.2, as is FEAT_DPB, whose hwcap is ``dcpop``."""
    flags = " ".join(evidence.cpu).split()
    if "XNX" in evidence.features or "dcpop" in flags:
        return "on", ""
    if evidence.old_core:
        return "off", ""
    return "", "ID_AA64MMFR1_EL1.XNX cannot be read, and the CPU shows no dcpop"


def _cpu_fields(lines: Sequence[str], name: str) -> list[int]:
    out = []
    for line in lines:
        match = re.fullmatch(rf"CPU {name}\s*: (0x[0-9a-fA-F]+|\d+)", line)
        if match:
            out.append(int(match[1], 0))
    return out
