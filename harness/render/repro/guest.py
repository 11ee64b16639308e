# SPDX-License-Identifier: GPL-2.0-only
"""A guest scenario as calls of the C file's own helpers, each with what is expected of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from harness.render.text import WIDTH, columns, comment_text
from harness.vocabulary import Finding, UsageError
from reference_model import scenario as sc
from reference_model.describe import describe
from reference_model.outcome import Observation, Prediction

#: Channels that the C file reads; the others are seen by probes in the kernel alone.
READABLE = ("ret", "exit", "data", "dirty", "injected")

#: Below here lie the library's own memory, code and stacks.
_LIBRARY_END = 0x400_0000
_GIB = 1 << 30
_MODES = {36: "VM_MODE_P36V48_4K", 40: "VM_MODE_P40V48_4K", 48: "VM_MODE_P48V48_4K"}
_MANUAL = {
    False: "",
    True: "KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE",
    "init_set": "KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET",
}
_FLAGS = {"log_dirty": "KVM_MEM_LOG_DIRTY_PAGES", "readonly": "KVM_MEM_READONLY"}
_ADVICE = {
    "dontneed": "MADV_DONTNEED",
    "hugepage": "MADV_HUGEPAGE",
    "nohugepage": "MADV_NOHUGEPAGE",
    "free": "MADV_FREE",
}
_KINDS = {
    "anon": "ANON",
    "shmem": "SHMEM",
    "memfd": "MEMFD",
    "hugetlb": "HUGETLB",
    "zero": "ZERO",
}
_THP = {"madvise": "HUGE"}
_PROT = {"none": "PROT_NONE", "r": "PROT_READ", "rw": "PROT_READ | PROT_WRITE"}
_EXITS = {
    "debug": "KVM_EXIT_DEBUG",
    "fail_entry": "KVM_EXIT_FAIL_ENTRY",
    "intr": "KVM_EXIT_INTR",
    "internal_error": "KVM_EXIT_INTERNAL_ERROR",
    "system_event": "KVM_EXIT_SYSTEM_EVENT",
    "arm_nisv": "KVM_EXIT_ARM_NISV",
    "memory_fault": "39",
}
_CLASSES = {"undef": 0x00, "iabt": 0x21, "dabt": 0x25}

_STANDALONE = (
    "Needs an arm64 machine with /dev/kvm, and to build: the C library and the kernel's UAPI "
    "headers.",
    "",
    "  gcc -O2 -Wall -static -o {name} {name}.c      (elsewhere: aarch64-linux-gnu-gcc)",
    "  ./{name}      KTAP; exit status 0: all as expected, 1: not, 4: the machine cannot",
)
_UPSTREAM = (
    "For tools/testing/selftests/kvm/arm64/ (up to 6.13: aarch64/) of a kernel tree:",
    "",
    "  TEST_GEN_PROGS_arm64 += arm64/{name}      in Makefile.kvm (up to 6.13: in Makefile, "
    "TEST_GEN_PROGS_aarch64 += aarch64/{name})",
    "  make -C tools/testing/selftests/kvm ARCH=arm64",
)


class _Step(Struct, frozen=True):
    """A step as the template prints it."""

    title: str
    lines: list[str]


class _Form(Struct, frozen=True):
    """One operation: its helper, the fields it expresses, its arguments, and what it uses."""

    function: str
    fields: tuple[str, ...]
    arguments: Callable[[Any], tuple[str, ...]]
    uses: tuple[str, ...]


def guest_values(
    finding: Finding, scenario: sc.GuestScenario, prediction: Prediction, flavour: str
) -> dict[str, Any]:
    """What the template is given; UsageError as :func:`harness.render.repro.render_repro`."""
    needs: list[str] = list(_STANDALONE)
    offset = 0
    if flavour == "upstream":
        if scenario.vm.eager_split:
            raise UsageError(
                "--flavour upstream: eager_split is set before there is a memslot, and the library "
                "makes one first; take --flavour standalone"
            )
        needs = list(_UPSTREAM)
        offset = _offset(scenario)
        if offset:
            needs[0:0] = [
                f"All guest physical addresses are {offset:#x} higher than where it was found: "
                "the library's own",
                "memory is at 0.",
                "",
            ]
    _refuse_more(scenario.vm, ("vcpus", "ipa_bits", "manual_protect", "eager_split"), "vm")
    uses: set[str] = set()
    steps = [
        _step(index, op, prediction.steps[index].allowed, offset, uses)
        for index, op in enumerate(scenario.steps)
    ]
    return {
        "flavour": flavour,
        "needs": needs,
        "steps": steps,
        "uses": uses,
        "vm": {
            "vcpus": scenario.vm.vcpus,
            "ipa_bits": scenario.vm.ipa_bits,
            "mode": _mode(scenario.vm.ipa_bits) if flavour == "upstream" else "",
            "eager_split": f"{scenario.vm.eager_split:#x}" if scenario.vm.eager_split else "",
            "manual_protect": _MANUAL[scenario.vm.manual_protect],
        },
        "pages": [f"{page:#x}" for page in _pages(scenario, offset)],
    }


# --- the VM --------------------------------------------------------------------------------------


def _mode(ipa_bits: int) -> str:
    if ipa_bits not in _MODES:
        raise UsageError(
            f"--flavour upstream: the library has VMs of {', '.join(map(str, _MODES))} IPA bits, "
            f"the scenario's has {ipa_bits}; take --flavour standalone"
        )
    return _MODES[ipa_bits]


def _offset(scenario: sc.GuestScenario) -> int:
    """What is added to guest physical addresses so that none meets the library's own memory."""
    gpas = [getattr(op, "gpa", None) for op in scenario.steps]
    used = [gpa for gpa in gpas if gpa is not None]
    limit = 1 << scenario.vm.ipa_bits
    if any(gpa >= limit for gpa in used):
        raise UsageError(
            "--flavour upstream: the library maps no guest physical address beyond the VM's "
            f"{scenario.vm.ipa_bits} bits; take --flavour standalone"
        )
    if all(gpa >= _LIBRARY_END for gpa in used):
        return 0
    if any(gpa + _GIB >= limit for gpa in used):
        raise UsageError(
            "--flavour upstream: addresses below 64M are the library's, and the scenario uses both "
            "ends of the guest's memory; take --flavour standalone"
        )
    return _GIB


def _pages(scenario: sc.GuestScenario, offset: int) -> list[int]:
    touched = (sc.Read, sc.Write, sc.Exec)
    return sorted({(op.gpa + offset) & ~0xFFF for op in scenario.steps if isinstance(op, touched)})


# --- steps ---------------------------------------------------------------------------------------


def _step(
    index: int, op: Any, allowed: Sequence[Observation], offset: int, uses: set[str]
) -> _Step:
    form = _FORMS.get(type(op))
    if form is None:
        raise UsageError(
            f"step {index}: the C file has no form for '{op.name}' yet; "
            "run the scenario itself with harness replay"
        )
    _refuse_more(op, form.fields, f"step {index} ({op.name})")
    if isinstance(op, (sc.HostRead, sc.HostWrite)) and any(one.ret for one in allowed):
        raise UsageError(
            f"step {index} ({op.name}): the C file would die of what is expected here; "
            "run the scenario itself with harness replay"
        )
    if offset and getattr(op, "gpa", None) is not None:
        op = msgspec.structs.replace(op, gpa=op.gpa + offset)
    try:
        arguments = form.arguments(op)
    except KeyError as error:
        raise UsageError(
            f"step {index} ({op.name}): the C file has no form for {error} yet; "
            "run the scenario itself with harness replay"
        ) from None
    uses.update(form.uses, (form.function,))
    lines = _wrapped(f"{form.function}(", arguments)
    for line in _expectations(allowed, offset, uses):
        lines += line
    title = comment_text(f"{index}: {describe(op)}")
    return _Step(title.replace("\\", "").replace('"', "'"), lines)


def _refuse_more(value: Struct, known: Sequence[str], where: str) -> None:
    """Fields beyond the known ones must hold their default."""
    for field in msgspec.structs.fields(value):
        if field.name not in known and getattr(value, field.name) != field.default:
            raise UsageError(
                f"{where}: the C file cannot say '{field.name}: {getattr(value, field.name)}' yet; "
                "run the scenario itself with harness replay"
            )


def _wrapped(start: str, arguments: Sequence[str]) -> list[str]:
    """A call, broken where it would grow too long (it stands one tab deep)."""
    lines = [start]
    for number, argument in enumerate(arguments):
        piece = argument + (");" if number == len(arguments) - 1 else ",")
        if columns("\t" + lines[-1] + " " + piece) > WIDTH:
            lines.append(" " * 8 + piece)
        else:
            lines[-1] += piece if lines[-1].endswith("(") else f" {piece}"
    if not arguments:
        lines[-1] += ");"
    return lines


def _slot_add(op: sc.SlotAdd) -> tuple[str, ...]:
    return str(op.slot), f"{op.gpa:#x}", f"{op.size:#x}", _backing(op.backing), _flags(op.flags)


def _backing(backing: sc.Backing) -> str:
    """``PREFILL``, ``UNTOUCHED``, or ``BACKING(.kind = MEMFD, .offset = 0x1000)``."""
    if backing.kind == "device":
        raise UsageError(
            "the scenario needs the memory of a PCI device, which a C file cannot bring along; "
            "run it with harness replay"
        )
    kind = _KINDS[backing.kind]
    if kind == "ANON" and backing.thp != "never":
        kind = _THP[backing.thp]
    fields = [] if kind == "ANON" else [f".kind = {kind}"]
    if backing.prefill:
        fields.append(".prefill = true")
    if backing.page_size is not None:
        fields.append(f".page_size = {backing.page_size:#x}")
    if backing.offset:
        fields.append(f".offset = {backing.offset:#x}")
    if fields in ([], [".prefill = true"]):
        return "PREFILL" if backing.prefill else "UNTOUCHED"
    return f"BACKING({', '.join(fields)})"


def _flags(flags: Sequence[str]) -> str:
    return " | ".join(dict.fromkeys(_FLAGS[flag] for flag in flags)) or "0"


def _clear(op: sc.DirtyClear) -> tuple[str, ...]:
    count = "TO_SLOT_END" if op.num_pages is None else str(op.num_pages)
    pages = ["ALL_PAGES"]
    if op.pages is not None:
        pages = [f"THESE({', '.join(map(str, op.pages))})"]
    return str(op.slot), str(op.first_page), count, *pages


_SLOT = ("slots",)
_VCPU = ("access",)
_HOST = ("slots", "host")
_FORMS: dict[type[Any], _Form] = {
    sc.Read: _Form(
        "guest_read", ("gpa", "vcpu", "size"),
        lambda op: (str(op.vcpu), f"{op.gpa:#x}", str(op.size)), _VCPU,
    ),
    sc.Write: _Form(
        "guest_write", ("gpa", "vcpu", "size", "value"),
        lambda op: (str(op.vcpu), f"{op.gpa:#x}", str(op.size), f"{op.value:#x}"), _VCPU,
    ),
    sc.Exec: _Form(
        "guest_exec", ("gpa", "vcpu"), lambda op: (str(op.vcpu), f"{op.gpa:#x}"), _VCPU,
    ),
    sc.SlotAdd: _Form("slot_add", ("slot", "gpa", "size", "backing", "flags"), _slot_add, _SLOT),
    sc.SlotFlags: _Form(
        "slot_flags", ("slot", "flags"), lambda op: (str(op.slot), _flags(op.flags)), _SLOT,
    ),
    sc.SlotMove: _Form(
        "slot_move", ("slot", "gpa"), lambda op: (str(op.slot), f"{op.gpa:#x}"), _SLOT,
    ),
    sc.SlotDelete: _Form("slot_delete", ("slot",), lambda op: (str(op.slot),), _SLOT),
    sc.DirtyGet: _Form("dirty_get", ("slot",), lambda op: (str(op.slot),), ("slots", "dirty")),
    sc.DirtyClear: _Form(
        "dirty_clear", ("slot", "first_page", "num_pages", "pages"), _clear, ("slots", "dirty"),
    ),
    sc.HostRead: _Form(
        "host_read", ("gpa", "size"), lambda op: (f"{op.gpa:#x}", str(op.size)), _HOST,
    ),
    sc.HostWrite: _Form(
        "host_write", ("gpa", "size", "value"),
        lambda op: (f"{op.gpa:#x}", str(op.size), f"{op.value:#x}"), _HOST,
    ),
    sc.Madvise: _Form(
        "host_madvise", ("gpa", "size", "advice"),
        lambda op: (f"{op.gpa:#x}", f"{op.size:#x}", _ADVICE[op.advice]), _HOST,
    ),
    sc.PunchHole: _Form(
        "punch_hole", ("gpa", "size"),
        lambda op: (f"{op.gpa:#x}", f"{op.size:#x}"), (*_HOST, "host_madvise"),
    ),
    sc.Remap: _Form(
        "host_remap", ("gpa", "size"), lambda op: (f"{op.gpa:#x}", f"{op.size:#x}"), _HOST,
    ),
    sc.ForkTouch: _Form(
        "fork_touch", ("gpa", "size"), lambda op: (f"{op.gpa:#x}", f"{op.size:#x}"), _HOST,
    ),
    sc.Mprotect: _Form(
        "host_mprotect", ("gpa", "size", "prot"),
        lambda op: (f"{op.gpa:#x}", f"{op.size:#x}", _PROT[op.prot]), _HOST,
    ),
}  # fmt: skip


# --- expectations --------------------------------------------------------------------------------


def _expectations(allowed: Sequence[Observation], offset: int, uses: set[str]) -> list[list[str]]:
    """An assertion a channel on which all that is allowed agrees; a comment on another."""
    out = []
    for channel in READABLE:
        values = [getattr(one, channel) for one in allowed]
        if any(value is UNSET for value in values):
            continue
        if any(value != values[0] for value in values):
            out.append([f"/* {channel}: {len(values)} outcomes are allowed */"])
            continue
        line = _expectation(channel, values[0], offset, uses)
        if line:
            out.append(line)
    return out


def _expectation(channel: str, value: Any, offset: int, uses: set[str]) -> list[str]:
    if channel == "ret":
        return [f"expect_ret({value});"]
    if channel == "data":
        if value is None:
            return []
        uses.add("data")
        return [f"expect_data({value:#x});"]
    if channel == "dirty":
        uses.add("expect_dirty")
        pages = f"PAGES({', '.join(map(str, value))})" if value else "NO_PAGES"
        return _wrapped("expect_dirty(", [pages] if len(pages) < WIDTH - 24 else _split(value))
    if channel == "exit":
        return _exit(value, offset, uses)
    return _injected(value, offset, uses)


def _split(pages: Sequence[int]) -> list[str]:
    first, last = f"PAGES({pages[0]}", f"{pages[-1]})"
    return [first, *map(str, pages[1:-1]), last]


def _exit(value: Any, offset: int, uses: set[str]) -> list[str]:
    if value is None:
        uses.add("no_exit")
        return ["expect_no_exit();"]
    if value.get("reason") == "mmio":
        uses.add("mmio")
        write = "true" if value.get("write") else "false"
        data = value.get("data") or 0
        gpa = value["gpa"] + offset
        return _wrapped("expect_mmio(", [write, f"{gpa:#x}", str(value["len"]), f"{data:#x}"])
    reason = str(value.get("reason"))
    if reason not in _EXITS:
        raise UsageError(f"the C file has no form for an exit '{reason}' yet; use harness replay")
    uses.add("exit")
    return [f"expect_exit({_EXITS[reason]});"]


def _injected(value: Any, offset: int, uses: set[str]) -> list[str]:
    if value is None:
        uses.add("no_abort")
        return ["expect_no_abort();"]
    kind = str(value.get("ec"))
    if kind not in _CLASSES:
        raise UsageError(f"the C file has no form for an injected '{kind}' yet; use harness replay")
    uses.add("abort")
    fsc = value.get("fsc", -1)
    far = f"{value['far'] + offset:#x}" if "far" in value else "~0ULL"
    return _wrapped("expect_abort(", [f"{_CLASSES[kind]:#x}", str(fsc), far])
