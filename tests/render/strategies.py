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

_VCPU = st.integers(0, 15)
_FORM = st.sampled_from(("plain", "pair", "writeback", "simd"))
_TABLES = st.none() | _GPA
_RANGE = {"gpa": _GPA, "size": _U64}
_BACKING = st.builds(
    sc.Backing,
    kind=st.sampled_from(("anon", "shmem", "memfd", "hugetlb", "zero", "file_ro", "device")),
    thp=st.sampled_from(("never", "madvise", "always")),
    prefill=st.booleans(),
    page_size=st.none() | st.sampled_from((1 << 16, 1 << 21, 1 << 25, 1 << 30)),
    offset=_U64,
)

_GUEST = st.one_of(
    st.builds(sc.Read, gpa=_GPA, vcpu=_VCPU, size=_SIZE, form=_FORM, tables=_TABLES),
    st.builds(sc.Write, gpa=_GPA, vcpu=_VCPU, size=_SIZE, value=_U64, form=_FORM, tables=_TABLES),
    st.builds(sc.Exec, gpa=_GPA, vcpu=_VCPU, tables=_TABLES),
    st.builds(sc.Cas, gpa=_GPA, vcpu=_VCPU, size=_SIZE, expected=_U64, value=_U64),
    st.builds(sc.DcZva, gpa=_GPA, vcpu=_VCPU, size=st.sampled_from((512, 1024, 2048))),
    st.builds(sc.DcCivac, gpa=_GPA, vcpu=_VCPU),
    st.builds(sc.At, gpa=_GPA, vcpu=_VCPU, write=st.booleans(), tables=_TABLES),
)
_HOST = st.one_of(
    st.builds(sc.Stage1Tables, gpa=_GPA, af=st.booleans()),
    st.builds(
        sc.Madvise,
        **_RANGE,
        advice=st.sampled_from(
            ("dontneed", "pageout", "hugepage", "nohugepage", "collapse", "free")
        ),
    ),
    st.builds(sc.Mprotect, **_RANGE, prot=st.sampled_from(("none", "r", "rw"))),
    st.builds(sc.Remap, **_RANGE, to=st.sampled_from(("fresh", "none"))),
    st.builds(sc.Age, **_RANGE),
    st.builds(sc.PunchHole, **_RANGE),
    st.builds(sc.ForkTouch, **_RANGE),
    st.builds(
        sc.UffdRegister,
        **_RANGE,
        mode=st.lists(st.sampled_from(("missing", "minor", "wp")), max_size=4).map(tuple),
    ),
    st.builds(sc.UffdCopy, **_RANGE, value=_U64),
    st.builds(sc.UffdZero, **_RANGE),
    st.builds(sc.UffdContinue, **_RANGE),
    st.builds(sc.UffdWp, **_RANGE, protect=st.booleans()),
)

STEPS = st.one_of(
    _GUEST,
    _HOST,
    st.builds(sc.RingReset, count=st.none() | _U64),
    st.builds(
        sc.SlotAdd,
        slot=_SLOT,
        gpa=_GPA,
        size=st.integers(1, 1 << 28),
        backing=_BACKING,
        flags=_FLAGS,
    ),
    st.builds(sc.SlotFlags, slot=_SLOT, flags=_FLAGS),
    st.builds(sc.SlotMove, slot=_SLOT, gpa=_GPA),
    st.builds(sc.SlotDelete, slot=_SLOT),
    st.builds(sc.DirtyGet, slot=_SLOT),
    st.builds(sc.DirtyClear, slot=_SLOT, first_page=_U64, num_pages=st.none() | _U64, pages=_PAGES),
    st.builds(sc.HostRead, gpa=_GPA, size=_SIZE),
    st.builds(sc.HostWrite, gpa=_GPA, size=_SIZE, value=_U64),
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
        dirty_ring=st.integers(0, 65536),
        ring_bitmap=st.booleans(),
        eager_split=_U64,
        nisv_to_user=st.booleans(),
        stage1=st.booleans(),
    ),
)
