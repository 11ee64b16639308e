# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kernels import KernelSpec, SpecKind, parse_spec
from harness.vocabulary import UsageError


@pytest.mark.parametrize(
    ("text", "suite", "release", "flavour"),
    [
        ("debian:trixie", "trixie", "", "cloud-arm64"),
        ("debian:trixie/arm64-16k", "trixie", "", "arm64-16k"),
        ("debian:bookworm@6.12", "bookworm", "6.12", "cloud-arm64"),
        (
            "debian:bookworm-security@6.12.117+deb12/arm64",
            "bookworm-security",
            "6.12.117+deb12",
            "arm64",
        ),
        ("debian:bullseye@5.10.0-32", "bullseye", "5.10.0-32", "cloud-arm64"),
    ],
)
def test_debian_forms(text: str, suite: str, release: str, flavour: str) -> None:
    assert parse_spec(text) == KernelSpec(
        kind=SpecKind.DEBIAN, suite=suite, release=release, flavour=flavour
    )


def test_files_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_spec("image:Image.gz").path == str(tmp_path / "Image.gz")
    assert str(parse_spec("deb:a/b.deb")) == f"deb:{tmp_path}/a/b.deb"


def test_default_flavour_is_one_spec_not_two() -> None:
    assert str(parse_spec("debian:sid/cloud-arm64")) == "debian:sid"


BAD = ["", "trixie", "ubuntu:noble", "image:", "debian:", "debian:../x", "debian:trixie/"]
BAD += ["debian:trixie@", "debian:trixie@v6", "debian:Trixie", "debian:a/b/c", "debian:sid;ls"]


@pytest.mark.parametrize("text", BAD)
def test_bad_forms_say_what_and_the_mend(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(text)
    message = str(caught.value)
    assert repr(text) in message
    assert "debian:" in message
    assert "\n" not in message


def test_a_revision_of_a_tree_is_refused_with_the_way_round() -> None:
    with pytest.raises(UsageError, match="tree:DIR"):
        parse_spec("tree:linux@v6.12")


def test_a_tree_is_the_image_that_was_built_there(tmp_path: Path) -> None:
    spec = parse_spec(f"tree:{tmp_path}")
    assert spec.file == tmp_path / "arch/arm64/boot/Image"
    (tmp_path / "with@sign").mkdir()
    assert parse_spec(f"tree:{tmp_path}/with@sign").path == f"{tmp_path}/with@sign"


@given(
    suite=st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    release=st.one_of(st.just(""), st.from_regex(r"[0-9][0-9a-z.+~-]{0,20}", fullmatch=True)),
    flavour=st.one_of(st.just("cloud-arm64"), st.from_regex(r"[a-z0-9-]{1,10}", fullmatch=True)),
)
def test_canonical_text_parses_to_itself(suite: str, release: str, flavour: str) -> None:
    spec = KernelSpec(kind=SpecKind.DEBIAN, suite=suite, release=release, flavour=flavour)
    assert parse_spec(str(spec)) == spec
