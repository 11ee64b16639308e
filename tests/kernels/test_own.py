# SPDX-License-Identifier: GPL-2.0-only
"""Folders of kernels that were built on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.kernels import build_of, installed_build, kernel_build, own, parse_spec
from harness.vocabulary import TREE_IMAGE, KernelBuild, UsageError

RELEASE = "6.12.117-series+"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "linux"
    for name, text in (
        ("include/config/kernel.release", f"{RELEASE}\n"),
        ("Makefile", "all:\n"),
        (TREE_IMAGE, "image"),
    ):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    return made


def test_a_build_is_known_by_its_release(folder: Path) -> None:
    assert kernel_build(folder) == KernelBuild(release=RELEASE, folder=str(folder))


@pytest.mark.parametrize("gone", ["include/config/kernel.release", "Makefile"])
def test_a_folder_without_a_build_is_refused(folder: Path, gone: str) -> None:
    (folder / gone).unlink()
    with pytest.raises(UsageError, match="modules_prepare"):
        kernel_build(folder)
    assert build_of(parse_spec(f"tree:{folder}")) is None


def test_a_tree_and_the_image_in_it_are_of_one_build(folder: Path, tmp_path: Path) -> None:
    build = kernel_build(folder)
    assert build_of(parse_spec(f"tree:{folder}")) == build
    assert build_of(parse_spec(f"image:{folder}/{TREE_IMAGE}")) == build
    link = tmp_path / "link"
    link.symlink_to(folder / TREE_IMAGE)
    assert build_of(parse_spec(f"image:{link}")) == build


def test_an_image_elsewhere_tells_nothing(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "Image"
    copy.write_bytes((folder / TREE_IMAGE).read_bytes())
    assert build_of(parse_spec(f"image:{copy}")) is None
    assert build_of(parse_spec("debian:trixie")) is None


def test_installed_headers_are_those_of_the_release(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "_INSTALLED", f"{folder}")
    assert installed_build(RELEASE) == kernel_build(folder)
    assert installed_build("6.12.117-other") is None


@pytest.mark.parametrize(
    ("configuration", "facts"),
    [
        ("CONFIG_ARM64_TLB_RANGE=y\nCONFIG_ARM64_4K_PAGES=y\n", {}),
        ("CONFIG_ARM64_4K_PAGES=y\n", {"tlb_range": "off"}),
        ("CONFIG_ARM64_TLB_RANGE=y\nCONFIG_ARM64_64K_PAGES=y\n", {"pa_52": "off"}),
        ("CONFIG_ARM64_TLB_RANGE=y\nCONFIG_ARM64_64K_PAGES=y\nCONFIG_ARM64_PA_BITS_52=y\n", {}),
        (None, {}),
    ],
)
def test_a_build_settles_what_its_kernel_does_not_use(
    folder: Path, configuration: str | None, facts: dict[str, str]
) -> None:
    if configuration is not None:
        (folder / "include/config/auto.conf").write_text(configuration)
    assert own.built_facts(parse_spec(f"tree:{folder}")) == facts
    assert own.built_facts(parse_spec("debian:trixie")) == {}
