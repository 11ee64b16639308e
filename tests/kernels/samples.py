# SPDX-License-Identifier: GPL-2.0-only
"""Small true-to-format inputs: Images, modules, .deb files and a signed archive of them."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def image(release: str = "6.1.0-9-cloud-arm64") -> bytes:
    """An arm64 Image as far as a header and a banner make one."""
    banner = f"Linux version {release} (builder@example.org) (gcc) #1 SMP\n\0".encode()
    return b"MZ".ljust(56, b"\0") + b"ARM\x64" + bytes(4) + b"%s version %s\0" + banner


def zboot(payload: bytes, compression: str) -> bytes:
    """An EFI zboot file around an already compressed payload."""
    header = b"MZ\0\0zimg" + struct.pack("<II8x", 4096, len(payload))
    return (header + compression.encode().ljust(32, b"\0")).ljust(4096, b"\0") + payload + b"pad"


def compressed(data: bytes, compression: str) -> bytes:
    """``data`` compressed with gzip or xz."""
    return gzip.compress(data, mtime=0) if compression == "gzip" else lzma.compress(data)


def elf(sections: Mapping[str, bytes]) -> bytes:
    """A 64-bit little-endian AArch64 ELF file with these sections.

    ``.dynamic`` is linked to the section after it, which holds its strings.
    """
    names = b"\0"
    body = b""
    headers = bytes(64)
    for number, (name, data) in enumerate([*sections.items(), (".shstrtab", b"")], 1):
        index, names = len(names), names + name.encode() + b"\0"
        content = names if name == ".shstrtab" else data
        kind = {".shstrtab": 3, ".dynstr": 3, ".dynamic": 6}.get(name, 1)
        link, entry = (number + 1, 16) if name == ".dynamic" else (0, 0)
        place = (64 + len(body), len(content))
        headers += struct.pack("<IIQQQQIIQQ", index, kind, 0, 0, *place, link, 0, 1, entry)
        body += content
    count = len(sections) + 2
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQ", 1, 183, 1, 0, 0, 64 + len(body))
    header += struct.pack("<IHHHHHH", 0, 64, 0, 0, 64, count, count - 1)
    return header + body + headers


def program(*needed: str) -> bytes:
    """An ELF file that asks for these libraries."""
    strings = b"\0"
    tags = b""
    for name in needed:
        tags += struct.pack("<QQ", 1, len(strings))
        strings += name.encode() + b"\0"
    return elf({".dynamic": tags + bytes(16), ".dynstr": strings})


def module(name: str, *depends: str) -> bytes:
    """A kernel module as far as its ``.modinfo``."""
    info = [f"name={name}", f"depends={','.join(depends)}", "license=GPL"]
    return elf({".modinfo": b"".join(f"{field}\0".encode() for field in info)})


def deb(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes | str],
    depends: Sequence[str] = (),
    architecture: str = "arm64",
) -> Path:
    """Build a .deb with dpkg-deb; a ``str`` value is a symbolic link's target."""
    root = folder / f"{name}.root"
    control = root / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    fields = [
        *(f"Package: {name}", f"Version: {version}", f"Architecture: {architecture}"),
        *("Maintainer: Nobody <nobody@example.org>", "Description: sample"),
        *([f"Depends: {', '.join(depends)}"] if depends else []),
    ]
    control.write_text("\n".join(fields) + "\n")
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            target.symlink_to(content)
        else:
            target.write_bytes(content)
    made = folder / f"{name}_{version.replace(':', '%3a')}_{architecture}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(made)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return made


class SignedMirror:
    """A Debian archive on disk, signed with a key of its own; suites are added one by one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keyring = root / "keyring.gpg"
        self._home = root / "gnupg"
        self._home.mkdir(mode=0o700, parents=True)
        self._gpg("--quick-gen-key", "test@example.org", "ed25519", "sign", "never")
        self._gpg("--output", str(self.keyring), "--export")

    def add(self, archive: str, suite: str, debs: Sequence[Path]) -> Path:
        """Publish packages as ``suite`` of ``archive`` (debian, debian-security)."""
        base = self.root / archive
        pool = base / "pool" / suite
        pool.mkdir(parents=True)
        stanzas: dict[str, list[str]] = {"all": [], "amd64": [], "arm64": []}
        for path in debs:
            placed = pool / path.name
            placed.write_bytes(path.read_bytes())
            control = subprocess.run(
                ["dpkg-deb", "--field", str(path)], check=True, capture_output=True, timeout=60
            ).stdout.decode()
            data = placed.read_bytes()
            stanzas[path.stem.rpartition("_")[2]].append(
                f"{control}Filename: {placed.relative_to(base)}\nSize: {len(data)}\n"
                f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
            )
        dists = base / "dists" / suite
        listed = ""
        for architecture in ("amd64", "arm64"):
            packages = "\n".join(stanzas[architecture] + stanzas["all"]).encode()
            index = dists / f"main/binary-{architecture}/Packages"
            index.parent.mkdir(parents=True)
            index.write_bytes(packages)
            name = f"main/binary-{architecture}/Packages"
            listed += f" {hashlib.sha256(packages).hexdigest()} {len(packages)} {name}\n"
        release = dists / "Release"
        release.write_text(
            f"Suite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64 arm64\n"
            "Date: Mon, 01 Jan 2024 00:00:00 UTC\nValid-Until: Mon, 08 Jan 2024 00:00:00 UTC\n"
            f"SHA256:\n{listed}"
        )
        self.sign(archive, suite)
        return pool

    def sign(self, archive: str, suite: str) -> None:
        """(Re)write the suite's InRelease from its Release."""
        dists = self.root / archive / "dists" / suite
        self._gpg("--output", str(dists / "InRelease"), "--clear-sign", str(dists / "Release"))

    def _gpg(self, *argv: str) -> None:
        options = ["--homedir", str(self._home), "--batch", "--yes", "--quiet"]
        options += ["--pinentry-mode", "loopback", "--passphrase", ""]
        subprocess.run(
            ["gpg", *options, *argv],
            check=True,
            capture_output=True,
            timeout=60,
        )

    def close(self) -> None:
        """End the agent that gpg left running for this key."""
        subprocess.run(
            ["gpgconf", "--homedir", str(self._home), "--kill", "all"],
            check=True,
            capture_output=True,
            timeout=60,
        )
