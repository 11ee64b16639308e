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
_ADVICE = {"dontneed": "DONTNEED"}
_MANUAL = {False: "", True: "MANUAL_PROTECT", "init_set": "INIT_SET"}

Arguments = tuple[str, ...]


def _opening(scenario: sc.GuestScenario) -> list[str]:
    vm = scenario.vm
    fields = [f".vcpus = {vm.vcpus}", f".ipa_bits = {vm.ipa_bits}"]
    manual = _MANUAL[vm.manual_protect]
    if manual:
        fields.append(f".manual_protect = {manual}")
    config = f"\tstruct vm *vm = vm_create((struct vm_config){{ {', '.join(fields)} }});"
    if columns(config) <= WIDTH:
        return [config, ""]
    return [
        "\tstruct vm *vm = vm_create((struct vm_config){",
        f"\t\t{', '.join(fields)},",
        "\t});",
        "",
    ]


def _calls(scenario: sc.GuestScenario, prediction: Prediction | None) -> list[Call]:
    calls = []
    for index, step in enumerate(scenario.steps):
        function, arguments = _HELPERS[type(step)]
        expected = expectation(prediction, index)
        try:
            call = Call(
                function,
                ("vm", *arguments(step)),
                f"{index}: {expected}" if expected else f"{index}",
            )
        except UsageError as error:
            message = f"scenario '{scenario.id}': step {index} ({step.name}): {error}"
            raise UsageError(message) from None
        calls.append(call)
    return calls


def _flags(flags: tuple[sc.SlotFlag, ...]) -> str:
    return " | ".join(dict.fromkeys(_SLOT_FLAGS[flag] for flag in flags)) or "0"


def _backing(backing: sc.Backing) -> str:
    return "BACKING_ANON | PREFILL" if backing.prefill else "BACKING_ANON"


def _read(op: sc.Read) -> Arguments:
    return str(op.vcpu), address(op.gpa), str(op.size)


def _write(op: sc.Write) -> Arguments:
    return str(op.vcpu), address(op.gpa), str(op.size), f"{op.value:#x}"


def _exec(op: sc.Exec) -> Arguments:
    return str(op.vcpu), address(op.gpa)


def _slot_add(op: sc.SlotAdd) -> Arguments:
    return (
        str(op.slot),
        address(op.gpa),
        size(op.size, "size"),
        _backing(op.backing),
        _flags(op.flags),
    )


def _slot_flags(op: sc.SlotFlags) -> Arguments:
    return str(op.slot), _flags(op.flags)


def _slot_move(op: sc.SlotMove) -> Arguments:
    return str(op.slot), address(op.gpa)


def _slot_only(op: sc.SlotDelete | sc.DirtyGet) -> Arguments:
    return (str(op.slot),)


def _dirty_clear(op: sc.DirtyClear) -> Arguments:
    if op.num_pages is None:
        count = "TO_SLOT_END"
    elif op.num_pages >= _UINT32_MAX:
        count = "UINT32_MAX"
    else:
        count = number(op.num_pages, "num_pages")
    pages: Arguments = ("ALL_PAGES",)
    if op.pages is not None:
        pages = _page_list(tuple(number(page, "page") for page in op.pages))
    return str(op.slot), number(op.first_page, "first_page"), count, *pages


def _page_list(pages: Arguments) -> Arguments:
    """``PAGES(1, 2, 3)`` as the pieces between which a line may break."""
    if not pages:
        return ("PAGES()",)
    first, last = f"PAGES({pages[0]}", f"{pages[-1]})"
    return (f"{first})",) if len(pages) == 1 else (first, *pages[1:-1], last)


def _host_read(op: sc.HostRead) -> Arguments:
    return address(op.gpa), str(op.size)


def _host_write(op: sc.HostWrite) -> Arguments:
    return address(op.gpa), str(op.size), f"{op.value:#x}"


def _madvise(op: sc.Madvise) -> Arguments:
    return address(op.gpa), size(op.size, "size"), _ADVICE[op.advice]


_HELPERS: dict[type[Any], tuple[str, Callable[[Any], Arguments]]] = {
    sc.Read: ("guest_read", _read),
    sc.Write: ("guest_write", _write),
    sc.Exec: ("guest_exec", _exec),
    sc.SlotAdd: ("slot_add", _slot_add),
    sc.SlotFlags: ("slot_flags", _slot_flags),
    sc.SlotMove: ("slot_move", _slot_move),
    sc.SlotDelete: ("slot_delete", _slot_only),
    sc.DirtyGet: ("dirty_get", _slot_only),
    sc.DirtyClear: ("dirty_clear", _dirty_clear),
    sc.HostRead: ("host_read", _host_read),
    sc.HostWrite: ("host_write", _host_write),
    sc.Madvise: ("host_madvise", _madvise),
}

GUEST = Suite(header="guest.h", variable="guest_suite", opening=_opening, calls=_calls)
