# SPDX-License-Identifier: GPL-2.0-only
"""Runs a pgtable scenario's steps over the stage-2 table model."""

from __future__ import annotations

import msgspec

from reference_model import pte
from reference_model import scenario as sc
from reference_model.geometry import geometry, unsupported_ipa
from reference_model.outcome import Observation, Prediction, StepPrediction
from reference_model.pgtable_attr import (
    get_leaf,
    stage2_age,
    stage2_flush,
    stage2_mkyoung,
    stage2_relax_perms,
    stage2_wrprotect,
)
from reference_model.pgtable_map import stage2_annotate, stage2_map
from reference_model.pgtable_runs import Runs
from reference_model.pgtable_split import stage2_split
from reference_model.pgtable_state import Stage2
from reference_model.pgtable_unmap import stage2_destroy, stage2_unmap
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import PgtableOp, PgtableScenario
from reference_model.stage2_knobs import Stage2Knobs

_MAX_U8 = 0xFF


def predict_pgtable(
    scenario: PgtableScenario, profile: SemanticsProfile, env: Environment
) -> Prediction:
    """What ``profile`` allows on a host ``env``, step by step, or the reason it cannot run.

    Single-threaded calls on a private table are deterministic: one observation per step.
    """
    reason = skip_reason(scenario, profile, env)
    if reason:
        return Prediction(id=scenario.id, profile=profile.name, skip=reason)
    machine = Stage2Machine(scenario.ipa_bits, scenario.memcache, profile.stage2, env)
    steps = tuple(StepPrediction((machine.step(op),)) for op in scenario.steps)
    return Prediction(id=scenario.id, profile=profile.name, steps=steps)


class Stage2Machine:
    """A private table under one profile, driven operation by operation.

    ``state`` may be looked at between steps (:meth:`Stage2.lookup`), never changed. The caller
    has made sure with :func:`skip_reason` that the kernel has what the operations need.
    """

    def __init__(
        self, ipa_bits: int, memcache: int | None, knobs: Stage2Knobs, env: Environment
    ) -> None:
        shape = geometry(
            env.page_shift,
            ipa_bits,
            lpa2=env.lpa2 and knobs.lpa2,
            # Where nothing is checked, the descriptor's bits are the limit, and 64K pages have 52.
            pa_52=env.pa_52 or not knobs.pa_beyond_clears,
        )
        self.state = Stage2(shape, knobs, fwb=env.fwb, tlb_range=env.tlb_range)
        self.memcache = memcache
        self._runs = Runs(env.fwb)

    def step(self, op: PgtableOp) -> Observation:
        """Performs one operation and says everything that can be seen of it."""
        memcache = getattr(op, "memcache", msgspec.UNSET)
        state = self.state
        state.begin(self.memcache if memcache is msgspec.UNSET else memcache)
        ret = _perform(state, op)
        self._runs.refresh(*state.window)
        seen_cmo = state.knobs.cmo_callbacks
        return Observation(
            ret=ret,
            leaves=self._runs.leaves,
            annotations=self._runs.annotations,
            tables=state.tables,
            alloc=state.alloc,
            refcounts="ok",
            cmo={"dcache": state.dcache, "icache": state.icache} if seen_cmo else msgspec.UNSET,
            cmo_pages=(
                {"dcache": state.dcache_pages, "icache": state.icache_pages}
                if seen_cmo
                else msgspec.UNSET
            ),
            tlbi={
                "ipa": state.tlbi_ipa,
                "ipa_nsh": state.tlbi_ipa_nsh,
                "vmid": state.tlbi_vmid,
                "range": state.tlbi_range,
            },
        )


def _perform(state: Stage2, op: PgtableOp) -> int:  # noqa: PLR0912 - one line per operation
    """Calls the operation; what it returns is the step's ``ret``."""
    match op:
        case sc.Map():
            attr = pte.leaf_attr(op.prot, op.sw, state.fwb)
            if attr < 0:
                return attr
            return stage2_map(state, op, attr)
        case sc.Unmap():
            return stage2_unmap(state, op.ipa, op.size)
        case sc.WrProtect():
            return stage2_wrprotect(state, op.ipa, op.size)
        case sc.RelaxPerms():
            return stage2_relax_perms(state, op.ipa, op.prot, op.flags)
        case sc.MkYoung():
            return stage2_mkyoung(state, op.ipa)
        case sc.MkOld():
            return stage2_age(state, op.ipa, op.size, mkold=True)
        case sc.IsYoung():
            return stage2_age(state, op.ipa, op.size, mkold=False)
        case sc.Flush():
            return stage2_flush(state, op.ipa, op.size)
        case sc.Annotate():
            return stage2_annotate(state, op)
        case sc.Split():
            return stage2_split(state, op.ipa, op.size)
        case sc.GetLeaf():
            return get_leaf(state, op.ipa)
        case sc.Destroy():
            return stage2_destroy(state)


def skip_reason(scenario: PgtableScenario, profile: SemanticsProfile, env: Environment) -> str:
    """Why a scenario cannot run on this kernel and host, or ""."""
    unmet = env.unmet(scenario.env)
    if unmet:
        return unmet
    if scenario.granule is not None and scenario.granule != env.granule:
        return f"needs {scenario.granule} pages, the target has {env.granule}"
    lpa2 = env.lpa2 and profile.stage2.lpa2
    unsupported = unsupported_ipa(env.page_shift, scenario.ipa_bits, env.ipa_limit, lpa2)
    if unsupported:
        return unsupported
    for index, op in enumerate(scenario.steps):
        lacking = _lacking(op, profile.stage2, scenario.memcache)
        if lacking:
            return f"step {index} ({op.name}): {lacking} ({profile.name})"
    return ""


def _lacking(op: PgtableOp, knobs: Stage2Knobs, memcache: int | None) -> str:
    """What a kernel lacks for one operation, or ""."""
    match op:
        case sc.Map() | sc.RelaxPerms():
            return _lacking_for_leaf(op, knobs)
        case sc.Annotate() if knobs.annotate == "none":
            return "the kernel has no owner annotations"
        case sc.Annotate() if knobs.annotate == "owner_id" and op.owner > _MAX_U8:
            return f"owner {op.owner:#x} does not fit the kernel's 8-bit owner id"
        case sc.Split() if not knobs.split:
            return "the kernel has no kvm_pgtable_stage2_split"
        case sc.Split() if (memcache if op.memcache is msgspec.UNSET else op.memcache) is None:
            return "kvm_pgtable_stage2_split reads its cache; give it a memcache"
        case sc.GetLeaf() if not knobs.get_leaf:
            return "the kernel has no kvm_pgtable_get_leaf"
    return ""


def _lacking_for_leaf(op: sc.Map | sc.RelaxPerms, knobs: Stage2Knobs) -> str:
    for flag in op.flags:
        if flag not in knobs.walk_flags:
            return f"the kernel has no walk flag '{flag}'"
    if not knobs.normal_nc and op.prot.endswith("-nc"):
        return "the kernel has no Normal non-cacheable stage-2 memory"
    if isinstance(op, sc.Map) and op.sw and not knobs.sw_bits:
        return "the kernel has no software bits in its leaves"
    return ""
