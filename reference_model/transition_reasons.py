# SPDX-License-Identifier: GPL-2.0-only
"""Why a kernel has no such transition: what others can show and this one cannot, and why.

Kernel functions stand in ``arch/arm64/kvm/hyp/pgtable.c`` unless another file is named.
"""

from __future__ import annotations

from reference_model.stage2_knobs import Stage2Knobs
from reference_model.transitions import Transition

_AGES = ("mkold", "is_young")
_FLAGS = ("shared", "handle_fault", "ignore_eagain")


def why_not(transition: Transition, knobs: Stage2Knobs) -> str:
    """Why a kernel with these knobs cannot show a transition that another shows; "" unknown."""
    return _lacks(transition, knobs) or _differs(transition, knobs)


def _lacks(transition: Transition, knobs: Stage2Knobs) -> str:
    """What there is not in the API, or in the table."""
    op, found = transition.op, _first(transition)
    if op == "annotate" and knobs.annotate == "none":
        return "annotate: the kernel has no owners"
    if op == "split" and not knobs.split:
        return "split: the kernel does not split eagerly"
    if op == "get_leaf" and not knobs.get_leaf:
        return "get_leaf: the kernel has no such function"
    if any(flag in _FLAGS and flag not in knobs.walk_flags for flag in transition.asked.split()):
        return "walk_flags: the kernel does not have the flag"
    if "owner" in found and knobs.annotate == "none":
        return "annotate: the kernel has no owners to be met"
    if found in ("sw", "sw+perms") and not knobs.sw_bits:
        return "sw_bits: leaves have no software bits"
    if transition.asked == "clear" and knobs.annotate == "typed":
        return "annotate: type 0 is refused, so that nothing clears an owner but unmap and map"
    if found in ("empty-table", "tables") and not knobs.pa_beyond_clears:
        return "pa_beyond_clears: no walk leaves an empty table of pages behind"
    return ""


def _differs(transition: Transition, knobs: Stage2Knobs) -> str:
    """What the same operation does otherwise."""
    op, found, outcome = transition.op, _first(transition), transition.outcome
    refused = outcome.startswith("-EAGAIN")
    if op in _AGES:
        if transition.shape == "beyond":
            return "age_whole_range: beyond the IPA space it is a WARN, which no scenario provokes"
        if not knobs.age_whole_range:
            return "age_whole_range: one leaf is looked at, by an address: no size, nothing behind"
    if op == "relax_perms" and found in ("hole", "owner"):
        return "hole_is_eagain: a hole is answered otherwise"
    if op == "annotate" and knobs.annotate != "none":
        return "annotate: numbers that are refused and owners that are equal differ"
    if op != "map":
        return ""
    if transition.asked == "pa beyond":
        return (
            "pa_beyond_clears, on_eagain: beyond the largest address is cleared, or cut and mapped"
        )
    if refused and knobs.perm_only == "replace":
        return "perm_only: a leaf in the way is replaced, never -EAGAIN"
    if found in ("same", "perms"):
        return "perm_only, on_eagain: a leaf in the way is replaced, ends the walk, or is passed"
    if found == "sw":
        return "sw_in_place: software bits are stored in place, or the leaf is broken"
    return "on_eagain: a walk without such flags does not end at -EAGAIN" if refused else ""


def _first(transition: Transition) -> str:
    return transition.found.removesuffix("+more")


#: Ways through the code that no scenario takes on any kernel, and why.
NO_SCENARIO: tuple[tuple[str, str], ...] = (
    (
        "-EAGAIN from an entry that is locked or changes under the walk"
        " (stage2_try_break_pte, stage2_try_set_pte, v6.12 and v7.2)",
        "needs a second thread on the table; one operation runs at a time",
    ),
    (
        "-EPERM from a SHARED walk (kvm_pgtable_walk_begin)",
        "at EL2 only; the table belongs to the host at EL1",
    ),
    (
        "-EINVAL from a table without a root (_kvm_pgtable_walk)",
        "after destroy, which is the last step of a scenario",
    ),
    (
        "-EINVAL from map of an address to another (KVM_PGTABLE_S2_IDMAP), NOFWB and AS_S1 tables,"
        " force_pte_cb",
        "flags of a table, which the language does not have: tables are as KVM makes them for a VM",
    ),
    (
        "-EINVAL from NORMAL_NC with DEVICE, and from PX without UX (stage2_set_prot_attr, v7.2)",
        "prot of the language names one memory type, and grants execution to EL1 and EL0 together",
    ),
    (
        "-EINVAL from relax_perms with software bits (v6.1 and later)",
        "relax_perms of the language has none",
    ),
    (
        "a root at level -1 (__kvm_pgtable_walk, v6.12 and later)",
        "KVM takes up to 16 root pages instead (kvm_get_vtcr)",
    ),
    (
        "WARN_ON() after every walk of the API and in it",
        "a kernel that warns is a finding (CRASH); what would make a sane one warn is not"
        " generated: harness/generate/pgtable_safe.py",
    ),
    (
        "the destruction of a part of a table (kvm_pgtable_stage2_destroy_range, v7.2)",
        "destroy of the language is the whole table's",
    ),
    (
        "-EINVAL from an unlinked tree for a misaligned address"
        " (kvm_pgtable_stage2_create_unlinked)",
        "reached through split only, which passes the address of a block",
    ),
)
