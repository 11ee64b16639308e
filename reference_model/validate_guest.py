# SPDX-License-Identifier: GPL-2.0-only
"""What makes a guest scenario wrong whatever the kernel."""

from __future__ import annotations

from typing import TypeAlias

from reference_model import scenario as sc
from reference_model.scenario import RESERVED_GPA, GuestScenario

MAX_SLOT_BYTES = 1 << 30
#: Prefilling more than this takes longer than a scenario may.
MAX_PREFILL_BYTES = 1 << 26
#: The smallest page and so the least that an access must not cross.
_PAGE = 0x1000
#: What stage-1 tables made by ``stage1_tables`` map.
_TABLES_REACH = 1 << 39

Problem: TypeAlias = tuple[int | None, str]

_HUGETLB_PAGES = {
    0x1_0000: "64K",
    0x20_0000: "2M",
    0x200_0000: "32M",
    0x2000_0000: "512M",
    0x4000_0000: "1G",
}
_RANGE_OPS = (
    sc.Madvise, sc.Mprotect, sc.Remap, sc.Age, sc.PunchHole, sc.ForkTouch,
    sc.UffdRegister, sc.UffdCopy, sc.UffdZero, sc.UffdContinue, sc.UffdWp,
)  # fmt: skip


def check_guest(scenario: GuestScenario) -> Problem | None:
    """The first thing wrong as (step or None, message with the mend), or None."""
    message = _vm(scenario.vm)
    if message is not None:
        return None, f"vm: {message}"
    for index, step in enumerate(scenario.steps):
        message = _place(step, scenario.vm) or _access(step) or _host(step)
        if message is not None:
            return index, message
    return None


def _vm(vm: sc.VmConfig) -> str | None:
    if vm.dirty_ring & (vm.dirty_ring - 1):
        return f"dirty_ring {vm.dirty_ring} is not a power of two entries"
    if vm.ring_bitmap and not vm.dirty_ring:
        return "ring_bitmap needs a dirty_ring; set its number of entries"
    if vm.eager_split & (vm.eager_split - 1):
        return f"eager_split {vm.eager_split:#x} is no block size; 0, 4K, 2M or 1G with 4K pages"
    return None


def _place(step: sc.GuestOp, vm: sc.VmConfig) -> str | None:
    """vCPU and address."""
    vcpu = getattr(step, "vcpu", 0)
    if vcpu >= vm.vcpus:
        return f"vcpu {vcpu} does not exist; vm.vcpus is {vm.vcpus}"
    gpa = getattr(step, "gpa", None)
    size = 0x2000 if isinstance(step, sc.Stage1Tables) else getattr(step, "size", 1)
    if gpa is not None:
        if gpa >= 1 << 48:
            return f"gpa {gpa:#x} is out of range; the guest's stage-1 covers 48 bits"
        if gpa < RESERVED_GPA.stop and gpa + max(size, 1) > RESERVED_GPA.start:
            return (
                f"gpa {gpa:#x} +{size:#x} meets [{RESERVED_GPA.start:#x}, {RESERVED_GPA.stop:#x}), "
                "which the runtime keeps for itself; choose another"
            )
    tables = getattr(step, "tables", None)
    if tables is not None:
        if not vm.stage1:
            return "tables need vm.stage1: true"
        if tables % _PAGE or tables >= 1 << 48:
            return f"tables {tables:#x} is no 4K-aligned address below 48 bits"
        if gpa is not None and gpa >= _TABLES_REACH:
            return f"gpa {gpa:#x} is beyond the 512G that stage1_tables maps"
    return None


def _access(step: sc.GuestOp) -> str | None:
    """Alignment, values and forms."""
    if isinstance(step, (sc.Read, sc.Write, sc.HostRead, sc.HostWrite)):
        if step.gpa % _PAGE + step.size > _PAGE:
            return f"gpa {step.gpa:#x} +{step.size} crosses a 4K page; make it two steps"
    elif isinstance(step, (sc.Cas, sc.DcZva)):
        if step.gpa % step.size:
            return f"gpa {step.gpa:#x} is not aligned to its size {step.size}"
    elif isinstance(step, sc.Exec) and step.gpa % 4:
        return f"gpa {step.gpa:#x} is not aligned to an instruction (4 bytes)"
    elif isinstance(step, sc.Stage1Tables) and step.gpa % _PAGE:
        return f"gpa {step.gpa:#x} is not aligned to a 4K table"
    for key in ("value", "expected"):
        value = getattr(step, key, None)
        size = 8 if isinstance(step, sc.UffdCopy) else getattr(step, "size", 8)
        if value is not None and value >= 1 << (8 * size):
            return f"{key} {value:#x} does not fit in {size} bytes"
    if isinstance(step, (sc.Read, sc.Write)) and step.form == "pair" and step.size != 8:
        return "form pair is two words: size 8"
    return None


def _host(step: sc.GuestOp) -> str | None:
    if isinstance(step, sc.SlotAdd):
        return _slot_add(step)
    if isinstance(step, _RANGE_OPS) and not step.size:
        return "size 0 names no memory; give the bytes from gpa on"
    if isinstance(step, sc.UffdRegister) and not step.mode:
        return "mode is empty; give missing, minor or wp"
    return None


def _slot_add(step: sc.SlotAdd) -> str | None:
    if not 0 < step.size <= MAX_SLOT_BYTES:
        return f"slot size {step.size:#x} is out of range (0, {MAX_SLOT_BYTES:#x}]"
    backing = step.backing
    if backing.prefill and step.size > MAX_PREFILL_BYTES:
        return f"a slot of {step.size:#x} is too large to prefill; at most {MAX_PREFILL_BYTES:#x}"
    if backing.thp != "never" and backing.kind != "anon":
        return f"thp is for kind anon, not {backing.kind}; drop it"
    if (backing.kind == "hugetlb") != (backing.page_size is not None):
        return "page_size belongs to kind hugetlb, which needs it: 2M or 1G with 4K pages"
    if backing.page_size is not None and backing.page_size not in _HUGETLB_PAGES:
        return f"page_size {backing.page_size:#x} is none of {', '.join(_HUGETLB_PAGES.values())}"
    if backing.kind in ("zero", "file_ro", "device") and backing.prefill:
        return f"prefill does not go with kind {backing.kind}; drop it"
    if backing.offset % _PAGE or backing.offset >= MAX_SLOT_BYTES:
        return f"backing offset {backing.offset:#x} is no multiple of 4K below 1G"
    return None
