# SPDX-License-Identifier: GPL-2.0-only
"""Knobs of the stage-2 page-table API: what differs by kernel, as data.

Each knob is one observable difference between kernel generations. Where each value comes from
(function and version) stands in :data:`reference_model.stage2_sources.KNOB_SOURCES`.

Three differences of the sources are no knobs, because one thread cannot see them: how the output
address is kept (a running counter up to v6.1, inferred from the IPA later: the same address at
every leaf a single-threaded walk can reach); whether a walk reloads an entry after TABLE_PRE; and
the bits v5.10 leaves behind in an entry that it made invalid (no walker reads them again).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

AnnotateApi = Literal["none", "owner_id", "typed"]
PermOnly = Literal["replace", "eagain"]
OnEagain = Literal["stop", "remember", "go"]


class Stage2Knobs(Struct, frozen=True, kw_only=True):
    """How one kernel generation's ``arch/arm64/kvm/hyp/pgtable.c`` behaves."""

    # --- what the API has ---
    #: Walk flags that map (and, where it takes flags, relax_perms) knows.
    walk_flags: tuple[str, ...]
    #: Leaves have software bits 58:55.
    sw_bits: bool
    #: The Normal non-cacheable memory type exists.
    normal_nc: bool
    #: 52-bit addresses with 4K and 16K pages, where the host has FEAT_LPA2.
    lpa2: bool
    #: How an invalid entry is given an owner: not at all; ``set_owner(id)`` with id 0 (clear) or
    #: 1; ``annotate(type, bits)``.
    annotate: AnnotateApi
    #: ``kvm_pgtable_stage2_split`` exists.
    split: bool
    #: ``kvm_pgtable_get_leaf`` exists.
    get_leaf: bool
    #: The cache-maintenance callbacks of ``mm_ops`` exist, so that they can be counted.
    cmo_callbacks: bool

    # --- map ---
    #: A valid leaf of the same output, of which at most permissions would change: "replace" with
    #: break-before-make (an identical one is left alone) and return 0; or -EAGAIN, unchanged.
    perm_only: PermOnly
    #: What -EAGAIN from one entry does to a map walk without flags: "stop" and return it;
    #: "remember" it, go on, return it at the end; "go" on and forget it.
    on_eagain: OnEagain
    #: A change of software bits alone is a plain store (no TLBI, no CMO) unless SHARED.
    sw_in_place: bool
    #: A physical address beyond the largest is taken as "no output": the entry is cleared, as an
    #: unmap would, and 0 is returned. Else the address is cut to the descriptor's bits.
    pa_beyond_clears: bool
    #: Replacing a table by a block invalidates that block's range where the host has range TLBI;
    #: else, and everywhere without range TLBI, the whole VMID.
    collapse_by_range: bool
    #: The instruction-cache callback is called for every invalid entry that the map walker
    #: stores as well.
    icache_on_invalid: bool
    #: An allocation from an empty memcache fails, and map returns -ENOMEM ("enomem", so in every
    #: profile); or it takes a page from elsewhere, that counts as no allocation from the cache
    #: ("atomic_page": what v5.10's own allocator does, with a WARN). The scenario language says
    #: how many pages there are, v5.10's cache cannot hold more than 40 and never runs dry; so on
    #: v5.10 the module stands in for the allocator and fails where the language says so. The
    #: other value is there for a run against the stock allocator.
    empty_cache: Literal["enomem", "atomic_page"]

    # --- the other operations ---
    #: unmap leaves out the TLBI per leaf and ends with one range TLBI, where the host has both
    #: FWB and range TLBI.
    unmap_defers_tlbi: bool
    #: An attribute walk that meets a hole: 0, or -EAGAIN (which wrprotect ignores).
    hole_is_eagain: bool
    #: relax_perms invalidates for this CPU only (``…_ipa_nsh``).
    relax_local_tlbi: bool
    #: relax_perms takes walk flags from its caller; else its walk always stops at -EAGAIN.
    relax_takes_flags: bool
    #: mkold and is_young look at every leaf of the range; else at the first page's leaf.
    age_whole_range: bool


_V5_10 = Stage2Knobs(
    walk_flags=(),
    sw_bits=False,
    normal_nc=False,
    lpa2=False,
    annotate="none",
    split=False,
    get_leaf=False,
    cmo_callbacks=False,
    perm_only="replace",
    on_eagain="stop",
    sw_in_place=False,
    pa_beyond_clears=False,
    collapse_by_range=False,
    icache_on_invalid=False,
    empty_cache="enomem",
    unmap_defers_tlbi=False,
    hole_is_eagain=False,
    relax_local_tlbi=False,
    relax_takes_flags=False,
    age_whole_range=False,
)
_V6_1 = replace(
    _V5_10,
    sw_bits=True,
    annotate="owner_id",
    get_leaf=True,
    cmo_callbacks=True,
    perm_only="eagain",
    pa_beyond_clears=True,
    icache_on_invalid=True,
)
_V6_12 = replace(
    _V6_1,
    walk_flags=("shared", "handle_fault"),
    normal_nc=True,
    lpa2=True,
    split=True,
    on_eagain="go",
    sw_in_place=True,
    collapse_by_range=True,
    icache_on_invalid=False,
    unmap_defers_tlbi=True,
    hole_is_eagain=True,
    relax_local_tlbi=True,
    age_whole_range=True,
)
_V7_2 = replace(
    _V6_12,
    walk_flags=("shared", "ignore_eagain"),
    annotate="typed",
    on_eagain="stop",
    pa_beyond_clears=False,
    relax_takes_flags=True,
)

STAGE2_KNOBS: dict[str, Stage2Knobs] = {
    "v5.10": _V5_10,
    "seed-2021": replace(_V6_1, on_eagain="remember"),
    "v6.1": _V6_1,
    "v6.12": _V6_12,
    "v7.2": _V7_2,
    "v7.3": _V7_2,
}
