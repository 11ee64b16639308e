# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import pytest

from harness.kernels.debian import (
    compare_versions,
    generation_of,
    image_pattern,
    is_pinned,
    suites_of,
)
from harness.vocabulary import UsageError


@pytest.mark.parametrize(
    ("suite", "looked_at"),
    [
        ("bookworm", ("bookworm-security", "bookworm-updates", "bookworm")),
        ("sid", ("sid",)),
        ("experimental", ("experimental",)),
        ("trixie-backports", ("trixie-backports",)),
        ("bookworm-security", ("bookworm-security",)),
    ],
)
def test_suites_that_belong_together(suite: str, looked_at: tuple[str, ...]) -> None:
    assert suites_of(suite) == looked_at


@pytest.mark.parametrize(
    ("name", "flavour", "release"),
    [
        ("linux-image-5.10.0-32-cloud-arm64", "cloud-arm64", "5.10.0-32-cloud-arm64"),
        (
            "linux-image-6.1.0-0.deb11.44-cloud-arm64",
            "cloud-arm64",
            "6.1.0-0.deb11.44-cloud-arm64",
        ),
        ("linux-image-6.12.74+deb13+1-arm64-16k", "arm64-16k", "6.12.74+deb13+1-arm64-16k"),
        ("linux-image-6.12.115+deb13.1-arm64", "arm64", "6.12.115+deb13.1-arm64"),
        ("linux-image-7.3-rc4-arm64-unsigned", "arm64", "7.3-rc4-arm64"),
        ("linux-image-cloud-arm64", "cloud-arm64", None),
        ("linux-image-6.12-cloud-arm64", "cloud-arm64", None),
        ("linux-image-6.12.117+deb13-cloud-arm64", "arm64", None),
        ("linux-image-6.12.117+deb13-arm64-16k", "arm64", None),
        ("linux-image-6.12.117+deb13-arm64-dbg", "arm64", None),
    ],
)
def test_names_of_kernels(name: str, flavour: str, release: str | None) -> None:
    match = image_pattern(flavour).fullmatch(name)
    assert (match["release"] if match else None) == release


@pytest.mark.parametrize(
    ("release", "pin", "is_it"),
    [
        ("6.12.117+deb12-cloud-arm64", "6.12.117+deb12", True),
        ("6.12.117+deb12-cloud-arm64", "6.12", True),
        ("6.12.117+deb12-cloud-arm64", "6.12.11", False),
        ("6.12.117+deb12-cloud-arm64", "6.1", False),
        ("6.1.0-56-cloud-arm64", "6.1", True),
        ("6.1.0-56-cloud-arm64", "6.1.0-5", False),
        ("6.1.0-56-cloud-arm64", "6.1.0-56-cloud-arm64", True),
    ],
)
def test_a_pin_ends_where_a_number_ends(release: str, pin: str, is_it: bool) -> None:
    assert is_pinned(release, pin) is is_it


def test_generation() -> None:
    assert generation_of("6.12.117-1") == (6, 12)
    assert generation_of("1:7.3.4-1~bpo13+1") == (7, 3)
    assert generation_of("5.10.223-1") < generation_of("6.1.0")
    with pytest.raises(UsageError, match="'deb12'"):
        generation_of("deb12")


def test_versions_are_ordered_as_debian_does() -> None:
    assert compare_versions("6.12.9-1", "6.12.117-1") == -1
    assert compare_versions("7.3.4-1", "7.3.4-1~bpo13+1") == 1
    assert compare_versions("6.1.192-2", "6.1.192-2") == 0
