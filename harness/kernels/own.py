# SPDX-License-Identifier: GPL-2.0-only
"""Folders in which a kernel was built, or that hold its headers: for modules of it."""

from __future__ import annotations

from pathlib import Path

from harness.kernels.spec import KernelSpec, SpecKind
from harness.vocabulary import TREE_IMAGE, KernelBuild, UsageError

_RELEASE = "include/config/kernel.release"
#: What make made of .config, comments left out.
_CONFIGURATION = "include/config/auto.conf"
#: Environment facts that are off without an option, and with which other one that matters.
_NEEDS = {
    "tlb_range": ("CONFIG_ARM64_TLB_RANGE", ""),
    "pa_52": ("CONFIG_ARM64_PA_BITS_52", "CONFIG_ARM64_64K_PAGES"),
}
#: Of a running kernel, where a distribution links the folder of its headers to.
_INSTALLED = "/lib/modules/{release}/build"


def kernel_build(folder: Path) -> KernelBuild:
    """A folder that somebody names; UsageError where no module can be built in it."""
    found = _build_in(folder.expanduser().absolute())
    if found is None:
        raise UsageError(
            f"{folder}: no kernel was built there ({_RELEASE} or Makefile is missing); "
            "name the folder of the build (O=), or build it: make … modules_prepare"
        )
    return found


def build_of(spec: KernelSpec) -> KernelBuild | None:
    """The build that a ``tree:`` or ``image:`` kernel comes from; None where that is not known.

    An Image tells it where it lies as its build left it, in arch/arm64/boot.
    """
    folder = Path(spec.path)
    if spec.kind is SpecKind.IMAGE:
        above = spec.file.resolve().parents
        boot = Path(TREE_IMAGE).parent
        if len(above) < 4 or above[0] != above[3] / boot:
            return None
        folder = above[3]
    elif spec.kind is not SpecKind.TREE:
        return None
    return _build_in(folder)


def built_facts(spec: KernelSpec) -> dict[str, str]:
    """Environment facts that a kernel's configuration turns off; none where it is not known.

    Its log names features of the CPU that it was not built to use, too. (cpucap_is_possible, 6.12)
    """
    build = build_of(spec)
    if build is None:
        return {}
    try:
        lines = (Path(build.folder) / _CONFIGURATION).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {
        fact: "off"
        for fact, (option, matters) in _NEEDS.items()
        if f"{option}=y" not in lines and (not matters or f"{matters}=y" in lines)
    }


def installed_build(release: str) -> KernelBuild | None:
    """The headers that are installed on this machine for the kernel it runs; None without."""
    found = _build_in(Path(_INSTALLED.format(release=release)))
    return found if found is not None and found.release == release else None


def _build_in(folder: Path) -> KernelBuild | None:
    try:
        release = (folder / _RELEASE).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    if not release or not (folder / "Makefile").is_file():
        return None
    return KernelBuild(release=release, folder=str(folder))
