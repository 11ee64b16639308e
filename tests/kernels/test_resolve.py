# SPDX-License-Identifier: GPL-2.0-only
"""The whole room against a small signed archive served on the loopback: no other network."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.kernels import list_cached, resolve
from harness.kernels.initramfs import MODULES
from harness.kernels.keys import keys_of
from harness.kernels.store import Store
from harness.kernels.userland import userland_of
from harness.vocabulary import InfraError, NetworkError, UsageError
from tests.kernels.samples import SignedMirror, compressed, deb, image, module, program
from tests.kernels.test_cpio import members

pytestmark = [
    pytest.mark.skipif(
        shutil.which(tool) is None, reason=f"{tool} is not installed: no archive can be made"
    )
    for tool in ("gpg", "apt-get", "dpkg-deb")
]

META = "linux-image-cloud-arm64"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Requests are not the test's output."""


class Served:
    """The archive on disk and its address."""

    def __init__(self, mirror: SignedMirror, port: int, pools: dict[str, Path]) -> None:
        self.mirror, self.pools = mirror, pools
        self.base = f"http://127.0.0.1:{port}"
        self.address = f"{self.base}/debian"


def kernel(folder: Path, abi: str, version: str) -> Path:
    """A linux-image package as up to 6.x: vmlinuz and modules."""
    release = f"{abi}-cloud-arm64"
    modules = f"lib/modules/{release}"
    files: dict[str, bytes | str] = {
        f"boot/vmlinuz-{release}": compressed(image(release), "gzip"),
        f"{modules}/kernel/virtio_net.ko": module("virtio_net", "failover"),
        f"{modules}/kernel/failover.ko.xz": compressed(module("failover"), "xz"),
        f"{modules}/modules.builtin": b"kernel/drivers/virtio/virtio_pci.ko\n",
    }
    return deb(folder, f"linux-image-{release}", version, files)


def split_kernel(folder: Path, abi: str, version: str) -> list[Path]:
    """The packages that hold a kernel from 7.x on."""
    release = f"{abi}-cloud-arm64"
    modules = f"usr/lib/modules/{release}"
    parts = [f"linux-{part}-{release} (= {version})" for part in ("base", "binary", "modules")]
    return [
        deb(folder, f"linux-image-{release}", version, {}, ["linux-initramfs-tool", *parts]),
        deb(
            folder,
            f"linux-base-{release}",
            version,
            {f"{modules}/modules.builtin": b"kernel/virtio_pci.ko\n"},
        ),
        deb(folder, f"linux-binary-{release}", version, {f"{modules}/vmlinuz": image(release)}),
        deb(
            folder,
            f"linux-modules-{release}",
            version,
            {f"{modules}/kernel/virtio_net.ko": module("virtio_net")},
        ),
    ]


def meta(folder: Path, version: str, depends: str) -> Path:
    return deb(folder, META, version, {}, [depends])


def userland(folder: Path) -> list[Path]:
    """The initramfs's programs; dropbear needs a library that needs another one."""
    library = "usr/lib/aarch64-linux-gnu"
    unneeded = deb(folder, "adduser", "1", {"usr/sbin/adduser": b"perl"})
    return [
        unneeded,
        deb(folder, "busybox-static", "1", {"usr/bin/busybox": program()}),
        deb(
            folder,
            "dropbear-bin",
            "2",
            {"usr/sbin/dropbear": program("libtom.so.1")},
            ["libtom1 (>= 1)"],
        ),
        deb(
            folder,
            "libtom1",
            "1",
            {
                f"{library}/libtom.so.1": "libtom.so.1.2",
                f"{library}/libtom.so.1.2": program("libgmp.so.10"),
            },
            ["libgmp10 | libgmp-alternative"],
        ),
        deb(folder, "libgmp10", "2:6", {"lib/aarch64-linux-gnu/libgmp.so.10": program()}),
        deb(
            folder,
            "openssh-sftp-server",
            "1:9",
            {"usr/lib/openssh/sftp-server": program("libgmp.so.10")},
            ["adduser"],
        ),
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("mirror")
    made = {name: root / "made" / name for name in ("old", "new", "sid", "trixie")}
    mirror = SignedMirror(root)
    old = [
        meta(made["old"], "6.1.5-1", "linux-image-6.1.0-5-cloud-arm64"),
        kernel(made["old"], "6.1.0-5", "6.1.5-1"),
    ]
    new = [
        meta(made["new"], "6.1.7-1", "linux-image-6.1.0-7-cloud-arm64"),
        kernel(made["new"], "6.1.0-6", "6.1.6-1"),
        kernel(made["new"], "6.1.0-7", "6.1.7-1"),
        kernel(made["new"], "6.12.9+deb12", "6.12.9-1~deb12u1"),
    ]
    sid = [
        meta(made["sid"], "7.2.1-1", "linux-image-7.2.1+deb14-cloud-arm64"),
        *split_kernel(made["sid"], "7.2.1+deb14", "7.2.1-1"),
    ]
    pools = {
        "bookworm": mirror.add("debian", "bookworm", old),
        "bookworm-security": mirror.add("debian-security", "bookworm-security", new),
        "sid": mirror.add("debian", "sid", sid),
        "trixie": mirror.add("debian", "trixie", userland(made["trixie"])),
    }
    handler = functools.partial(_Quiet, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Served(mirror, server.server_address[1], pools)
        finally:
            server.shutdown()
            thread.join(timeout=30)
            mirror.close()


def _use(built: Served, patch: pytest.MonkeyPatch, folder: Path) -> None:
    direct = folder / "direct.conf"
    direct.write_text('Acquire::http::Proxy::127.0.0.1 "DIRECT";\n')
    patch.setenv("APT_CONFIG", str(direct))
    patch.setenv("HARNESS_DEBIAN_MIRROR", built.address)
    patch.setenv("HARNESS_DEBIAN_KEYRING", str(built.mirror.keyring))


@pytest.fixture
def served(built: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Served:
    """The archive, as this machine's Debian mirror."""
    _use(built, monkeypatch, tmp_path)
    return built


@pytest.fixture(scope="module")
def userland_only(built: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache that holds the userland and keys, so that not every test fetches them again."""
    root = tmp_path_factory.mktemp("userland")
    with pytest.MonkeyPatch.context() as patch:
        _use(built, patch, root)
        store = Store(root / "cache")
        userland_of(store, lambda _text: None)
        keys_of(store)
        shutil.rmtree(store.root / "apt")
        yield store.root


@pytest.fixture
def store(served: Served, userland_only: Path, tmp_path: Path) -> Store:
    """A cache without kernels."""
    shutil.copytree(userland_only, tmp_path / "cache")
    return Store(tmp_path / "cache")


@pytest.fixture
def no_network(served: Served, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and nothing answers any more."""

    def cut() -> None:
        monkeypatch.setenv("HARNESS_DEBIAN_MIRROR", "http://127.0.0.1:1/debian")

    return cut


@pytest.fixture
def hidden(served: Served) -> Iterator[Callable[[str, str], None]]:
    """Hides packages from the pool, as a mirror that has dropped them; puts them back."""
    moved: list[tuple[Path, Path]] = []

    def hide(suite: str, pattern: str) -> None:
        for path in list(served.pools[suite].glob(pattern)):
            aside = path.with_suffix(".gone")
            path.rename(aside)
            moved.append((aside, path))

    yield hide
    for aside, path in moved:
        aside.rename(path)


def test_a_suite_is_its_newest_kernel_of_its_own_generation(
    store: Store, no_network: Callable[[], None]
) -> None:
    said: list[str] = []
    got = resolve("debian:bookworm", store=store, progress=said.append)

    assert got.spec == "debian:bookworm"
    assert got.release == "6.1.0-7-cloud-arm64"
    assert Path(got.kernel).read_bytes() == image("6.1.0-7-cloud-arm64")
    assert "bookworm-security linux-image-6.1.0-7-cloud-arm64 6.1.7-1" in got.origin
    assert any("bookworm-updates was left out" in text for text in said)
    assert any("past its Valid-Until" in text for text in said)
    [known] = list_cached(store)
    assert (known.suite, known.version) == ("bookworm-security", "6.1.7-1")
    assert known.packages == ("linux-image-6.1.0-7-cloud-arm64",)

    files = {path: (fields, data) for path, fields, data in members(Path(got.initrd).read_bytes())}
    assert files["etc/modules"][1] == b"failover\nvirtio_net\n"
    assert files["lib/modules/failover.ko"][1] == module("failover")
    assert files["lib/aarch64-linux-gnu/libtom.so.1"][1] == program("libgmp.so.10")
    assert "lib/aarch64-linux-gnu/libgmp.so.10" in files
    assert files["root/.ssh/authorized_keys"][1].startswith(b"ssh-ed25519 ")
    assert files["root/.ssh/authorized_keys"][0]["mode"] & 0o777 == 0o600
    assert not [path for path in files if "adduser" in path]

    no_network()
    said.clear()
    assert resolve("debian:bookworm", store=store, progress=said.append) == got
    assert said == []
    with pytest.raises(NetworkError):
        resolve("debian:bookworm", store=store, refresh=True)
    with pytest.raises(NetworkError, match="check the network") as caught:
        resolve("debian:sid", store=store)
    assert "\n" not in str(caught.value)


def test_what_the_mirror_has_dropped_is_stepped_over_and_said(
    store: Store, hidden: Callable[[str, str], None]
) -> None:
    hidden("bookworm-security", "linux-image-6.1.0-[67]-*")
    said: list[str] = []
    got = resolve("debian:bookworm", store=store, progress=said.append)
    assert got.release == "6.1.0-5-cloud-arm64"
    assert "2 newer listed, but gone" in got.origin
    [known] = list_cached(store)
    assert known.suite == "bookworm"
    [note] = [note for note in known.notes if "gone from the mirror" in note]
    assert "6.1.0-7-cloud-arm64, 6.1.0-6-cloud-arm64; took 6.1.0-5-cloud-arm64" in note
    assert note in said

    hidden("bookworm", "linux-image-6.1.0-5-*")
    with pytest.raises(NetworkError, match="lists 3 but has none of them"):
        resolve("debian:bookworm", store=store, refresh=True)
    assert resolve("debian:bookworm", store=store) == got


def test_split_packages_pins_and_same_bytes(store: Store, tmp_path: Path) -> None:
    split = resolve("debian:sid", store=store)
    assert split.release == "7.2.1+deb14-cloud-arm64"
    [known] = list_cached(store)
    assert len(known.packages) == 4

    pinned = resolve("debian:bookworm@6.12", store=store)
    assert pinned.release == "6.12.9+deb12-cloud-arm64"

    again = Store(tmp_path / "again")
    shutil.copytree(store.root / "keys", again.root / "keys")
    assert Path(resolve("debian:sid", store=again).initrd).read_bytes() == (
        Path(split.initrd).read_bytes()
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "debian:bookworm@6.13",
            r"no release 6\.13; it lists 6\.12\.9\+deb12-cloud-arm64, 6\.1\.0-7-cloud-arm64",
        ),
        ("debian:bookworm/rt-arm64", "no flavour rt-arm64; it has cloud-arm64"),
        ("debian:zurg", "no such suite"),
    ],
)
def test_what_the_archive_does_not_have(store: Store, spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        resolve(spec, store=store)
    assert "\n" not in str(caught.value)


def test_a_foreign_signature_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SignedMirror(tmp_path / "other")
    other.close()
    monkeypatch.setenv("HARNESS_DEBIAN_KEYRING", str(other.keyring))
    with pytest.raises(InfraError, match="debian-archive-keyring") as caught:
        resolve("debian:sid", store=store)
    assert not isinstance(caught.value, NetworkError)


def test_a_tampered_package_is_refused(
    served: Served, store: Store, hidden: Callable[[str, str], None]
) -> None:
    [path] = served.pools["sid"].glob("linux-binary-*")
    good = path.read_bytes()
    hidden("sid", "linux-binary-*")
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(InfraError):
        resolve("debian:sid", store=store)
    assert list_cached(store) == ()


# --- files -------------------------------------------------------------------------------------


def test_an_image_file_is_read_again_when_it_changed(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "Image.gz"
    source.write_bytes(compressed(image("6.13.0-rc1"), "gzip"))
    first = resolve(f"image:{source}", store=store)
    assert first.release == "6.13.0-rc1"
    assert resolve(f"image:{source}", store=store) == first
    files = {path for path, _, _ in members(Path(first.initrd).read_bytes())}
    assert not [path for path in files if path.endswith(".ko")]
    source.write_bytes(image("6.13.0"))
    assert resolve(f"image:{source}", store=store).release == "6.13.0"


def test_a_deb_file_and_its_siblings(store: Store, tmp_path: Path) -> None:
    whole = kernel(tmp_path / "debs", "6.12.1", "6.12.1-1")
    assert resolve(f"deb:{whole}", store=store).release == "6.12.1-cloud-arm64"

    shell, base, binary, modules = split_kernel(tmp_path / "split", "7.2.1", "7.2.1-1")
    got = resolve(f"deb:{binary}", store=store)
    assert got.release == "7.2.1-cloud-arm64"
    names = [path for path, _, _ in members(Path(got.initrd).read_bytes())]
    assert "lib/modules/virtio_net.ko" in names
    with pytest.raises(UsageError, match=r"no vmlinuz.*linux-binary"):
        resolve(f"deb:{shell}", store=store)

    modules.rename(tmp_path / "elsewhere.deb")
    with pytest.raises(UsageError, match=r"linux-modules-7\.2\.1-cloud-arm64_\*\.deb beside it"):
        resolve(f"deb:{binary}", store=store, refresh=True)
    assert base.exists()


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("image", None, "name an existing file"),
        ("image", b"\x7fELF" + bytes(60), "arch/arm64/boot/Image"),
        ("deb", None, "name an existing file"),
        ("deb", b"not a package", "name a whole .deb file"),
    ],
)
def test_files_that_are_no_kernels(
    tmp_path: Path, kind: str, content: bytes | None, said: str
) -> None:
    source = tmp_path / "file"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        resolve(f"{kind}:{source}", store=Store(tmp_path / "cache"))
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_the_initramfs_needs_is_what_the_samples_give() -> None:
    assert MODULES == {"virtio_pci": True, "virtio_net": True, "brd": False}
