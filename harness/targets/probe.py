# SPDX-License-Identifier: GPL-2.0-only
"""What a target is and can do, learnt in one round trip.

:data:`SCRIPT` runs under any POSIX sh (busybox included) and prints ``key value`` lines and the
kernel log lines that matter; :func:`parse` turns them into facts.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from harness.targets.boot_facts import Evidence, cpu_name, environment
from harness.targets.splat import message
from harness.vocabulary import TargetError, TargetInfo

#: Builtins of the shell where they do: a process costs milliseconds in an emulated guest.
SCRIPT = r"""
say() { echo "$1 $2"; }
first() { x=; read -r x <"$2"; [ -n "$x" ] && say "$1" "$x"; } 2>/dev/null
say uname "$(uname -rm)"
say uid "$(id -u)"
first version /proc/sys/kernel/version
echo notes $(od -An -v -tx1 /sys/kernel/notes 2>/dev/null)
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
for d in /sys/kernel/mm/hugepages/hugepages-*; do
	[ -e "$d" ] && read -r n <"$d/free_hugepages" && say hugepages "${d##*-} $n"
done
first thp /sys/kernel/mm/transparent_hugepage/enabled
first uffd /proc/sys/vm/unprivileged_userfaultfd
while read -r f _ n _; do case $f in /*) say swap "$f $n";; esac; done </proc/swaps
for d in /sys/bus/pci/devices/*; do
	read -r v <"$d/vendor" && read -r n <"$d/device" && [ "$v:$n" = 0x1af4:0x1110 ] &&
		say device_memory "${d##*/}"
done 2>/dev/null
[ -e /proc/modules ] && first modules_disabled /proc/sys/kernel/modules_disabled
first lockdown /sys/kernel/security/lockdown
while read -r k v; do case $k in CPU|Features) say cpu "$k $v";; esac; done </proc/cpuinfo
want='Booting Linux on|CPU features: detected: |kvm \[[0-9]*\]: '
log=$(dmesg 2>/dev/null | grep -E "$want")
case $log in *'Booting Linux on'*) ;; *)
	more=$(journalctl -k -b -q -o cat --no-pager 2>/dev/null | grep -E "$want")
	[ -n "$more" ] && log=$more;;
esac
echo "$log"
case $log in *'Hardware dirty bit management'*) ;; *)
	say symbols "$(grep -o -E ' (has_hw_dbm|do_exit)$' /proc/kallsyms 2>/dev/null | tr -d '\n')";;
esac
command -v python3 >/dev/null && python3 -c 'import fcntl, os
f = os.open("/dev/kvm", os.O_RDWR)
print("ipa_ioctl", fcntl.ioctl(f, 0xAE03, 165))' 2>/dev/null
say end .
"""


_NT_GNU_BUILD_ID = 3
#: As in kselftests/host_memory.c.
_SWAP_KIB = 32 * 1024


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
    version: str = ""
    build_id: str = ""


def ask(output: Callable[[Sequence[str]], str], where: str) -> Facts:
    """Run the script by ``output`` (a command to its output); TargetError if it cannot be read."""
    text = output(["sh", "-c", SCRIPT])
    try:
        return parse(text.splitlines())
    except ValueError as error:
        last = text.strip().splitlines()[-1:] or ["(nothing)"]
        raise TargetError(f"{where}: probing failed: {error}; last line: {last[0]}") from error


def parse(lines: Iterable[str]) -> Facts:
    """Facts from the script's output; ValueError if it is cut short."""
    keyed, log = _split(lines)
    if "uname" not in keyed or "end" not in keyed:
        raise ValueError("the answer is cut short")
    release, _, machine = keyed["uname"][0].partition(" ")
    uid = keyed.get("uid", [""])[0]
    cpu = keyed.get("cpu", [])
    env, missing = environment(
        Evidence(
            log=tuple(log),
            page_kib=keyed.get("page_kib", [""])[0],
            ipa_ioctl=keyed.get("ipa_ioctl", [""])[0],
            cpu=tuple(cpu),
            release=release,
            symbols=frozenset(keyed.get("symbols", [""])[0].split()),
        )
    )
    _memory(keyed, missing)
    return Facts(
        release=release,
        machine=machine,
        boot_id=keyed.get("boot_id", [""])[0],
        uid=int(uid) if uid.isdigit() else -1,
        kvm=_kvm(keyed, log),
        cpu=cpu_name(cpu),
        env=env,
        tracefs=_tracefs(keyed, missing),
        modules=_modules(keyed, missing),
        hugepages=_hugepages(keyed, missing),
        missing=missing,
        version=keyed.get("version", [""])[0],
        build_id=build_id(keyed.get("notes", [""])[0]),
    )


def target_info(facts: Facts, *, name: str, kind: str) -> TargetInfo:
    """The facts as the word that all rooms share."""
    return TargetInfo(
        name=name,
        kind=kind,
        release=facts.release,
        cpu=facts.cpu,
        env=facts.env,
        tracefs=facts.tracefs,
        modules=facts.modules,
        hugepages=facts.hugepages,
        missing=facts.missing,
        version=facts.version,
        build_id=facts.build_id,
    )


def build_id(notes: str) -> str:
    """The GNU build ID in /sys/kernel/notes (ELF notes, here as hex bytes); "" if none is whole."""
    try:
        data = bytes.fromhex(notes)
    except ValueError:
        return ""  # no hex: od is missing there, or is another od
    at = 0
    while at + 12 <= len(data):
        name, desc, kind = struct.unpack_from("<III", data, at)
        value = at + 12 + (name + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and data[at + 12 : at + 12 + name] == b"GNU\0":
            return data[value : value + desc].hex() if value + desc <= len(data) else ""
        at = value + (desc + 3 & ~3)
    return ""


def require_kvm(facts: Facts, where: str) -> None:
    """TargetError, with the mend, if guests cannot be run there."""
    if facts.machine != "aarch64":
        raise TargetError(f"{where} is {facts.machine}, not an arm64 machine; name another host")
    if facts.kvm:
        raise TargetError(f"{where}: {facts.kvm}")


_KEYS = frozenset(
    (
        *(
            "uname",
            "version",
            "notes",
            "uid",
            "boot_id",
            "page_kib",
            "kvm",
            "tracefs",
            "kprobe_events",
            "hugepages",
        ),
        *(
            "modules_disabled",
            "lockdown",
            "cpu",
            "ipa_ioctl",
            "thp",
            "uffd",
            "swap",
            "device_memory",
            "symbols",
        ),
        "end",
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


#: Why kvm_arm_init() and its helpers gave up. (arch/arm64/kvm/{arm,reset}.c)
_KVM_FAILED = re.compile(
    r"kvm \[\d+\]: .*(?:disabled from|giving up|not supported|[Cc]annot|[Ff]ailed|[Ee]rror)"
)


def _kvm(keyed: dict[str, list[str]], log: list[str]) -> str:
    state = keyed.get("kvm", ["absent"])[0]
    if state == "usable":
        return ""
    if state == "denied":
        return "/dev/kvm cannot be opened by this user: use root, sudo, or the group kvm"
    for line in log:
        if "HYP mode not available" in line:
            return "no /dev/kvm: the kernel was not started at EL2 (HYP mode not available)"
        if _KVM_FAILED.match(line):
            return f"no /dev/kvm: {line}"
    return "no /dev/kvm: a kernel with CONFIG_KVM, started at EL2, is needed"


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


def _hugepages(keyed: dict[str, list[str]], missing: dict[str, str]) -> tuple[str, ...]:
    """Sizes that the kernel has, ascending; what cannot be used of them is missing."""
    free = dict(text.partition(" ")[::2] for text in keyed.get("hugepages", []))
    sizes = sorted(((_size(name), count) for name, count in free.items()), key=_size_first)
    for size, count in sizes:
        if count == "0":
            missing[f"hugetlb {size}"] = "no page of that size is free (nr_hugepages)"
    if not sizes:
        missing["hugetlb"] = "the kernel has none (CONFIG_HUGETLBFS)"
    return tuple(size for size, _ in sizes)


def _size_first(entry: tuple[str, str]) -> int:
    return _bytes(entry[0])


def _memory(keyed: dict[str, list[str]], missing: dict[str, str]) -> None:
    """What scenarios ask of the host's memory management and may not be there."""
    if "swap" not in keyed:
        missing["swap"] = "no swap device is in use (swapon)"
    elif (kib := sum(map(_swap_kib, keyed["swap"]))) < _SWAP_KIB:
        missing["swap"] = f"{kib} KiB are too few, scenarios want {_SWAP_KIB} free (swapon)"
    if "uffd" not in keyed:
        missing["userfaultfd"] = "the kernel has none (CONFIG_USERFAULTFD)"
    if "device_memory" not in keyed:
        missing["device memory"] = "no ivshmem device (PCI 1af4:1110)"
    chosen = re.search(r"\[(\w+)\]", keyed.get("thp", [""])[0])
    if chosen is None:
        missing["thp"] = "the kernel has none (CONFIG_TRANSPARENT_HUGEPAGE)"
    elif chosen[1] == "never":
        missing["thp"] = "transparent_hugepage/enabled is never"


def _swap_kib(device: str) -> int:
    return int(device.rpartition(" ")[2])


def _bytes(size: str) -> int:
    return int(size[:-1]) << {"K": 10, "M": 20, "G": 30}[size[-1]]


def _size(text: str) -> str:
    """ "2048kB" (from "hugepages-2048kB") -> "2M"."""
    kib = int(re.sub(r"\D", "", text) or 0)
    for shift, unit in ((20, "G"), (10, "M")):
        if kib and kib % (1 << shift) == 0:
            return f"{kib >> shift}{unit}"
    return f"{kib}K"
