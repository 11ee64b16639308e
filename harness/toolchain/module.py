# SPDX-License-Identifier: GPL-2.0-only
"""The white-box kernel module, built for exactly one kernel with that kernel's own compiler."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from harness.resources import resource_dir
from harness.toolchain.cache import Cache, digest
from harness.toolchain.compiler import find_compiler, run_compiler
from harness.vocabulary import (
    TREE_IMAGE,
    BuildError,
    BuildTree,
    KernelBuild,
    NoModuleError,
    ToolMissingError,
)

MODULE = "hx_pgtable.ko"
#: make and modpost for one small module; a busy machine takes a minute.
BUILD_SECONDS = 300.0
_MOST_MODULES = 32


def module_sources() -> list[Path]:
    """The files of kselftests/module that a build needs; sorted."""
    folder = resource_dir("kselftests") / "module"
    patterns = ("Kbuild", "*.c", "*.h", "*.sh")
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def build_module(tree: BuildTree) -> Path:
    """The path of ``hx_pgtable.ko`` for the kernel that ``tree`` belongs to.

    Built once for equal sources, headers and tools. ToolMissingError where bubblewrap is not
    installed, BuildError with the first error line where the build fails or takes too long,
    InfraError where the cache cannot be written.
    """

    def make(work: Path) -> None:
        run_compiler(_sandbox(tree, work), _make(tree), work, BUILD_SECONDS)
        prefix = tree.compiler.partition("gcc-")[0]
        run_compiler(_sandbox(tree, work), [f"{prefix}strip", "--strip-debug", MODULE], work)

    return _built(_identity(tree), make)


def build_own_module(build: KernelBuild) -> Path:
    """The path of ``hx_pgtable.ko`` for a kernel that was built on this machine, in its folder.

    With the compiler of the selftests (``HARNESS_CC``), or clang where the kernel was built with
    it. ToolMissingError where make or that compiler is not installed, NoModuleError where the
    kernel takes no modules; else as above.
    """
    if shutil.which("make") is None:
        raise ToolMissingError("make: not installed; sudo apt-get install make")
    folder = Path(build.folder)
    if "CONFIG_MODULES=y" not in _config(folder):
        raise NoModuleError(
            f"the kernel in {folder} is built without CONFIG_MODULES, or not yet: "
            "configure it and run make … modules_prepare"
        )
    arguments = ["-s", "-C", build.folder, "ARCH=arm64", *_own_compiler(folder)]

    def make(work: Path) -> None:
        jobs = f"-j{os.cpu_count() or 1}"
        run_compiler(["make"], [*arguments, f"M={work}", jobs, "modules"], work, BUILD_SECONDS)

    return _built((build.release, *arguments, *_state(folder)), make)


def _own_compiler(folder: Path) -> tuple[str, ...]:
    """What tells make the compiler."""
    if "CONFIG_CC_IS_CLANG=y" in _config(folder):
        return ("LLVM=1",)
    program = find_compiler().command[-1]
    prefix, gcc, version = program.rpartition("gcc")
    if not gcc:
        return (f"CC={program}",)
    return (f"CROSS_COMPILE={prefix}", *((f"CC={program}",) if version else ()))


def _config(folder: Path) -> list[str]:
    """The lines of a kernel's configuration, as its build uses it."""
    config = folder / "include/config/auto.conf"
    return config.read_text(encoding="utf-8").splitlines() if config.is_file() else []


def _state(folder: Path) -> Iterator[bytes]:
    """What changes when the kernel in a folder is another: its Image, or what headers came with."""
    for name in (TREE_IMAGE, "Module.symvers", "include/generated/autoconf.h"):
        path = folder / name
        yield sha256(path.read_bytes()).digest() if path.is_file() else b""


def _built(identity: Iterable[bytes | str], make: Callable[[Path], None]) -> Path:
    """The module of that kernel: from the cache, or what ``make`` makes in a folder."""
    sources = module_sources()
    parts: list[bytes | str] = [*identity]
    for path in sources:
        parts += [path.name, path.read_bytes()]

    def build(entry: Path) -> None:
        work = entry.with_name("work")
        work.mkdir()
        for path in sources:
            shutil.copyfile(path, work / path.name)
        make(work)
        entry.mkdir()
        (work / MODULE).replace(entry / MODULE)

    return Cache("modules", _MOST_MODULES).get(digest(parts), build) / MODULE


def _identity(tree: BuildTree) -> tuple[str, ...]:
    """What tells one kernel's build from another's: folders are named by their content."""
    return tree.release, tree.version, Path(tree.tools).name, tree.compiler


def _sandbox(tree: BuildTree, work: Path) -> tuple[str, ...]:
    """A command that runs another in the tools' own root: no network, one folder to write to."""
    if shutil.which("bwrap") is None:
        raise ToolMissingError("bwrap: not installed; sudo apt-get install bubblewrap")
    for folder in (tree.headers, tree.tools):
        if not Path(folder).is_dir():
            raise BuildError(f"{folder} is gone; fetch the headers of {tree.release} again")
    return (
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
        *("--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LC_ALL", "C"),
        *("--ro-bind", tree.tools, "/", "--dev", "/dev", "--proc", "/proc"),
        *("--tmpfs", "/tmp"),  # noqa: S108 - the private root's own
        *("--ro-bind", tree.headers, "/headers", "--bind", str(work), "/work"),
        *("--chdir", "/work"),
    )


def _make(tree: BuildTree) -> tuple[str, ...]:
    prefix = tree.compiler.partition("gcc-")[0]
    return (
        *("make", "-s", "-C", f"/headers/{tree.source}", f"O=/headers/{tree.output}", "M=/work"),
        *("ARCH=arm64", f"CROSS_COMPILE={prefix}", f"CC={tree.compiler}"),
        # Neither is in the module that is loaded, and both take longer than the rest.
        *("CONFIG_DEBUG_INFO=", "CONFIG_DEBUG_INFO_BTF_MODULES="),
        *(f"-j{os.cpu_count() or 1}", "modules"),
    )
