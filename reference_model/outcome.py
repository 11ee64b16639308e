# SPDX-License-Identifier: GPL-2.0-only
"""What a step can show, channel by channel; what the model allows; what a kernel did.

An :class:`Observation` has one field per channel. A channel that was not read, or of which the
model says nothing, is ``UNSET`` and absent from JSON: it is not compared, never matched.

Observations are many and hold no cycle: ``gc=False`` spares the collector much of a
prediction's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

#: ``[ipa, size, pa, prot, sw, af, attr, count]``: count leaves of size bytes, contiguous in IPA
#: and PA, all else equal. Bytes; prot a subset of "rwx"; attr "normal", "nc" or "device".
LeafRun: TypeAlias = tuple[int, int, int, str, int, bool, str, int]
#: ``[ipa, size, value, count]``: invalid entries that carry an owner or a type.
AnnotationRun: TypeAlias = tuple[int, int, int, int]


class Observation(
    Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """One step, as far as it was seen (or is predicted)."""

    #: 0 or the negative errno; the value where the operation returns one.
    ret: int | UnsetType = UNSET
    #: pgtable; and of a live VM, where pa and sw are 0 and what the runtime keeps for itself is
    #: left out.
    leaves: tuple[LeafRun, ...] | UnsetType = UNSET
    annotations: tuple[AnnotationRun, ...] | UnsetType = UNSET
    tables: int | UnsetType = UNSET
    alloc: int | UnsetType = UNSET
    #: "ok", or a tuple of [ipa, level, count, expected] of tables whose count is wrong.
    refcounts: str | tuple[tuple[int, int, int, int], ...] | UnsetType = UNSET
    cmo: dict[str, int] | UnsetType = UNSET
    #: What these calls were given, in pages.
    cmo_pages: dict[str, int] | UnsetType = UNSET
    tlbi: dict[str, int] | UnsetType = UNSET
    # guest
    #: None: the vCPU went on without an exit to userspace; else ``{"reason": …, …}``.
    exit: dict[str, Any] | UnsetType | None = UNSET
    #: The value a load, an exec or a host read returned.
    data: int | UnsetType | None = UNSET
    #: Ascending page offsets in the slot.
    dirty: tuple[int, ...] | UnsetType = UNSET
    #: kvm_guest_fault events of the step, on guest physical addresses of the scenario.
    faults: int | UnsetType = UNSET
    #: Calls of the page-table API from the fault path: ["map", ipa, size, prot, ret] or
    #: ["relax", ipa, prot, ret].
    maps: tuple[tuple[Any, ...], ...] | UnsetType = UNSET
    #: Guest physical addresses of mark_page_dirty_in_slot calls by the fault path, in order.
    marks: tuple[int, ...] | UnsetType = UNSET
    #: Ranges of which a step on slots, the dirty log or page ages asked to flush TLB entries
    #: (kvm_arch_flush_remote_tlbs_range, since 6.6): [ipa, size], in order.
    flushes: tuple[tuple[int, int], ...] | UnsetType = UNSET
    #: Harvested dirty-ring entries: [vcpu, slot, page offset], vCPUs ascending, each ring's order.
    ring: tuple[tuple[int, int, int], ...] | UnsetType = UNSET
    #: An abort that the guest's own vector saw: ``{"ec": …, "fsc": …, "far": …}``; None: none.
    injected: dict[str, Any] | UnsetType | None = UNSET
    #: What the step added to counters of KVM's own (KVM_GET_STATS_FD), by their names: of a vCPU's
    #: step its exits for MMIO, but the doorbell's; of a step on slots, the dirty log or page ages
    #: the TLB flushes of the whole VM that were asked for.
    stats: dict[str, int] | UnsetType = UNSET
    # race: a parallel block
    #: One allowed outcome of a repeat.
    outcome: Outcome | UnsetType = UNSET
    #: Observed: [times, outcome], each outcome once, in the order of their first coming.
    histogram: tuple[tuple[int, Outcome], ...] | UnsetType = UNSET
    #: Observed, over all repeats: name of a count of the fault path -> [times, count] pairs.
    counts: dict[str, tuple[tuple[int, int], ...]] | UnsetType = UNSET


class After(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a repeat of a block left behind, read when all its branches were done.

    ``dirty``: slot id -> page offsets in its dirty log, for slots that have one. ``memory``:
    [gpa, 8 bytes as a number] of each aligned 8 bytes that the block's accesses touch, ascending.
    """

    dirty: dict[str, tuple[int, ...]] = {}
    memory: tuple[tuple[int, int], ...] = ()


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One repeat of a parallel block: per branch, what each of its operations showed.

    ``after`` is UNSET where it was not read: after the last repeat, from which the scenario goes
    on.
    """

    branches: tuple[tuple[Observation, ...], ...]
    after: After | UnsetType = UNSET


CHANNELS: tuple[str, ...] = Observation.__struct_fields__


class StepPrediction(Struct, frozen=True, omit_defaults=True, gc=False):
    """The set of allowed observations of one step; a deterministic step has one.

    ``counts``: of a parallel block, the values that each count may have in one turn; empty where
    they are not predicted.
    """

    allowed: tuple[Observation, ...]
    counts: dict[str, tuple[int, ...]] = {}


class Prediction(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a profile and an environment allow for a scenario, or why it cannot run there."""

    id: str
    profile: str
    steps: tuple[StepPrediction, ...] = ()
    skip: str = ""


def to_json(prediction: Prediction) -> dict[str, Any]:
    """The prediction in the form ``harness predict --json`` prints."""
    head: dict[str, Any] = {"id": prediction.id, "profile": prediction.profile}
    if prediction.skip:
        return head | {"skip": prediction.skip}
    return head | {"steps": msgspec.to_builtins(prediction.steps)}


def json_pieces(prediction: Prediction) -> Iterator[bytes]:
    """The same as JSON text, a step at a time: a table of many leaves is in each step's.

    Ten thousand steps over ten thousand leaves are two GiB of text, and little memory this way.
    """
    encode = msgspec.json.Encoder().encode
    if prediction.skip:
        yield encode(to_json(prediction))
        return
    yield b'{"id":%s,"profile":%s,"steps":[' % (encode(prediction.id), encode(prediction.profile))
    for index, step in enumerate(prediction.steps):
        yield (b"," if index else b"") + encode(step)
    yield b"]}"
