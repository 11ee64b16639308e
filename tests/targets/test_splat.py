# SPDX-License-Identifier: GPL-2.0-only
"""Splats in kernel logs: stored ones of 5.10 to 7.2 under QEMU, and forms by hand for the rest.

The stored logs were made by a small module that warns, oopses or hangs on demand.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.targets.splat import MAX_LINES, SplatKind, find_splats, message, worst

LOGS = Path(__file__).parent / "logs"

#: log -> (kind, title) of the splat that names the crash, and how many splats there are.
STORED = {
    "5.10-warn": (SplatKind.WARN, "WARNING at drivers/boom/boom.c:10 in boom_warn", 1),
    "5.10-brk": (SplatKind.OOPS, "Unexpected kernel BRK exception at EL1 in boom_write", 1),
    "6.1-once": (SplatKind.WARN, "WARNING at drivers/boom/boom.c:11 in boom_once", 1),
    "6.1-lockup": (SplatKind.STALL, "watchdog: BUG: soft lockup - CPU stuck", 2),
    "6.12-bug": (SplatKind.BUG, "kernel BUG at drivers/boom/boom.c:12 in boom_bug", 2),
    "6.12-null": (
        SplatKind.OOPS,
        "Unable to handle kernel NULL pointer dereference in boom_null",
        1,
    ),
    "6.12-paging": (SplatKind.OOPS, "Unable to handle kernel paging request in boom_null", 1),
    "6.12-exec": (SplatKind.OOPS, "Unable to handle kernel NULL pointer dereference", 1),
    "6.12-lockup": (SplatKind.STALL, "watchdog: BUG: soft lockup - CPU stuck", 2),
    "7.2-warn": (SplatKind.WARN, "WARNING at boom.c:10 in boom_warn", 1),
    "7.2-once": (SplatKind.WARN, "WARNING at boom.c:11 in boom_once", 1),
    "7.2-bug": (SplatKind.BUG, "kernel BUG at boom.c:12 in boom_bug", 3),
    "7.2-null": (
        SplatKind.OOPS,
        "Unable to handle kernel NULL pointer dereference in boom_null",
        1,
    ),
    "7.2-brk": (SplatKind.OOPS, "Internal error: Oops - BRK in boom_write", 1),
    "7.2-sleep": (SplatKind.OOPS, "Unable to handle kernel paging request", 3),
}

BY_HAND = {
    "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000007": SplatKind.PANIC,
    "kvm [412]: nVHE hyp panic at: [<ffff800080c1d2e4>] __kvm_nvhe_foo+0x10/0x20!": SplatKind.HYP,
    "kvm [412]: nVHE hyp BUG at: arch/arm64/kvm/hyp/nvhe/mem_protect.c:912!": SplatKind.HYP,
    "HYP panic:": SplatKind.HYP,
    "BUG: KASAN: slab-out-of-bounds in kvm_set_memory_region+0x1b4/0x200": SplatKind.SANITIZER,
    "UBSAN: shift-out-of-bounds in arch/arm64/kvm/hyp/pgtable.c:88:14": SplatKind.SANITIZER,
    "BUG: KFENCE: use-after-free read in kvm_put_kvm+0x40/0x80": SplatKind.SANITIZER,
    "WARNING: possible circular locking dependency detected": SplatKind.LOCKDEP,
    "WARNING: possible recursive locking detected": SplatKind.LOCKDEP,
    "WARNING: inconsistent lock state": SplatKind.LOCKDEP,
    "WARNING: suspicious RCU usage": SplatKind.RCU,
    "BUG: sleeping function called from invalid context at mm/slab.h:413": SplatKind.STATE,
    "BUG: Bad page state in process qemu  pfn:4a1b2": SplatKind.STATE,
    "rcu: INFO: rcu_preempt self-detected stall on CPU": SplatKind.STALL,
    "INFO: task kvm-vcpu:712 blocked for more than 120 seconds.": SplatKind.STALL,
    "WARNING: CPU: 3 PID: 1 at mm/page_alloc.c:4 __alloc_pages+0x1/0x2": SplatKind.WARN,
}

HARMLESS = (
    "random: crng init done",
    "kvm [1]: VHE mode initialized successfully",
    "sysrq: Show backtrace of all active CPUs",
    "# step {\"n\":0} WARNING: CPU: 0 PID: 1 at x y+0x",
    "Tainted: [W]=WARN, [O]=OOT_MODULE",
    " WARNING: CPU: 0 PID: 1 at x y+0x0/0x0",
    "EXT4-fs warning: something",
    "",
)  # fmt: skip


def lines_of(name: str) -> list[str]:
    return (LOGS / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize("name", STORED)
def test_stored_logs(name: str) -> None:
    kind, title, count = STORED[name]
    splats = find_splats(lines_of(name))
    named = worst(splats)
    assert named is not None
    assert (named.kind, named.title, len(splats)) == (kind, title, count)


@pytest.mark.parametrize("name", STORED)
def test_a_splat_holds_its_own_lines_whole(name: str) -> None:
    for splat in find_splats(lines_of(name)):
        text = [message(line) for line in splat.lines]
        if splat.kind in (SplatKind.WARN, SplatKind.OOPS, SplatKind.BUG):
            assert any(line.startswith("CPU: ") for line in text)
            assert text[-1].startswith("---[ end trace")
        assert sum(line.startswith("------------[ cut here") for line in text) <= 1


def test_every_stored_log_is_used() -> None:
    assert {path.stem for path in LOGS.glob("*.txt")} == {*STORED, "6.12-sysrqw"}


def test_backtraces_that_were_asked_for_are_no_splat() -> None:
    assert find_splats(lines_of("6.12-sysrqw")) == ()


@pytest.mark.parametrize("headline", BY_HAND)
def test_forms(headline: str) -> None:
    (splat,) = find_splats([f"[  113.204981][    T7] {headline}", "[  113.3] Call trace:"])
    assert splat.kind is BY_HAND[headline]


@pytest.mark.parametrize("line", HARMLESS)
def test_harmless_lines(line: str) -> None:
    assert find_splats([line]) == ()


@pytest.mark.parametrize("name", STORED)
def test_a_title_is_the_same_in_every_run(name: str) -> None:
    """No address, pid or count in it, so that two crashes can be told to be one."""
    named = worst(find_splats(lines_of(name)))
    assert named is not None
    assert not any(part in named.title for part in ("0x", "[#", "PID", "ffff"))


def test_lockdep_ends_after_its_call_trace() -> None:
    log = [
        "======================================================",
        "WARNING: possible circular locking dependency detected",
        "6.12.0 #1 Not tainted",
        "------------------------------------------------------",
        "stack backtrace:",
        "CPU: 0 UID: 0 PID: 1 Comm: x",
        "Call trace:",
        " dump_stack+0x1/0x2",
        "virtio_net: something else",
    ]
    (splat,) = find_splats(log)
    assert splat.lines == tuple(log[:-1])


def test_a_panic_that_comes_of_nothing_else_names_itself() -> None:
    warn = "WARNING: CPU: 0 PID: 9 at mm/x.c:1 f+0x1/0x2"
    panic = "Kernel panic - not syncing: "
    init = worst(find_splats([warn, panic + "Attempted to kill init!"]))
    asked = worst(find_splats([warn, panic + "kernel: panic_on_warn set ..."]))
    assert init is not None
    assert asked is not None
    assert init.title.endswith("Attempted to kill init")
    assert asked.title == "WARNING at mm/x.c:1 in f"


def test_an_endless_splat_is_cut() -> None:
    log = ["BUG: KASAN: x in y+0x1/0x2", *["more"] * (3 * MAX_LINES)]
    (splat,) = find_splats(log)
    assert len(splat.lines) == MAX_LINES


@given(st.lists(st.one_of(st.text(max_size=80), st.sampled_from([*BY_HAND, *HARMLESS]))))
def test_nothing_makes_it_raise_and_every_line_belongs_once(log: list[str]) -> None:
    splats = find_splats(log)
    kept = [line for splat in splats for line in splat.lines]
    rest = iter(log)
    assert all(line in rest for line in kept), "lines out of order, or given out twice"


@given(st.lists(st.sampled_from(sorted(STORED)), max_size=3))
def test_splats_one_after_the_other_are_all_found(names: list[str]) -> None:
    together = find_splats([line for name in names for line in lines_of(name)])
    alone = [splat for name in names for splat in find_splats(lines_of(name))]
    assert [splat.title for splat in together] == [splat.title for splat in alone]
