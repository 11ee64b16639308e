# SPDX-License-Identifier: GPL-2.0-only
"""The module on real kernels: what its device refuses, what it survives, what it leaves behind."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import kernels
from harness.resources import resource_dir
from harness.targets import QemuConfig, QemuTarget, find_splats, open_qemu, run
from harness.toolchain import build_module
from harness.vocabulary import NoModuleError

pytestmark = [
    pytest.mark.live,
    pytest.mark.network,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]

COMPILER = "aarch64-linux-gnu-gcc"
PATIENCE = 600.0
NVHE = ("kvm-arm.mode=nvhe",)
#: Two generations always, the others with ci/test --all.
TARGETS = [
    ("debian:bullseye", ()),
    ("debian:trixie", ()),
    *(
        pytest.param((spec, append), marks=pytest.mark.slow)
        for spec, append in (
            ("debian:bullseye", NVHE),
            ("debian:bookworm", ()),
            ("debian:bookworm", NVHE),
            ("debian:trixie", NVHE),
            ("debian:trixie/arm64-16k", ()),
            ("debian:sid", ()),
            ("debian:sid", NVHE),
            ("debian:trixie-backports", ()),
        )
    ),
]


def boot(spec: str, append: tuple[str, ...]) -> QemuTarget:
    return open_qemu(kernels.resolve(spec), QemuConfig(append=append))


def module_for(target: QemuTarget) -> Path:
    return build_module(kernels.fetch_headers(target.info.release))


@pytest.fixture(scope="module", params=TARGETS, ids=lambda made: " ".join((made[0], *made[1])))
def target(request: pytest.FixtureRequest) -> Iterator[QemuTarget]:
    with boot(*request.param) as guest:
        yield guest


@pytest.fixture
def module(target: QemuTarget) -> Iterator[str]:
    """The module's path on the target, loaded; unloaded afterwards, with nothing in the log."""
    path = module_for(target)
    remote = target.put(path, path.name)
    target.kernel_log()
    assert command(target, "insmod", remote) == (0, [])
    yield remote
    assert command(target, "rmmod", "hx_pgtable") == (0, [])
    assert find_splats(target.kernel_log(settle=True)) == ()


def command(target: QemuTarget, *argv: str) -> tuple[int, list[str]]:
    lines: list[str] = []
    status = run(target, argv, timeout=PATIENCE, on_line=lines.append)
    return status, lines


@pytest.fixture(scope="session")
def abuse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not installed")
    program = tmp_path_factory.mktemp("abuse") / "abuse"
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-static"]
    units = sorted(str(path) for path in Path(__file__).parent.glob("abuse*.c"))
    include = f"-I{resource_dir('kselftests')}"
    subprocess.run([COMPILER, *flags, include, *units, "-o", str(program)], check=True, timeout=120)
    return program


def test_whatever_a_caller_does(target: QemuTarget, module: str, abuse: Path) -> None:
    remote = target.put(abuse, "abuse")
    status, lines = command(target, remote)
    assert [line for line in lines if not line.startswith("ok ")] == []
    assert len(lines) == 16
    assert status == 0


def test_it_comes_and_goes(target: QemuTarget, module: str) -> None:
    for _ in range(3):
        assert command(target, "rmmod", "hx_pgtable") == (0, [])
        assert command(target, "ls", "/dev/hx_pgtable")[0] != 0
        assert command(target, "insmod", module) == (0, [])
    _, nodes = command(target, "ls", "-l", "/dev/hx_pgtable")
    assert nodes[0].startswith("crw-------")


def test_it_stays_while_its_device_is_open(target: QemuTarget, module: str) -> None:
    script = "exec 3<>/dev/hx_pgtable; rmmod hx_pgtable && echo gone; exec 3>&-"
    _, lines = command(target, "sh", "-c", f"{{ {script}; }} 2>/dev/null")
    assert lines == []


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["debian:trixie", "debian:sid"])
def test_protected_mode_is_refused(spec: str) -> None:
    with boot(spec, ("kvm-arm.mode=protected",)) as guest:
        path = module_for(guest)
        status, _ = command(guest, "insmod", guest.put(path, path.name))
        assert status != 0
        log = guest.kernel_log(settle=True)
        assert any("hx_pgtable: not in protected mode" in line for line in log)
        assert find_splats(log) == ()


def test_a_kernel_that_debian_never_had() -> None:
    with pytest.raises(NoModuleError, match="6\\.12\\.0-nobody is no kernel of Debian"):
        kernels.fetch_headers("6.12.0-nobody", suite="trixie")
