# SPDX-License-Identifier: GPL-2.0-only
"""Small blocks, made by hand and at random, for the tests of the search."""

from __future__ import annotations

from hypothesis import strategies as st

from reference_model.interleave import BlockEnd, block_ends
from reference_model.interleave_block import (
    HOST_ANON,
    HOST_NONE,
    HOST_ZERO,
    NO_ACCESS,
    NO_WRITE,
    PRESENT,
    WRITABLE,
    Access,
    Block,
    BranchOp,
    ClearLog,
    Evict,
    GetLog,
    PageRef,
    Protect,
    SetLogging,
    SlotRef,
    WordRef,
    Zap,
)
from reference_model.interleave_knobs import RACE_KNOBS, RaceKnobs

U64 = (1 << 64) - 1
PAGE = 0x1000
GET = GetLog(0, (0,))


def write(value: int, page: int = 0, word: int | None = None) -> Access:
    return Access("w", page, page if word is None else word, 0, U64, value)


def read(page: int = 0, word: int | None = None) -> Access:
    return Access("r", page, page if word is None else word, 0, U64)


def block(
    *lanes: tuple[BranchOp, ...],
    knobs: RaceKnobs = RACE_KNOBS["v6.12"],
    pages: tuple[int, ...] = (HOST_ANON,),
    words: tuple[WordRef, ...] | None = None,
    dirty: int = 0,
    manual: bool = False,
    init_set: bool = False,
) -> Block:
    """Branches over pages of one slot, each with one word unless said otherwise."""
    words = words or tuple(WordRef(PAGE * at, at) for at in range(len(pages)))
    return Block(
        knobs=knobs,
        dic=False,
        pages=tuple(PageRef(0, at) for at in range(len(pages))),
        words=words,
        slots=(SlotRef(1, 16, manual, init_set),),
        lanes=lanes,
        start=(pages, (0,) * len(words), (dirty,)),
    )


def told(end: BlockEnd) -> str:
    """What can be told of an end from outside: observations, words, dirty bitmaps."""
    return repr((end.branches, end.state[1], end.state[2]))


def everything(made: Block, *, reduced: bool = True) -> set[str]:
    return {told(end) for end in block_ends(made, reduce=reduced)}


def _operations(pages: int) -> st.SearchStrategy[BranchOp]:
    page = st.integers(0, pages - 1)
    value = st.integers(1, 4)
    return st.one_of(
        st.builds(write, value, page),
        st.builds(read, page),
        st.just(GET),
        st.builds(ClearLog, st.just(0), st.sampled_from((1, 2, 3))),
        st.builds(SetLogging, st.just(0), st.booleans()),
        st.builds(Zap, st.sets(page, min_size=1).map(lambda some: tuple(sorted(some)))),
        st.builds(Protect, page.map(lambda one: (one,)), st.sampled_from((0, NO_WRITE, NO_ACCESS))),
        st.builds(Evict, page.map(lambda one: (one,))),
        st.builds(
            lambda kind, at, what: Access(kind, at, at, 0, U64, what, host=True),
            st.sampled_from("rw"),
            page,
            value,
        ),
    )


_HOST = (HOST_ANON, HOST_NONE, HOST_ZERO, HOST_ANON | PRESENT, HOST_ZERO | PRESENT)
_WRITABLE = HOST_ANON | PRESENT | WRITABLE


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Two or three branches of one or two operations on one or two pages, any kernel."""
    count = draw(st.integers(1, 2))
    operation = _operations(count)
    lanes = draw(
        st.lists(st.lists(operation, min_size=1, max_size=2).map(tuple), min_size=2, max_size=3)
    )
    pages = tuple(draw(st.sampled_from((*_HOST, _WRITABLE))) for _ in range(count))
    dirty = draw(st.sampled_from((-1, 0, 1)))
    if dirty >= 0:
        # A writable leaf of a logged page has its bit set.
        dirty |= sum(1 << at for at, page in enumerate(pages) if page & WRITABLE)
    manual = draw(st.booleans())
    return block(
        *lanes,
        knobs=draw(st.sampled_from(list(RACE_KNOBS.values()))),
        pages=pages,
        dirty=dirty,
        manual=manual,
        init_set=manual and draw(st.booleans()),
    )
