# SPDX-License-Identifier: GPL-2.0-only
"""What a target is and can do, learnt in one round trip.

:data:`SCRIPT` runs under any POSIX sh (busybox included) and prints ``key value`` lines;
:func:`parse` turns them into facts. Features that EL0 cannot read from ID registers (they show
sanitised values) come from what the kernel said at boot: ``CPU features: detected: …`` (``.desc``
in arch/arm64/kernel/cpufeature.c) and ``kvm [1]: …`` (arch/arm64/kvm/{arm,reset}.c). The wording
of each has been the same from 5.10 to 7.3. A fact that can be had from neither is not guessed: it
has no entry, and ``missing`` says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from harness.targets.splat import message

#: Builtins of the shell where they do: a process costs milliseconds in an emulated guest.
SCRIPT = r"""
say() { echo "$1 $2"; }
first() { x=; read -r x <"$2"; [ -n "$x" ] && say "$1" "$x"; } 2>/dev/null
say uname "$(uname -rm)"
say uid "$(id -u)"
first boot_id /proc/sys/kernel/random/boot_id
while read -r k v _; do [ "$k" = KernelPageSize: ] && { say page_kib "$v"; break; }; done \
	</proc/self/smaps
if [ ! -e /dev/kvm ]; then say kvm absent
elif true <>/dev/kvm; then say kvm usable
else say kvm denied; fi 2>/dev/null
t=/sys/kernel/tracing
[ -e $t/events ] || t=/sys/kernel/debug/tracing
if [ -e $t/events/kvm/kvm_guest_fault ]; then say tracefs $t; fi
if [ -w $t/kprobe_events ]; then say kprobe_events $t; fi
for d in /sys/kernel/mm/hugepages/hugepages-*; do [ -e "$d" ] && say hugepages "${d##*-}"; done
[ -e /proc/modules ] && first modules_disabled /proc/sys/kernel/modules_disabled
first lockdown /sys/kernel/security/lockdown
first cmdline /proc/cmdline
while read -r k v; do case $k in CPU|Features) say cpu "$k $v";; esac; done </proc/cpuinfo
want='Booting Linux on|CPU features: detected: |kvm \[[0-9]*\]: '
log=$(dmesg 2>/dev/null | grep -E "$want")
case $log in *'Booting Linux on'*) ;; *)
	more=$(journalctl -k -b -q -o cat --no-pager 2>/dev/null | grep -E "$want")
	[ -n "$more" ] && log=$more;;
esac
echo "$log"
command -v python3 >/dev/null && python3 -c 'import fcntl, os
f = os.open("/dev/kvm", os.O_RDWR)
print("ipa_ioctl", fcntl.ioctl(f, 0xAE03, 165))' 2>/dev/null
say end .
"""

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


class Facts(Struct, frozen=True, kw_only=True):
    """What the probe found; ``kvm`` is "" where /dev/kvm can be used, else why not."""

    release: str
    machine: str
    boot_id: str
    uid: int
    kvm: str
    cpu: str
    env: dict[str, str]
    tracefs: bool
    modules: bool
    hugepages: tuple[str, ...]
    missing: dict[str, str]


def parse(lines: Iterable[str]) -> Facts:
    """Facts from the script's output; ValueError if it is not that (no ``uname``, cut short)."""
    keyed, log = _split(lines)
    if "uname" not in keyed or "end" not in keyed:
        raise ValueError("the probe's answer is cut short")
    release, _, machine = keyed["uname"][0].partition(" ")
    missing: dict[str, str] = {}
    features = {m[1].strip() for line in log if (m := _DETECTED.match(line))}
    parts = _cpu_parts(keyed.get("cpu", []))
    return Facts(
        release=release,
        machine=machine,
        boot_id=keyed.get("boot_id", [""])[0],
        uid=int(keyed.get("uid", ["-1"])[0] or -1),
        kvm=_kvm(keyed, log),
        cpu=_cpu_name(keyed.get("cpu", [])),
        env=_environment(keyed, log, features, parts, missing),
        tracefs=_tracefs(keyed, missing),
        modules=_modules(keyed, missing),
        hugepages=tuple(sorted((_size(text) for text in keyed.get("hugepages", [])), key=_bytes)),
        missing=missing,
    )


_KEYS = frozenset(
    (
        *("uname", "uid", "boot_id", "page_kib", "kvm", "tracefs", "kprobe_events", "hugepages"),
        *("modules_disabled", "lockdown", "cmdline", "cpu", "ipa_ioctl", "end"),
    )
)


def _split(lines: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    keyed: dict[str, list[str]] = {}
    log = []
    for line in lines:
        key, _, value = line.partition(" ")
        if key in _KEYS:
            keyed.setdefault(key, []).append(value.strip())
        elif text := message(line).strip():
            log.append(text)
    return keyed, log


def _kvm(keyed: dict[str, list[str]], log: list[str]) -> str:
    state = keyed.get("kvm", ["absent"])[0]
    if state == "usable":
        return ""
    if state == "denied":
        return "/dev/kvm cannot be opened by this user: use root, sudo, or the group kvm"
    for line in log:
        if "HYP mode not available" in line:
            return "no /dev/kvm: the kernel was not started at EL2 (HYP mode not available)"
        if line.startswith("kvm [") and "initialized" not in line and "IPA Size" not in line:
            return f"no /dev/kvm: {line}"
    return "no /dev/kvm: a kernel with CONFIG_KVM, started at EL2, is needed"


def _environment(
    keyed: dict[str, list[str]],
    log: list[str],
    features: set[str],
    parts: list[int],
    missing: dict[str, str],
) -> dict[str, str]:
    env: dict[str, str] = {}
    page = keyed.get("page_kib", [""])[0]
    if page in ("4", "16", "64"):
        env["granule"] = f"{page}K"
    else:
        missing["env.granule"] = "no KernelPageSize in /proc/self/smaps"
    _mode(keyed, log, env, missing)
    _ipa_limit(keyed, log, env, missing)
    # The boot log is whole if its first line is there; only then does silence mean "off".
    whole = any(line.startswith("Booting Linux on") for line in log)
    for fact, text in _FEATURES.items():
        if text in features:
            env[fact] = "on"
        elif whole:
            env[fact] = "off"
        else:
            missing[f"env.{fact}"] = "the kernel log no longer holds the boot messages"
    _access_flag(features, parts, env, missing)
    _execute_never(keyed, features, parts, env, missing)
    return env


def _mode(
    keyed: dict[str, list[str]], log: list[str], env: dict[str, str], missing: dict[str, str]
) -> None:
    for line in log:
        if match := _MODE.match(line):
            protected = match[1] == "Protected "
            kind = f"{match[2] or ''}vhe"
            env["mode"] = "protected" if protected else kind
            return
        if _MODE_HYP.match(line):
            env["mode"] = "nvhe"
            return
    asked = re.search(r"kvm-arm\.mode=(\w+)", keyed.get("cmdline", [""])[0])
    if asked and asked[1] in ("nvhe", "protected"):
        env["mode"] = asked[1]
        return
    missing["env.mode"] = "no 'kvm [1]: … mode initialized' in the kernel log"


def _ipa_limit(
    keyed: dict[str, list[str]], log: list[str], env: dict[str, str], missing: dict[str, str]
) -> None:
    found = next((m[1] for line in log if (m := _IPA.match(line))), "")
    asked = keyed.get("ipa_ioctl", [""])[0]
    if found or asked.isdigit():
        env["ipa_limit"] = found or asked
    else:
        missing["env.ipa_limit"] = (
            "no 'IPA Size Limit' in the kernel log and no python3 to ask KVM_CAP_ARM_VM_IPA_SIZE"
        )


def _access_flag(
    features: set[str], parts: list[int], env: dict[str, str], missing: dict[str, str]
) -> None:
    """HAF: the walker sets the access flag at stage 2.

    Every kernel sets VTCR_EL2.HA (5.10 kvm_arm_setup_stage2; later kvm_get_vtcr, with
    CONFIG_ARM64_HW_AFDBM), so the CPU decides. The kernel tells of ID_AA64MMFR1.HAFDBS >= 2 only
    (has_hw_dbm).
    """
    if any(feature.startswith(_DIRTY_BIT) for feature in features):
        env["haf"] = "on"
    elif parts and all(part in _V8_0_PARTS for part in parts):
        env["haf"] = "off"
    else:
        missing["env.haf"] = (
            "ID_AA64MMFR1_EL1.HAFDBS cannot be read: no 'Hardware dirty bit management' in the "
            "kernel log, which is silent about a CPU that has the access flag alone"
        )


def _execute_never(
    keyed: dict[str, list[str]],
    features: set[str],
    parts: list[int],
    env: dict[str, str],
    missing: dict[str, str],
) -> None:
    """XNX: FEAT_XNX is mandatory from Armv8.2, as is FEAT_DPB, whose hwcap is ``dcpop``."""
    flags = " ".join(keyed.get("cpu", [])).split()
    if "XNX" in features or "dcpop" in flags:
        env["xnx"] = "on"
    elif parts and all(part in _V8_0_PARTS for part in parts):
        env["xnx"] = "off"
    else:
        missing["env.xnx"] = "ID_AA64MMFR1_EL1.XNX cannot be read, and the CPU shows no dcpop"


def _tracefs(keyed: dict[str, list[str]], missing: dict[str, str]) -> bool:
    if "tracefs" not in keyed:
        missing["tracefs"] = "no kvm events in /sys/kernel/tracing: not mounted, or not root"
        return False
    if "kprobe_events" not in keyed:
        missing["kprobe_events"] = "kprobe_events is absent or not writable (CONFIG_KPROBE_EVENTS)"
    return True


def _modules(keyed: dict[str, list[str]], missing: dict[str, str]) -> bool:
    disabled = keyed.get("modules_disabled", [""])[0]
    lockdown = re.search(r"\[(\w+)\]", keyed.get("lockdown", [""])[0])
    if disabled != "0":
        missing["modules"] = "the kernel loads no modules" + (
            " any more (kernel.modules_disabled)" if disabled else " (CONFIG_MODULES)"
        )
    elif lockdown and lockdown[1] != "none":
        missing["modules"] = f"kernel lockdown is on ({lockdown[1]}): unsigned modules are refused"
    elif keyed.get("uid", [""])[0] != "0":
        missing["modules"] = "not root"
    return "modules" not in missing


def _cpu_fields(lines: list[str], name: str) -> list[int]:
    out = []
    for line in lines:
        match = re.fullmatch(rf"CPU {name}\s*: (0x[0-9a-fA-F]+|\d+)", line)
        if match:
            out.append(int(match[1], 0))
    return out


def _cpu_parts(lines: list[str]) -> list[int]:
    """Part numbers, if the CPUs are Arm's own (implementer 0x41)."""
    if set(_cpu_fields(lines, "implementer")) != {0x41}:
        return []
    return _cpu_fields(lines, "part")


def _cpu_name(lines: list[str]) -> str:
    implementer, part = _cpu_fields(lines, "implementer"), _cpu_fields(lines, "part")
    if not implementer or not part:
        return ""
    if implementer[0] == 0x41 and part[0] in _ARM_PARTS:
        return _ARM_PARTS[part[0]]
    return f"{implementer[0]:#04x}:{part[0]:#05x}"


def _bytes(size: str) -> int:
    return int(size[:-1]) << {"K": 10, "M": 20, "G": 30}[size[-1]]


def _size(text: str) -> str:
    """ "2048kB" (from "hugepages-2048kB") -> "2M"."""
    kib = int(re.sub(r"\D", "", text) or 0)
    for shift, unit in ((20, "G"), (10, "M")):
        if kib and kib % (1 << shift) == 0:
            return f"{kib >> shift}{unit}"
    return f"{kib}K"
