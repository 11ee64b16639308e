# SPDX-License-Identifier: GPL-2.0-only
"""The guest suite in C: the runtime is kselftests/guest.h."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.render.expectation import expectation
from harness.render.layout import Call, Suite
from harness.render.text import WIDTH, address, columns, number, size
from harness.vocabulary import UsageError
from reference_model import scenario as sc
from reference_model.outcome import Prediction

_UINT32_MAX = (1 << 32) - 1
_SLOT_FLAGS = {"log_dirty": "LOG_DIRTY", "readonly": "READONLY"}
_MANUAL = {False: "", True: "MANUAL_PROTECT", "init_set": "INIT_SET"}
_KINDS = {
    "anon": "BACKING_ANON",
    "shmem": "BACKING_SHMEM",
    "memfd": "BACKING_MEMFD",
    "hugetlb": "BACKING_HUGETLB",
    "zero": "BACKING_ZERO",
    "file_ro": "BACKING_FILE_RO",
    "device": "BACKING_DEVICE",
}
_THP = {"never": "", "madvise": "THP_MADVISE", "always": "THP_ALWAYS"}
_FORMS = {"plain": "", "pair": "PAIR", "writeback": "WRITEBACK", "simd": "SIMD"}
_PROTS = {"none": "PROT_OF_NONE", "r": "PROT_OF_R", "rw": "PROT_OF_RW"}
_UFFD_MODES = {"missing": "UFFD_MISSING", "minor": "UFFD_MINOR", "wp": "UFFD_WP"}

Arguments = tuple[str, ...]
Named = tuple[str, Arguments]


def _opening(scenario: sc.GuestScenario) -> list[str]:
    return vm_lines(scenario.vm, "vm_create")


def vm_lines(vm: sc.VmConfig, maker: str) -> list[str]:
    """The VM as a variable, made by a function of the runtime."""
    fields = _vm_fields(vm)
    config = f"\tstruct vm *vm = {maker}((struct vm_config){{ {', '.join(fields)} }});"
    if columns(config) <= WIDTH:
        return [config, ""]
    return [
        f"\tstruct vm *vm = {maker}((struct vm_config){{",
        *(f"\t\t{field}," for field in fields),
        "\t});",
        "",
    ]


def _vm_fields(vm: sc.VmConfig) -> list[str]:
    """What is set of struct vm_config, as designated initialisers."""
    fields = [f".vcpus = {vm.vcpus}", f".ipa_bits = {vm.ipa_bits}"]
    if manual := _MANUAL[vm.manual_protect]:
        fields.append(f".manual_protect = {manual}")
    if vm.dirty_ring:
        fields.append(f".dirty_ring = {number(vm.dirty_ring, 'dirty_ring')}")
    if vm.ring_bitmap:
        fields.append(".ring_bitmap = true")
    if vm.eager_split:
        fields.append(f".eager_split = {size(vm.eager_split, 'eager_split')}")
    if vm.nisv_to_user:
        fields.append(".nisv_to_user = true")
    if not vm.stage1:
        fields.append(".stage1_off = true")
    return fields


def step_call(step: sc.GuestOp) -> Named:
    """The runtime's function for an operation, and its arguments behind the VM; UsageError."""
    return _HELPERS[type(step)](step)


def _calls(scenario: sc.GuestScenario, prediction: Prediction | None) -> list[Call]:
    calls = []
    for index, step in enumerate(scenario.steps):
        expected = expectation(prediction, index)
        try:
            function, arguments = step_call(step)
            call = Call(
                function,
                ("vm", *arguments),
                f"{index}: {expected}" if expected else f"{index}",
            )
        except UsageError as error:
            message = f"scenario '{scenario.id}': step {index} ({step.name}): {error}"
            raise UsageError(message) from None
        calls.append(call)
    return calls


# --- what the guest does -------------------------------------------------------------------------


def _options(op: sc.Read | sc.Write | sc.Exec | sc.At) -> Arguments:
    """What an access has beyond its plain form."""
    options = []
    form = _FORMS[op.form] if isinstance(op, sc.Read | sc.Write) else ""
    if form:
        options.append(f".form = {form}")
    if op.tables is not None:
        options.append(f"TABLES({address(op.tables)})")
    return tuple(options)


def _read(op: sc.Read) -> Named:
    return "guest_read", (str(op.vcpu), address(op.gpa), str(op.size), *_options(op))


def _write(op: sc.Write) -> Named:
    where = str(op.vcpu), address(op.gpa), str(op.size)
    return "guest_write", (*where, f"{op.value:#x}", *_options(op))


def _exec(op: sc.Exec) -> Named:
    return "guest_exec", (str(op.vcpu), address(op.gpa), *_options(op))


def _cas(op: sc.Cas) -> Named:
    values = f"{op.expected:#x}", f"{op.value:#x}"
    return "guest_cas", (str(op.vcpu), address(op.gpa), str(op.size), *values)


def _dc_zva(op: sc.DcZva) -> Named:
    return "guest_dc_zva", (str(op.vcpu), address(op.gpa), size(op.size, "size"))


def _dc_civac(op: sc.DcCivac) -> Named:
    return "guest_dc_civac", (str(op.vcpu), address(op.gpa))


def _at(op: sc.At) -> Named:
    name = "guest_at_write" if op.write else "guest_at_read"
    return name, (str(op.vcpu), address(op.gpa), *_options(op))


# --- memslots and the dirty log ------------------------------------------------------------------


def _flags(flags: tuple[sc.SlotFlag, ...]) -> str:
    return " | ".join(dict.fromkeys(_SLOT_FLAGS[flag] for flag in flags)) or "0"


def _backing(backing: sc.Backing) -> str:
    what = [_KINDS[backing.kind]]
    if backing.kind == "anon" and backing.thp != "never":
        what.append(_THP[backing.thp])
    if backing.prefill:
        what.append("PREFILL")
    return " | ".join(what)


def _backing_options(backing: sc.Backing) -> Arguments:
    options = []
    if backing.kind == "hugetlb" and backing.page_size is not None:
        options.append(f".page_size = {size(backing.page_size, 'page_size')}")
    if backing.offset:
        options.append(f".offset = {size(backing.offset, 'offset')}")
    return tuple(options)


def _slot_add(op: sc.SlotAdd) -> Named:
    where = str(op.slot), address(op.gpa), size(op.size, "size")
    what = _backing(op.backing), _flags(op.flags)
    return "slot_add", (*where, *what, *_backing_options(op.backing))


def _slot_flags(op: sc.SlotFlags) -> Named:
    return "slot_flags", (str(op.slot), _flags(op.flags))


def _slot_move(op: sc.SlotMove) -> Named:
    return "slot_move", (str(op.slot), address(op.gpa))


def _slot_only(op: sc.SlotDelete | sc.DirtyGet) -> Named:
    return op.name, (str(op.slot),)


def _dirty_clear(op: sc.DirtyClear) -> Named:
    if op.num_pages is None:
        count = "TO_SLOT_END"
    elif op.num_pages >= _UINT32_MAX:
        count = "UINT32_MAX"
    else:
        count = number(op.num_pages, "num_pages")
    pages: Arguments = ("ALL_PAGES",)
    if op.pages is not None:
        pages = _page_list(tuple(number(page, "page") for page in op.pages))
    first = number(op.first_page, "first_page")
    return "dirty_clear", (str(op.slot), first, count, *pages)


def _page_list(pages: Arguments) -> Arguments:
    """``PAGES(1, 2, 3)`` as the pieces between which a line may break."""
    if not pages:
        return ("PAGES()",)
    first, last = f"PAGES({pages[0]}", f"{pages[-1]})"
    return (f"{first})",) if len(pages) == 1 else (first, *pages[1:-1], last)


def _ring_reset(op: sc.RingReset) -> Named:
    return "ring_reset", ("ALL_ENTRIES" if op.count is None else number(op.count, "count"),)


# --- what the host does --------------------------------------------------------------------------


def _host_read(op: sc.HostRead) -> Named:
    return "host_read", (address(op.gpa), str(op.size))


def _host_write(op: sc.HostWrite) -> Named:
    return "host_write", (address(op.gpa), str(op.size), f"{op.value:#x}")


def _stage1_tables(op: sc.Stage1Tables) -> Named:
    return "stage1_tables", (address(op.gpa), "WITH_AF" if op.af else "WITHOUT_AF")


def _range(op: Any) -> Arguments:
    return address(op.gpa), size(op.size, "size")


def _madvise(op: sc.Madvise) -> Named:
    return "host_madvise", (*_range(op), op.advice.upper())


def _mprotect(op: sc.Mprotect) -> Named:
    return "host_mprotect", (*_range(op), _PROTS[op.prot])


def _remap(op: sc.Remap) -> Named:
    return ("host_remap" if op.to == "fresh" else "host_unmap"), _range(op)


def _age(op: sc.Age) -> Named:
    return "host_age", _range(op)


def _plain_range(op: sc.PunchHole | sc.ForkTouch | sc.UffdZero | sc.UffdContinue) -> Named:
    return op.name, _range(op)


def _uffd_register(op: sc.UffdRegister) -> Named:
    modes = " | ".join(dict.fromkeys(_UFFD_MODES[mode] for mode in op.mode))
    return "uffd_register", (*_range(op), modes or "0")


def _uffd_copy(op: sc.UffdCopy) -> Named:
    return "uffd_copy", (*_range(op), f"{op.value:#x}")


def _uffd_wp(op: sc.UffdWp) -> Named:
    return ("uffd_protect" if op.protect else "uffd_unprotect"), _range(op)


_HELPERS: dict[type[Any], Callable[[Any], Named]] = {
    sc.Read: _read,
    sc.Write: _write,
    sc.Exec: _exec,
    sc.Cas: _cas,
    sc.DcZva: _dc_zva,
    sc.DcCivac: _dc_civac,
    sc.At: _at,
    sc.SlotAdd: _slot_add,
    sc.SlotFlags: _slot_flags,
    sc.SlotMove: _slot_move,
    sc.SlotDelete: _slot_only,
    sc.DirtyGet: _slot_only,
    sc.DirtyClear: _dirty_clear,
    sc.RingReset: _ring_reset,
    sc.HostRead: _host_read,
    sc.HostWrite: _host_write,
    sc.Stage1Tables: _stage1_tables,
    sc.Madvise: _madvise,
    sc.Mprotect: _mprotect,
    sc.Remap: _remap,
    sc.Age: _age,
    sc.PunchHole: _plain_range,
    sc.UffdRegister: _uffd_register,
    sc.UffdCopy: _uffd_copy,
    sc.UffdZero: _plain_range,
    sc.UffdContinue: _plain_range,
    sc.UffdWp: _uffd_wp,
    sc.ForkTouch: _plain_range,
}

GUEST = Suite(header="guest.h", variable="guest_suite", opening=_opening, calls=_calls)
