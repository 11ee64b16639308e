# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import pytest

from reference_model.geometry import geometry, level_shift, unsupported_ipa

#: (page shift, IPA bits, start level, root pages, minimum memcache), the semantics' table.
SHAPES = [
    (12, 32, 2, 4, 1), (12, 34, 2, 16, 1), (12, 36, 1, 1, 2), (12, 39, 1, 1, 2),
    (12, 40, 1, 2, 2), (12, 42, 1, 8, 2), (12, 43, 1, 16, 2), (12, 44, 0, 1, 3),
    (12, 48, 0, 1, 3), (12, 52, 0, 16, 3), (14, 36, 2, 1, 1), (14, 39, 2, 8, 1),
    (14, 40, 2, 16, 1), (14, 42, 1, 1, 2), (14, 47, 1, 1, 2), (14, 48, 1, 2, 2),
    (16, 40, 2, 1, 1), (16, 42, 2, 1, 1), (16, 43, 2, 2, 1), (16, 44, 2, 4, 1),
    (16, 46, 2, 16, 1), (16, 47, 1, 1, 2), (16, 48, 1, 1, 2), (16, 52, 1, 1, 2),
]  # fmt: skip


@pytest.mark.parametrize(("shift", "bits", "start", "root_pages", "cache"), SHAPES)
def test_shapes(shift: int, bits: int, start: int, root_pages: int, cache: int) -> None:
    shape = geometry(shift, bits, lpa2=bits == 52)
    assert (shape.start_level, shape.pgd_pages, shape.min_memcache) == (start, root_pages, cache)


@pytest.mark.parametrize("shift", [12, 14, 16])
@pytest.mark.parametrize("bits", range(32, 53))
def test_every_size_has_a_root_that_covers_it(shift: int, bits: int) -> None:
    shape = geometry(shift, bits, lpa2=True)
    assert 0 <= shape.start_level <= 2
    assert 1 <= shape.pgd_pages <= 16
    covered = shape.pgd_pages * shape.entries * shape.size(shape.start_level)
    assert covered >= 1 << bits


def test_block_sizes() -> None:
    assert [1 << level_shift(12, level) for level in (1, 2, 3)] == [1 << 30, 1 << 21, 1 << 12]
    assert [1 << level_shift(14, level) for level in (2, 3)] == [1 << 25, 1 << 14]
    assert [1 << level_shift(16, level) for level in (2, 3)] == [1 << 29, 1 << 16]
    assert [geometry(shift, 40).block_level for shift in (12, 14, 16)] == [1, 2, 2]


def test_output_bits() -> None:
    assert geometry(12, 40).pa_bits == geometry(14, 40).pa_bits == 48
    assert geometry(12, 40, lpa2=True).pa_bits == geometry(16, 40).pa_bits == 52
    assert geometry(16, 40, pa_52=False).pa_bits == 48


def test_unsupported_sizes_say_why() -> None:
    assert "limit of 44" in unsupported_ipa(12, 45, 44, False)
    assert "LPA2" in unsupported_ipa(12, 52, 52, False)
    assert unsupported_ipa(12, 52, 52, True) == unsupported_ipa(16, 52, 52, False) == ""
