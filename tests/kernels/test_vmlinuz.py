# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import contextlib
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kernels import vmlinuz
from harness.vocabulary import UsageError
from tests.kernels.samples import compressed, image, zboot

PLAIN = image()


def test_a_plain_image_is_left_alone() -> None:
    assert vmlinuz.plain_image(PLAIN, "x") is PLAIN


@pytest.mark.parametrize("compression", ["gzip", "xz"])
def test_wrappings_come_off(compression: str) -> None:
    packed = compressed(PLAIN, compression)
    assert vmlinuz.plain_image(packed, "x") == PLAIN
    assert vmlinuz.plain_image(packed + b"trailing", "x") == PLAIN
    assert vmlinuz.plain_image(zboot(packed, compression), "x") == PLAIN
    assert vmlinuz.plain_image(compressed(zboot(packed, compression), "gzip"), "x") == PLAIN


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
@pytest.mark.parametrize("name", ["zstd", "zstd22"])
def test_zstd(name: str) -> None:
    packed = subprocess.run(
        ["zstd", "-cq"], input=PLAIN, check=True, capture_output=True, timeout=30
    ).stdout
    assert vmlinuz.plain_image(zboot(packed, name), "x") == PLAIN


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no arm64 Image"),
        (b"\x7fELF" + bytes(100), "arch/arm64/boot/Image"),
        (b"MZ" + bytes(510) + b"HdrS", "no arm64 Image"),
        (b"\x1f\x8b\x08\x00damaged", "damaged gzip"),
        (zboot(b"x", "lz4"), "'lz4', which is not supported"),
    ],
)
def test_what_is_no_kernel_is_refused_by_name(data: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        vmlinuz.plain_image(data, "some/file")
    assert "some/file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nested_without_end_is_refused() -> None:
    data = PLAIN
    for _ in range(5):
        data = compressed(data, "gzip")
    with pytest.raises(UsageError):
        vmlinuz.plain_image(data, "x")


def test_release_is_the_banner_not_the_format_string() -> None:
    assert vmlinuz.release_of(image("7.2.13+deb14-cloud-arm64")) == "7.2.13+deb14-cloud-arm64"
    assert vmlinuz.release_of(b"Linux version %s (%s)") == ""


@pytest.mark.parametrize("compression", ["gzip", "xz"])
def test_a_file_cut_short_is_no_kernel(compression: str) -> None:
    packed = compressed(PLAIN, compression)
    with pytest.raises(UsageError, match="cut short"):
        vmlinuz.plain_image(packed[:-9], "x")


@given(st.binary(max_size=200))
def test_any_bytes_give_an_image_or_a_usage_error(data: bytes) -> None:
    with contextlib.suppress(UsageError):
        assert vmlinuz.plain_image(data, "x")[56:60] == b"ARM\x64"
