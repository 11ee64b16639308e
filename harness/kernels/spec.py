# SPDX-License-Identifier: GPL-2.0-only
"""The text by which a person names a kernel, parsed.

    debian:SUITE[@RELEASE][/FLAVOUR]   a Debian suite's kernel, the newest unless pinned
    deb:FILE                           a linux-image or linux-binary package file
    image:FILE                         a bare arm64 Image, virtio-net and KVM built in
    tree:DIR                           the folder that a kernel was built in (O=), or its source

RELEASE is the beginning of ``uname -r``: ``@6.12.117+deb12`` is that one build, ``@6.12`` the
newest of 6.12 in the suite. FLAVOUR is Debian's: ``cloud-arm64`` (default), ``arm64``,
``arm64-16k``, ``rt-arm64``.
"""

from __future__ import annotations

import enum
import re
from pathlib import Path

from msgspec import Struct

from harness.vocabulary import TREE_IMAGE, UsageError

DEFAULT_FLAVOUR = "cloud-arm64"
FORMS = "debian:SUITE[@RELEASE][/FLAVOUR], deb:FILE, image:FILE, tree:DIR"

_DEBIAN = re.compile(
    r"(?P<suite>[a-z][a-z0-9.-]*)(?:@(?P<release>[0-9][0-9A-Za-z.+~-]*))?(?:/(?P<flavour>[a-z0-9-]+))?"
)


class SpecKind(enum.Enum):
    """Where a kernel comes from: the word before the colon."""

    DEBIAN = "debian"
    DEB = "deb"
    IMAGE = "image"
    TREE = "tree"


class KernelSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A parsed SPEC. ``path`` (absolute) for files and folders, the others for ``debian:``."""

    kind: SpecKind
    suite: str = ""
    release: str = ""
    flavour: str = ""
    path: str = ""

    @property
    def file(self) -> Path:
        """What is read, where the kernel comes from a file: the package, or the Image."""
        path = Path(self.path)
        return path / TREE_IMAGE if self.kind is SpecKind.TREE else path

    def __str__(self) -> str:
        """The canonical text: the default flavour left out, paths absolute."""
        if self.kind is not SpecKind.DEBIAN:
            return f"{self.kind.value}:{self.path}"
        release = f"@{self.release}" if self.release else ""
        flavour = f"/{self.flavour}" if self.flavour != DEFAULT_FLAVOUR else ""
        return f"{self.kind.value}:{self.suite}{release}{flavour}"


def parse_spec(text: str) -> KernelSpec:
    """Parse a SPEC; nothing is looked up.

    Raises:
        UsageError: not one of the forms, or a form whose kernels cannot be made yet.
    """
    word, colon, rest = text.strip().partition(":")
    kinds = {kind.value: kind for kind in SpecKind}
    if not colon or not rest or word not in kinds:
        raise UsageError(f"kernel {text!r}: no such form; write one of {FORMS}")
    kind = kinds[word]
    if kind is SpecKind.TREE and "@" in rest and not Path(rest).expanduser().is_dir():
        raise UsageError(
            f"kernel {text!r}: a revision is not built here yet; check it out (git worktree), "
            "build its Image, and name the folder: tree:DIR"
        )
    if kind is not SpecKind.DEBIAN:
        return KernelSpec(kind=kind, path=str(Path(rest).expanduser().absolute()))
    match = _DEBIAN.fullmatch(rest)
    if match is None:
        raise UsageError(
            f"kernel {text!r}: {rest!r} is no SUITE[@RELEASE][/FLAVOUR]; "
            "for example debian:trixie, debian:trixie/arm64-16k, debian:bookworm@6.12"
        )
    return KernelSpec(
        kind=kind,
        suite=match["suite"],
        release=match["release"] or "",
        flavour=match["flavour"] or DEFAULT_FLAVOUR,
    )
