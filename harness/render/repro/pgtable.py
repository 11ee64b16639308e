# SPDX-License-Identifier: GPL-2.0-only
"""A pgtable scenario as a kernel module in one file: calls of the kernel's own functions.

The module has its own allocator callbacks, as kernels have taken them since before 6.1, and reads
the table's memory after each step. Its calls are written for the kernel it was found on: where the
API changed within a profile, the C asks for the version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, Struct

from harness.render.repro.words import leaf_words, owner_words
from harness.render.text import WIDTH, columns, comment_text
from harness.vocabulary import Finding, UsageError
from reference_model import scenario as sc
from reference_model.describe import describe, errno_name
from reference_model.outcome import AnnotationRun, LeafRun, Observation, Prediction
from reference_model.profiles import (
    PROFILES,
    Environment,
    SemanticsProfile,
    profile_for_release,
)

#: Channels that the module reads; TLB invalidations and counts of references it does not.
READABLE = ("ret", "leaves", "annotations", "tables", "alloc", "cmo")

_LETTERS = {"r": "KVM_PGTABLE_PROT_R", "w": "KVM_PGTABLE_PROT_W", "x": "KVM_PGTABLE_PROT_X"}
_TYPES = {"device": "KVM_PGTABLE_PROT_DEVICE", "nc": "KVM_PGTABLE_PROT_NORMAL_NC"}
_FLAGS = {
    "shared": "KVM_PGTABLE_WALK_SHARED",
    "handle_fault": "KVM_PGTABLE_WALK_HANDLE_FAULT",
    "ignore_eagain": "KVM_PGTABLE_WALK_IGNORE_EAGAIN",
}
_OLDEST = (6, 1)
_MOST_RUNS = 400

_NEEDS = (
    "A kernel module of its own, for the kernel it was found on: {release}.",
    "It calls the page-table code on a table of its own, with made-up addresses that are",
    "never touched. In a folder of its own, with the headers of that kernel installed:",
    "",
    "  echo 'obj-m := {name}.o' > Kbuild",
    "  make -C /lib/modules/$(uname -r)/build M=$PWD modules",
    "  insmod ./{name}.ko; dmesg      KTAP in the log; insmod fails (EINVAL) if a step does",
    "  rmmod {name}",
    "",
    "Without VHE, kernels before 6.12 answer at EL2 only while a VM is open.",
)


class _Api(Struct, frozen=True, kw_only=True):
    """How one kernel generation's functions are called."""

    walk_flags: bool
    test_clear_young: bool
    typed: bool
    unlinked: bool
    split_cache: bool
    vtcr: str


def pgtable_values(
    finding: Finding, scenario: sc.PgtableScenario, prediction: Prediction
) -> dict[str, Any]:
    """What the template is given; UsageError as :func:`harness.render.repro.render_repro`."""
    env = Environment.parse((finding.target.env | finding.env).items())
    profile = _profile(finding)
    api = _api(finding, profile)
    functions: set[str] = set()
    steps = []
    for index, op in enumerate(scenario.steps):
        lines = _call(op, scenario, api, functions)
        for line in _expectations(prediction.steps[index].allowed):
            lines += line
        title = comment_text(f"{index}: {describe(op)}").replace("\\", "").replace('"', "'")
        steps.append({"title": title, "lines": lines})
    functions.discard("destroy")
    lpa2 = env.lpa2 and profile.stage2.lpa2
    release = finding.target.release or finding.target.name
    return {
        "needs": [line.replace("{release}", release) for line in _NEEDS],
        "steps": steps,
        "functions": sorted(functions),
        "ipa_bits": scenario.ipa_bits,
        "page_shift": env.page_shift,
        "pa_bits": 52 if lpa2 or env.page_shift == 16 else 48,
        "lpa2": lpa2,
        "fwb": env.fwb,
        "has_unlinked": api.unlinked,
        "has_split_cache": api.split_cache,
        "vtcr": api.vtcr,
        "description": comment_text(scenario.id),
    }


def _profile(finding: Finding) -> SemanticsProfile:
    try:
        return profile_for_release(finding.target.release).profile
    except ValueError:
        return PROFILES[finding.profile]


def _api(finding: Finding, profile: SemanticsProfile) -> _Api:
    if profile.since is None or profile.since < _OLDEST:
        raise UsageError(
            f"{finding.short_id}: {finding.target.release} has page-table code without callbacks: "
            "a module would let it maintain the caches of memory that is not there; "
            f"run it with: harness replay {finding.short_id}"
        )
    knobs = profile.stage2
    newer = knobs.split
    return _Api(
        walk_flags=bool(knobs.walk_flags),
        test_clear_young=knobs.age_whole_range,
        typed=knobs.annotate == "typed",
        unlinked=newer,
        split_cache=newer,
        vtcr="mmu->vtcr" if newer else "vm->arch.vtcr",
    )


# --- calls ---------------------------------------------------------------------------------------


def _call(
    op: sc.PgtableOp, scenario: sc.PgtableScenario, api: _Api, functions: set[str]
) -> list[str]:
    function, arguments, relaxed = _arguments(op, scenario, api)
    functions.add(function)
    called = f"kernel.{function}("
    match op:
        case sc.Destroy():
            return [f"{called}&pgt);", "ret = 0;", "look();"]
        case sc.GetLeaf():
            lines = ["{", "\tkvm_pte_t pte;", f"\t{_level_type(api)} level;", ""]
            lines += ["\t" + line for line in _wrapped(f"ret = {called}", arguments)]
            return [*lines, "}", "look();"]
        case sc.MkYoung():
            lines = _versioned(called, arguments, relaxed)
            return [*lines, "ret = 0;", "look();"]
        case sc.MkOld() if not api.test_clear_young:
            return [f"ret = !!({called}{', '.join(arguments)}) & BIT(10));", "look();"]
        case sc.RelaxPerms():
            return [*_versioned(f"ret = {called}", arguments, relaxed), "look();"]
        case _:
            return [*_wrapped(f"ret = {called}", arguments), "look();"]


def _level_type(api: _Api) -> str:
    return "s8" if api.unlinked else "u32"


def _versioned(start: str, arguments: Sequence[str], flags: str) -> list[str]:
    """6.14 gave these functions walk flags."""
    return [
        "#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)",
        *_wrapped(start, [*arguments, flags]),
        "#else",
        *_wrapped(start, arguments),
        "#endif",
    ]


def _arguments(
    op: sc.PgtableOp, scenario: sc.PgtableScenario, api: _Api
) -> tuple[str, list[str], str]:
    """The function, its arguments, and the walk flags of functions that got them later."""
    pgt = "&pgt"
    at = [pgt, f"{getattr(op, 'ipa', 0):#x}"]
    size = f"{getattr(op, 'size', 0):#x}"
    match op:
        case sc.Map():
            pages = scenario.memcache if op.memcache is UNSET else op.memcache
            more = [_walk_flags(op.flags)] if api.walk_flags else []
            prot = _prot(op.prot, op.sw)
            return "map", [*at, size, f"{op.pa:#x}", prot, _cache(pages), *more], ""
        case sc.RelaxPerms():
            return "relax_perms", [*at, _prot(op.prot, 0)], _walk_flags(op.flags)
        case sc.MkYoung():
            return "mkyoung", at, "0"
        case sc.MkOld() | sc.IsYoung():
            old = isinstance(op, sc.MkOld)
            if api.test_clear_young:
                return "test_clear_young", [*at, size, "true" if old else "false"], ""
            return ("mkold" if old else "is_young"), at, ""
        case sc.Annotate():
            cache = _cache(scenario.memcache)
            if api.typed:
                kind, bits = f"{op.owner & 0xF:#x}", f"{op.owner & ~0xF:#x}"
                return "annotate", [*at, size, cache, kind, bits], ""
            return "set_owner", [*at, size, cache, f"{op.owner:#x}"], ""
        case sc.Split():
            pages = scenario.memcache if op.memcache is UNSET else op.memcache
            return "split", [*at, size, _cache(pages)], ""
        case sc.GetLeaf():
            return "get_leaf", [*at, "&pte", "&level"], ""
        case sc.Destroy():
            return "destroy", [pgt], ""
        case _:
            return op.name, [*at, size], ""


def _cache(pages: int | Any | None) -> str:
    return "cache_of(NO_CACHE)" if pages is None else f"cache_of({pages})"


def _prot(text: str, sw: int) -> str:
    letters, _, kind = text.partition("-")
    words = [name for letter, name in _LETTERS.items() if letter in letters]
    words += [_TYPES[kind]] if kind else []
    words += [f"KVM_PGTABLE_PROT_SW{bit}" for bit in range(4) if sw >> bit & 1]
    return " | ".join(words) or "0"


def _walk_flags(flags: Sequence[str]) -> str:
    return " | ".join(dict.fromkeys(_FLAGS[flag] for flag in flags)) or "0"


def _wrapped(start: str, arguments: Sequence[str]) -> list[str]:
    lines = [start]
    for number, argument in enumerate(arguments):
        piece = argument + (");" if number == len(arguments) - 1 else ",")
        if columns("\t" + lines[-1] + " " + piece) > WIDTH:
            lines.append("\t\t" + piece)
        else:
            lines[-1] += piece if lines[-1].endswith("(") else f" {piece}"
    return lines


# --- expectations --------------------------------------------------------------------------------


def _expectations(allowed: Sequence[Observation]) -> list[list[str]]:
    """Assertions; suite pgtable has one allowed observation a step."""
    said = allowed[0]
    out: list[list[str]] = []
    for channel in READABLE:
        value = getattr(said, channel)
        if value is not UNSET:
            out.append(_ASSERTIONS[channel](value))
    return out


def _ret(value: int) -> list[str]:
    return [f'expect("ret", ret, {errno_name(value) if value < 0 else value});']


def _number(variable: str, words: str) -> Callable[[int], list[str]]:
    return lambda value: [f'expect("{words}", {variable}, {value});']


def _cmo(value: dict[str, int]) -> list[str]:
    return [
        f'expect("calls of dcache_clean_inval_poc", dcache_calls, {value.get("dcache", 0)});',
        f'expect("calls of icache_inval_pou", icache_calls, {value.get("icache", 0)});',
    ]


def _leaves(runs: Sequence[LeafRun]) -> list[str]:
    return _text("expect_leaves", [leaf_words(run) for run in runs])


def _owners(runs: Sequence[AnnotationRun]) -> list[str]:
    return _text("expect_owners", [owner_words(run) for run in runs])


def _text(macro: str, lines: Sequence[str]) -> list[str]:
    if len(lines) > _MOST_RUNS:
        return [f"/* {len(lines)} runs: too many to list */"]
    if not lines:
        return [f"{macro}();"]
    quoted = [f'"{line}\\n"' for line in lines]
    if len(quoted) == 1 and columns(f"\t{macro}({quoted[0]});") <= WIDTH:
        return [f"{macro}({quoted[0]});"]
    return [f"{macro}(", *(f"\t{line}" for line in quoted[:-1]), f"\t{quoted[-1]});"]


_ASSERTIONS: dict[str, Callable[[Any], list[str]]] = {
    "ret": _ret,
    "leaves": _leaves,
    "annotations": _owners,
    "tables": _number("tables", "table pages below the root"),
    "alloc": _number("pages_taken", "pages taken from the cache"),
    "cmo": _cmo,
}
