# SPDX-License-Identifier: GPL-2.0-only
"""Headers and tools of one kernel, from a small signed archive served on the loopback."""

from __future__ import annotations

import functools
import platform
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.kernels import headers
from harness.kernels.buildroot import build_architecture, compiler_packages
from harness.kernels.headers import fetch_headers
from harness.kernels.store import Store
from harness.vocabulary import NetworkError, NoModuleError
from tests.kernels.samples import SignedMirror, deb

RELEASE = "6.12.9+deb13-cloud-arm64"
VERSION = "6.12.9-1"
TOOLS = (
    *("base-files", "bash", "coreutils", "diffutils", "findutils", "grep", "gzip", "make"),
    *("perl-base", "sed", "xz-utils"),
)
needs_amd64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the sample archive has tools for amd64"
)
pytestmark = [
    needs_amd64,
    *(
        pytest.mark.skipif(
            shutil.which(tool) is None, reason=f"{tool} is not installed: no archive can be made"
        )
        for tool in ("gpg", "apt-get", "dpkg-deb")
    ),
]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Requests are not the test's output."""


def kernel(folder: Path) -> list[Path]:
    """The header packages of a security update, whose build tools need a library."""
    depends = [
        f"linux-headers-6.12.9+deb13-common (= {VERSION})",
        f"linux-image-{RELEASE} (= {VERSION}) | linux-image-{RELEASE}-unsigned (= {VERSION})",
        "linux-kbuild-6.12.9+deb13",
        "gcc-14",
    ]
    output = f"usr/src/linux-headers-{RELEASE}"
    common = "usr/src/linux-headers-6.12.9+deb13-common"
    kbuild = "usr/lib/linux-kbuild-6.12.9+deb13"
    return [
        deb(
            folder,
            f"linux-headers-{RELEASE}",
            VERSION,
            {
                f"{output}/.config": b"CONFIG_KVM=y\n",
                f"{output}/scripts": "../../lib/linux-kbuild-6.12.9+deb13",
            },
            depends,
        ),
        deb(
            folder,
            "linux-headers-6.12.9+deb13-common",
            VERSION,
            {f"{common}/Makefile": b"all:\n"},
            architecture="all",
        ),
        deb(
            folder,
            "linux-kbuild-6.12.9+deb13",
            VERSION,
            {f"{kbuild}/modpost": b"#!/bin/sh\n"},
            ["libelf1 (>= 0.1)"],
            architecture="amd64",
        ),
    ]


def tools(folder: Path) -> list[Path]:
    """A suite's compiler and what a build calls."""
    made = [
        deb(folder, name, "1", {f"usr/bin/{name}": b"x"}, architecture="amd64")
        for name in TOOLS
        if name != "base-files"
    ]
    return [
        *made,
        deb(
            folder,
            "base-files",
            "1",
            {"bin": "usr/bin", "usr/share/doc/a/b": b"text"},
            architecture="amd64",
        ),
        deb(folder, "dash", "1", {"usr/bin/dash": b"x"}, architecture="amd64"),
        deb(folder, "mawk", "1", {"usr/bin/mawk": b"x"}, architecture="amd64"),
        deb(folder, "libc6", "1", {"usr/lib/libc.so": b"x"}, architecture="amd64"),
        deb(folder, "libelf1", "1", {"usr/lib/libelf.so": b"x"}, ["zlib1g"], "amd64"),
        deb(folder, "zlib1g", "1", {"usr/lib/libz.so": b"x"}, architecture="amd64"),
        deb(
            folder,
            "gcc-14-aarch64-linux-gnu",
            "14",
            {"usr/bin/aarch64-linux-gnu-gcc-14": b"x"},
            ["libc6"],
            "amd64",
        ),
    ]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SignedMirror, str, Path]]:
    root = tmp_path_factory.mktemp("mirror")
    mirror = SignedMirror(root)
    pool = mirror.add("debian-security", "trixie-security", kernel(root / "kernel"))
    mirror.add("debian", "trixie", tools(root / "tools"))
    handler = functools.partial(_Quiet, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield mirror, f"http://127.0.0.1:{server.server_address[1]}/debian", pool
        finally:
            server.shutdown()
            thread.join(timeout=30)
            mirror.close()


@pytest.fixture
def cut(
    archive: tuple[SignedMirror, str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[], None]:
    """The archive is this machine's mirror until this is called."""
    mirror, address, _ = archive
    direct = tmp_path / "direct.conf"
    direct.write_text('Acquire::http::Proxy::127.0.0.1 "DIRECT";\n')
    monkeypatch.setenv("APT_CONFIG", str(direct))
    monkeypatch.setenv("HARNESS_DEBIAN_MIRROR", address)
    monkeypatch.setenv("HARNESS_DEBIAN_KEYRING", str(mirror.keyring))
    return lambda: monkeypatch.setenv("HARNESS_DEBIAN_MIRROR", "http://127.0.0.1:1/debian")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def test_what_a_module_is_built_with(cut: Callable[[], None], store: Store) -> None:
    said: list[str] = []
    tree = fetch_headers(RELEASE, suite="trixie", store=store, progress=said.append)

    assert (tree.release, tree.version) == (RELEASE, VERSION)
    assert tree.compiler == "aarch64-linux-gnu-gcc-14"
    headers, root = Path(tree.headers), Path(tree.tools)
    assert (headers / tree.source / "Makefile").read_text() == "all:\n"
    assert (headers / tree.output / ".config").is_file()
    assert (headers / tree.output / "scripts" / "modpost").is_file()
    assert (root / "usr/bin" / tree.compiler).is_file()
    assert (root / "usr/lib/libz.so").is_file()
    assert (root / "usr/bin/awk").resolve() == (root / "usr/bin/mawk").resolve()
    assert (root / "bin/sh").resolve().name == "dash"
    assert not (root / "usr/share/doc").exists()
    assert {"proc", "dev", "tmp", "headers", "work"} <= {path.name for path in root.iterdir()}
    assert f"fetching the headers of {RELEASE}" in said


def test_fetched_once_it_needs_no_network(cut: Callable[[], None], store: Store) -> None:
    tree = fetch_headers(RELEASE, suite="trixie", store=store)
    cut()
    assert fetch_headers(RELEASE, store=store) == tree


def test_a_folder_that_was_removed_is_made_again(cut: Callable[[], None], store: Store) -> None:
    tree = fetch_headers(RELEASE, suite="trixie", store=store)
    shutil.rmtree(tree.tools)
    assert fetch_headers(RELEASE, suite="trixie", store=store) == tree
    assert Path(tree.tools).is_dir()
    cut()
    shutil.rmtree(tree.headers)
    with pytest.raises(NetworkError, match="cannot be reached"):
        fetch_headers(RELEASE, suite="trixie", store=store)


def test_a_release_without_headers(cut: Callable[[], None], store: Store) -> None:
    with pytest.raises(NoModuleError, match=r"no linux-headers-6\.12\.10-arm64 in Debian trixie"):
        fetch_headers("6.12.10-arm64", suite="trixie", store=store)


def test_of_a_kernel_that_is_not_debians_the_archive_is_not_asked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headers, "Archive", None)
    with pytest.raises(
        NoModuleError, match=r"6\.12\.117-dirty is no kernel of Debian's.*--headers"
    ):
        fetch_headers("6.12.117-dirty", store=store)


def test_a_package_that_is_gone(
    cut: Callable[[], None], store: Store, archive: tuple[SignedMirror, str, Path]
) -> None:
    pool = archive[2]
    (gone,) = pool.glob("linux-kbuild-*")
    aside = gone.with_suffix(".gone")
    gone.rename(aside)
    try:
        with pytest.raises(NetworkError, match="linux-kbuild-6"):
            fetch_headers(RELEASE, suite="trixie", store=store)
    finally:
        aside.rename(gone)
    assert not (store.root / "headers").exists()
    assert fetch_headers(RELEASE, suite="trixie", store=store).release == RELEASE


def test_the_compiler_by_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiler_packages("12", "arm64") == ("gcc-12", "gcc-12")
    assert compiler_packages("16", "amd64")[0] == "gcc-16-aarch64-linux-gnu"
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(NoModuleError, match="riscv64"):
        build_architecture()
