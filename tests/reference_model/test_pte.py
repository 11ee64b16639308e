# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import itertools

import pytest

from reference_model import pte

_VALID_PAGE_INNER = 0b11 | 0b11 << 8


def test_the_descriptor_of_a_plain_page() -> None:
    """RW, XN, young, Normal with FWB at 0x40000000, as every kernel writes it."""
    attr = pte.leaf_attr("rw", 0, True)
    assert 0x4000_0000 | attr | _VALID_PAGE_INNER == 0x0040_0000_4000_07DB
    attr = pte.leaf_attr("rwx", 0, True)
    assert 0x4000_0000 | attr | _VALID_PAGE_INNER == 0x4000_07DB


@pytest.mark.parametrize("prot", ["x-device", "rwx-device", "rx-nc"])
def test_only_normal_memory_can_be_executable(prot: str) -> None:
    assert pte.leaf_attr(prot, 0, False) == -22


@pytest.mark.parametrize("fwb", [False, True])
def test_words_are_what_was_asked_for(fwb: bool) -> None:
    letters = ["", "r", "w", "x", "rw", "rx", "wx", "rwx"]
    for prot, kind, sw in itertools.product(letters, ("", "-nc", "-device"), (0, 5, 15)):
        if "x" in prot and kind:
            continue
        attr = pte.leaf_attr(prot + kind, sw, fwb)
        assert pte.words(attr, fwb) == (prot, sw, True, kind[1:] or "normal")
        assert pte.words(attr & ~pte.AF, fwb)[2] is False


def test_letters_may_stand_in_any_order() -> None:
    assert pte.leaf_attr("xwr", 1, False) == pte.leaf_attr("rwx", 1, False)
