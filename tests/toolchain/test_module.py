# SPDX-License-Identifier: GPL-2.0-only
"""Building the white-box module: what is run, in what, and when it is run again."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.resources import resource_dir
from harness.toolchain import build_module, build_own_module, module
from harness.toolchain.compiler import Compiler
from harness.toolchain.module import module_sources
from harness.vocabulary import BuildError, BuildTree, KernelBuild, NoModuleError, ToolMissingError


class Recorder:
    """Stands in for the compiler: notes each call, and makes what make would."""

    def __init__(self, failure: str = "") -> None:
        self.calls: list[list[str]] = []
        self.failure = failure

    def __call__(
        self, command: Sequence[str], arguments: Sequence[str], folder: Path, _seconds: float = 0
    ) -> str:
        self.calls.append([*command, *arguments])
        if self.failure:
            raise BuildError(self.failure)
        if "make" in (*command, *arguments):
            names = {path.name for path in folder.iterdir()}
            assert {"Kbuild", "features.sh", "main.c", "hx_pgtable.h"} <= names
            (folder / "hx_pgtable.ko").write_bytes(b"\x7fELF")
        return ""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BuildTree:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    for name in ("headers", "tools"):
        (tmp_path / name).mkdir()
    return BuildTree(
        release="6.12.9+deb13-cloud-arm64",
        version="6.12.9-1",
        headers=str(tmp_path / "headers"),
        source="src/common",
        output="src/flavour",
        tools=str(tmp_path / "tools"),
        compiler="aarch64-linux-gnu-gcc-14",
    )


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(module, "run_compiler", made)
    return made


def test_it_is_built_in_the_tools_own_root(tree: BuildTree, recorder: Recorder) -> None:
    path = build_module(tree)
    assert path.name == "hx_pgtable.ko"
    assert path.read_bytes() == b"\x7fELF"
    make, strip = recorder.calls
    for call in (make, strip):
        assert call[0] == "bwrap"
        assert "--unshare-all" in call
        assert call[call.index("--ro-bind") + 1 :][:2] == [tree.tools, "/"]
    assert {"O=/headers/src/flavour", "CC=aarch64-linux-gnu-gcc-14", "modules"} <= set(make)
    assert "CROSS_COMPILE=aarch64-linux-gnu-" in make
    assert "aarch64-linux-gnu-strip" in strip


def test_on_arm64_no_prefix(tree: BuildTree, recorder: Recorder) -> None:
    build_module(replace(tree, compiler="gcc-12"))
    assert "CROSS_COMPILE=" in recorder.calls[0]
    assert "strip" in recorder.calls[1]


def test_once_for_each_kernel(tree: BuildTree, recorder: Recorder) -> None:
    first = build_module(tree)
    assert build_module(tree) == first
    assert len(recorder.calls) == 2
    assert build_module(replace(tree, release="6.12.10+deb13-cloud-arm64")) != first
    assert build_module(replace(tree, version="6.12.9-2")) != first
    assert len(recorder.calls) == 6


def test_again_when_a_source_changes(
    tree: BuildTree, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_module(tree)
    copy = tmp_path / "kselftests"
    shutil.copytree(resource_dir("kselftests"), copy)
    monkeypatch.setattr(module, "resource_dir", lambda _name: copy)
    assert build_module(tree) == first
    with (copy / "module" / "ops.c").open("a") as stream:
        stream.write("\n")
    assert build_module(tree) != first


def test_a_build_that_fails_leaves_nothing(
    tree: BuildTree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "run_compiler", Recorder("bwrap: main.c:1:1: error: no"))
    with pytest.raises(BuildError, match=r"main\.c"):
        build_module(tree)
    left = [path.name for path in (tmp_path / "cache" / "toolchain" / "modules").iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == []


def test_what_is_missing(
    tree: BuildTree, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(tree.headers).rmdir()
    with pytest.raises(BuildError, match=f"headers of {tree.release} again".replace("+", r"\+")):
        build_module(tree)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ToolMissingError, match="apt-get install bubblewrap"):
        build_module(tree)
    assert recorder.calls == []


def test_every_source_goes_along() -> None:
    folder = resource_dir("kselftests") / "module"
    units = {path.stem for path in module_sources() if path.suffix == ".c"}
    text = (folder / "Kbuild").read_text()
    built = set(re.findall(r"\b(\w+)\.o\b", text)) - {"hx_pgtable"}
    assert units == built == {path.stem for path in folder.glob("*.c")}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: BuildTree) -> KernelBuild:
    folder = tmp_path / "linux"
    (folder / "include/config").mkdir(parents=True)
    (folder / "include/config/auto.conf").write_text("CONFIG_KVM=y\nCONFIG_MODULES=y\n")
    monkeypatch.setattr(
        module, "find_compiler", lambda: Compiler(("/usr/bin/aarch64-linux-gnu-gcc",), "gcc")
    )
    return KernelBuild(release=tree.release, folder=str(folder))


def test_in_the_folder_of_an_own_build(own: KernelBuild, recorder: Recorder) -> None:
    path = build_own_module(own)
    assert path.read_bytes() == b"\x7fELF"
    (make,) = recorder.calls
    assert make[0] == "make"
    assert make[make.index("-C") + 1] == own.folder
    assert "CROSS_COMPILE=/usr/bin/aarch64-linux-gnu-" in make
    assert build_own_module(own) == path
    assert len(recorder.calls) == 1


def test_anew_when_the_kernel_in_the_folder_is_another(
    own: KernelBuild, recorder: Recorder
) -> None:
    first = build_own_module(own)
    image = Path(own.folder) / "arch/arm64/boot/Image"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"patched")
    assert build_own_module(own) != first
    assert len(recorder.calls) == 2


def test_with_clang_where_the_kernel_was(own: KernelBuild, recorder: Recorder) -> None:
    config = Path(own.folder) / "include/config/auto.conf"
    config.write_text("CONFIG_MODULES=y\nCONFIG_CC_IS_CLANG=y\n")
    build_own_module(own)
    assert "LLVM=1" in recorder.calls[0]


@pytest.mark.usefixtures("recorder")
def test_a_kernel_without_modules_is_told(own: KernelBuild) -> None:
    (Path(own.folder) / "include/config/auto.conf").write_text("CONFIG_KVM=y\n")
    with pytest.raises(NoModuleError, match="CONFIG_MODULES"):
        build_own_module(own)
