# SPDX-License-Identifier: GPL-2.0-only
"""Hypothesis strategies for programs of the pgtable suite, crowded around block edges."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from reference_model import scenario as sc
from reference_model.geometry import geometry
from reference_model.profiles import PROFILES, Environment, SemanticsProfile
from reference_model.stage2_knobs import Stage2Knobs

_PROTS = ["", "r", "w", "x", "rw", "rx", "rwx", "rw-device", "rx-device"]


@st.composite
def environments(draw: st.DrawFn) -> Environment:
    return Environment(
        page_shift=draw(st.sampled_from([12, 12, 14, 16])),
        ipa_limit=48,
        fwb=draw(st.booleans()),
        tlb_range=draw(st.booleans()),
    )


@st.composite
def programs(
    draw: st.DrawFn,
) -> tuple[sc.PgtableScenario, SemanticsProfile, Environment]:
    """A scenario that its profile and environment can run."""
    profile = PROFILES[draw(st.sampled_from(list(PROFILES)))]
    env = draw(environments())
    ipa_bits = draw(st.sampled_from([32, 36, 40, 43, 48]))
    step = _operations(profile.stage2, env, ipa_bits)
    steps = draw(st.lists(step, min_size=1, max_size=10))
    if draw(st.booleans()):
        steps = [copy for op in steps for copy in (op, op)]
    if draw(st.booleans()):
        steps.append(sc.Destroy())
    scenario = sc.PgtableScenario(
        schema=1,
        id="drawn",
        ipa_bits=ipa_bits,
        memcache=draw(st.sampled_from([0, 1, 2, 64, 600])),
        steps=tuple(steps),
    )
    return scenario, profile, env


def _operations(
    knobs: Stage2Knobs, env: Environment, ipa_bits: int
) -> st.SearchStrategy[sc.PgtableOp]:
    shape = geometry(env.page_shift, ipa_bits)
    page, block = shape.page_size, shape.size(2)
    limit = 1 << ipa_bits
    offset = st.sampled_from([0, page, 2 * page, 3 * page, block - page, block, block + page, 1])
    base = st.sampled_from([0, block, limit - 2 * block, limit - page])
    ipa = st.builds(lambda low, plus: low + plus, base, offset)
    size = st.sampled_from(
        [page, 2 * page, 4 * page, block, 2 * block, block - page, block + page, 0, 1, 3 * block]
    )
    prot = st.sampled_from([*_PROTS, "rw-nc"] if knobs.normal_nc else _PROTS)
    flags: st.SearchStrategy[Any] = (
        st.lists(st.sampled_from(knobs.walk_flags), unique=True, max_size=2).map(tuple)
        if knobs.walk_flags
        else st.just(())
    )
    moved = st.sampled_from([0, 0, 0, page, block, 1 << 47])
    operations: list[st.SearchStrategy[sc.PgtableOp]] = [
        st.builds(
            lambda at, length, plus, perms, bits, how: sc.Map(
                ipa=at, size=length, pa=at + plus, prot=perms, sw=bits, flags=how
            ),
            ipa,
            size,
            moved,
            prot,
            st.sampled_from([0, 0, 1, 15] if knobs.sw_bits else [0]),
            flags,
        ),
        st.builds(lambda at, length: sc.Unmap(ipa=at, size=length), ipa, size),
        st.builds(lambda at, length: sc.WrProtect(ipa=at, size=length), ipa, size),
        st.builds(
            lambda at, perms, how: sc.RelaxPerms(ipa=at, prot=perms, flags=how), ipa, prot, flags
        ),
        st.builds(lambda at: sc.MkYoung(ipa=at), ipa),
        st.builds(lambda at, length: sc.MkOld(ipa=at, size=length), ipa, size),
        st.builds(lambda at, length: sc.IsYoung(ipa=at, size=length), ipa, size),
        st.builds(lambda at, length: sc.Flush(ipa=at, size=length), ipa, size),
    ]
    if knobs.annotate != "none":
        few = st.sampled_from([page, 3 * page])
        operations.append(
            st.builds(
                lambda at, length, owner: sc.Annotate(ipa=at, size=length, owner=owner),
                ipa,
                few,
                st.sampled_from([0, 1, 2, 3]),
            )
        )
    if knobs.split:
        operations.append(
            st.builds(
                lambda at, length, pages: sc.Split(ipa=at, size=length, memcache=pages),
                ipa,
                size,
                st.sampled_from([0, 1, 2, 600]),
            )
        )
    if knobs.get_leaf:
        operations.append(st.builds(lambda at: sc.GetLeaf(ipa=at), ipa))
    return st.one_of(operations[0], operations[0], *operations)
