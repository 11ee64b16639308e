# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kernels import hostapt
from harness.kernels.hostapt import Mirror, Source, choose_mirrors, host_mirrors, read_sources
from harness.vocabulary import InfraError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

DEB822 = f"""\
# comment
Types: deb deb-src
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main non-free
Signed-By: {KEYRING}

Types: deb
# inside
URIs: http://sec.example.org/debian-security/
Suites: bookworm-security
Components: main
Signed-By: {KEYRING}

Types: deb
Enabled: no
URIs: http://off.example.org/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://src.example.org/debian
Suites: bookworm
Components: main
"""

ONE_LINE = f"""\
# deb http://commented.example.org/debian bookworm main
deb [arch=amd64 signed-by={KEYRING}] http://mirror.example.org/debian bullseye main contrib # tail
deb-src http://mirror.example.org/debian bullseye main
deb http://sec.example.org/debian-security bullseye-security main
deb https://tools.example.com/repo bookworm-tools main
"""


def test_deb822(tmp_path: Path) -> None:
    path = tmp_path / "debian.sources"
    path.write_text(DEB822)
    sources = read_sources([path])
    assert [(s.uri, s.suite) for s in sources] == [
        ("http://mirror.example.org/debian", "bookworm"),
        ("http://mirror.example.org/debian", "bookworm-updates"),
        ("http://sec.example.org/debian-security/", "bookworm-security"),
    ]
    assert {s.signed_by for s in sources} == {KEYRING}
    mirrors = choose_mirrors(sources)
    assert mirrors.of("sid") == Mirror(uri="http://mirror.example.org/debian", signed_by=KEYRING)
    assert mirrors.of("trixie-security").uri == "http://sec.example.org/debian-security"
    assert mirrors.of("trixie-backports").uri == "http://mirror.example.org/debian"
    assert mirrors.note == ""


def test_one_line(tmp_path: Path) -> None:
    path = tmp_path / "sources.list"
    path.write_text(ONE_LINE)
    sources = read_sources([path])
    assert [(s.suite, s.components, s.signed_by) for s in sources] == [
        ("bullseye", ("main", "contrib"), KEYRING),
        ("bullseye-security", ("main",), ""),
        ("bookworm-tools", ("main",), ""),
    ]
    assert choose_mirrors(sources).security.uri == "http://sec.example.org/debian-security"


def test_a_key_block_is_kept_whole() -> None:
    text = (
        "Types: deb\nURIs: http://mirror.example.org/debian\nSuites: sid\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
        " -----END PGP PUBLIC KEY BLOCK-----\n"
    )
    [source] = hostapt.parse_deb822(text)
    assert source.signed_by == (
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----"
    )


def source(uri: str, suite: str, signed_by: str = "", components: str = "main") -> Source:
    return Source(uri=uri, suite=suite, signed_by=signed_by, components=tuple(components.split()))


def test_other_archives_with_debian_suite_names_are_not_taken() -> None:
    foreign = [
        source("https://apt.example.com", "bookworm", "/usr/share/keyrings/vendor.gpg"),
        source("https://apt.example.com", "stable"),
        source("https://dl.example.com/linux/debian", "bookworm", components="stable"),
        source("http://archive.example.com/ubuntu", "noble", components="main universe"),
    ]
    with pytest.raises(InfraError, match=r"HARNESS_DEBIAN_MIRROR.*HARNESS_DEBIAN_KEYRING"):
        choose_mirrors(foreign)
    real = source("http://cache.corp.example/apt", "bookworm", KEYRING)
    assert choose_mirrors([*foreign, real]).main.uri == "http://cache.corp.example/apt"
    assert choose_mirrors([*foreign, source("http://x.example/q", "sid")]).main.uri.endswith("/q")


def test_without_a_security_entry_one_is_derived_and_said() -> None:
    mirrors = choose_mirrors([source("http://mirror.example.org/debian/", "sid", KEYRING)])
    assert mirrors.security.uri == "http://mirror.example.org/debian-security"
    assert mirrors.security.uri in mirrors.note
    assert mirrors.security.signed_by == KEYRING


def test_the_environment_goes_before_the_host() -> None:
    mirrors = host_mirrors(
        {"HARNESS_DEBIAN_MIRROR": "http://m.example/debian/", "HARNESS_DEBIAN_KEYRING": "/k.gpg"}
    )
    assert mirrors.main == Mirror(uri="http://m.example/debian", signed_by="/k.gpg")
    assert mirrors.security.uri == "http://m.example/debian-security"
    named = host_mirrors(
        {
            "HARNESS_DEBIAN_MIRROR": "http://m.example/debian",
            "HARNESS_DEBIAN_SECURITY_MIRROR": "http://s.example/sec/",
        }
    )
    assert named.security.uri == "http://s.example/sec"
    assert named.note == ""


def test_old_security_suites_live_on_the_security_mirror() -> None:
    mirrors = choose_mirrors(
        [
            source("http://m.example/debian", "bookworm", KEYRING),
            source("http://s.example/debian-security", "buster/updates", KEYRING),
        ]
    )
    assert mirrors.of("buster/updates").uri == "http://s.example/debian-security"


@given(st.text(alphabet="deb \t[]=:#\nUTypesRIuits./-", max_size=200))
def test_any_text_is_read_without_error(text: str) -> None:
    for parse in (hostapt.parse_one_line, hostapt.parse_deb822):
        for entry in parse(text):
            assert entry.uri
            assert entry.suite
