# SPDX-License-Identifier: GPL-2.0-only
"""Guest scenarios as hypothesis draws them: every operation, any id and any title."""

from __future__ import annotations

from hypothesis import strategies as st

from reference_model import scenario as sc

IDS = st.from_regex(r"[a-z0-9._-]{1,40}", fullmatch=True)
#: Titles that have something to do with C, and any other text.
TITLES = st.one_of(
    st.text(max_size=200),
    st.lists(
        st.sampled_from(["*/", "/*", "//", "\\", "\n", "??/", '"', "%s", "{{ 1 }}", "*", "/", " "]),
        max_size=20,
    ).map("".join),
)

_U64 = st.integers(0, (1 << 64) - 1)
_SLOT = st.integers(0, 400)
_SIZE = st.sampled_from((1, 2, 4, 8))
_GPA = st.integers(0, (1 << 48) - 1)
_FLAGS = st.lists(st.sampled_from(("log_dirty", "readonly")), max_size=3).map(tuple)
_PAGES = st.none() | st.lists(_U64, max_size=60).map(tuple)

STEPS = st.one_of(
    st.builds(sc.Read, gpa=_GPA, vcpu=st.integers(0, 15), size=_SIZE),
    st.builds(sc.Write, gpa=_GPA, vcpu=st.integers(0, 15), size=_SIZE, value=_U64),
    st.builds(sc.Exec, gpa=_GPA, vcpu=st.integers(0, 15)),
    st.builds(
        sc.SlotAdd,
        slot=_SLOT,
        gpa=_GPA,
        size=st.integers(1, 1 << 28),
        backing=st.builds(sc.Backing, prefill=st.booleans()),
        flags=_FLAGS,
    ),
    st.builds(sc.SlotFlags, slot=_SLOT, flags=_FLAGS),
    st.builds(sc.SlotMove, slot=_SLOT, gpa=_GPA),
    st.builds(sc.SlotDelete, slot=_SLOT),
    st.builds(sc.DirtyGet, slot=_SLOT),
    st.builds(sc.DirtyClear, slot=_SLOT, first_page=_U64, num_pages=st.none() | _U64, pages=_PAGES),
    st.builds(sc.HostRead, gpa=_GPA, size=_SIZE),
    st.builds(sc.HostWrite, gpa=_GPA, size=_SIZE, value=_U64),
    st.builds(sc.Madvise, gpa=_GPA, size=_U64),
)

SCENARIOS = st.builds(
    sc.GuestScenario,
    schema=st.just(1),
    id=IDS,
    title=TITLES,
    steps=st.lists(STEPS, min_size=1, max_size=12).map(tuple),
    vm=st.builds(
        sc.VmConfig,
        vcpus=st.integers(1, 16),
        ipa_bits=st.integers(32, 52),
        manual_protect=st.sampled_from((False, True, "init_set")),
    ),
)
