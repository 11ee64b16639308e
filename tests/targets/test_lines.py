# SPDX-License-Identifier: GPL-2.0-only
"""Lines out of bytes, however they are cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from harness.targets.kmsg import KmsgReader
from harness.targets.lines import LineBuffer


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_the_pieces_do_not_matter(data: bytes, cuts: list[int]) -> None:
    whole = LineBuffer()
    expected = [*whole.feed(data), *whole.rest()]
    buffer = LineBuffer()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    lines = []
    for begin, end in itertools.pairwise(places):
        lines += buffer.feed(data[begin:end])
    assert [*lines, *buffer.rest()] == expected


def test_line_ends_and_bad_bytes() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b"a\r\n\nb\xff\nrest") == ["a", "", "b\ufffd"]
    assert buffer.rest() == ["rest"]
    assert buffer.rest() == []


def test_a_line_without_end_is_cut() -> None:
    buffer = LineBuffer(max_line=10)
    assert buffer.feed(b"x" * 8) == []
    assert buffer.feed(b"x" * 8) == ["x" * 16]
    assert buffer.feed(b"y\n") == ["y"]


def test_kmsg_records_are_given_once_with_their_time() -> None:
    reader = KmsgReader()
    assert reader.line("4,120,5140900,-;kvm: WARNING\\x09x") == "[    5.140900] kvm: WARNING\tx"
    assert reader.line(" SUBSYSTEM=net") is None
    assert reader.line("4,120,5140900,-;again") is None
    assert reader.line("12,121,123456789012,c,caller=T1;a;b") == "[123456.789012] a;b"
    assert reader.line("garbage") is None
