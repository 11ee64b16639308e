# SPDX-License-Identifier: GPL-2.0-only
"""A finding as one C file on a real kernel: it passes where the expectation is true, and fails
where it is not."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.compare import explain_finding
from harness.kernels.archive import Archive
from harness.kernels.hostapt import host_mirrors
from harness.kernels.store import Store
from harness.render.repro import render_repro
from harness.targets import Target
from harness.vocabulary import Finding, HarnessError, UsageError
from reference_model import scenario as sc
from reference_model.language import load_text
from reference_model.profiles import PROFILES
from reference_model.scenario import Scenario
from tests.asif import DIRTY, OVER, as_if, seen_otherwise
from tests.live.repro_guest import booted, run, run_module, run_program

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

KERNEL = "debian:trixie"
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with booted(KERNEL) as guest:
        yield guest


def rendered(finding: Finding, flavour: str = "standalone") -> str:
    return render_repro(finding, explain_finding(finding), flavour, "t")


def corpus(folder: str, name: str) -> list[Scenario]:
    file = REPOSITORY / "scenarios" / folder / f"{name}.yaml"
    return load_text(file.read_text(), str(file))


def told(output: str) -> tuple[int, int]:
    """Steps that were ok, and steps that were not."""
    bad = len(re.findall(r"(?m)^(?:\[[^]]*\] )?not ok \d", output))
    return len(re.findall(r"(?m)^(?:\[[^]]*\] )?ok \d", output)), bad


@pytest.mark.parametrize("name", ["faults", "dirty-log", "backing", "blocks"])
def test_a_program_passes_where_the_model_is_right(
    name: str, target: Target, tmp_path: Path
) -> None:
    done = 0
    for scenario in corpus("guest", name)[:5]:
        finding = as_if(scenario, "v6.12", "v6.12")
        try:
            text = rendered(finding)
        except UsageError:
            continue  # a backing that the file cannot have
        status, output = run_program(target, text, tmp_path)
        assert (status, told(output)) == (0, (len(scenario.steps), 0)), output
        done += 1
    assert done >= 3


def falsified() -> Finding:
    """The kernel as it is, judged by a model that forgets a dirty page."""
    finding = as_if(DIRTY, "v6.12", "v6.12")
    assert finding.prediction is not None
    wrong = seen_otherwise(finding, 2, dirty=())
    assert wrong.run is not None
    swapped = list(finding.prediction.steps)
    swapped[2] = type(swapped[2])((wrong.run.steps[2],))
    prediction = type(finding.prediction)(
        id=finding.prediction.id, profile="v6.12", steps=tuple(swapped)
    )
    return type(finding)(
        scenario=finding.scenario,
        target=finding.target,
        profile=finding.profile,
        verdict=wrong.verdict,
        prediction=prediction,
        run=finding.run,
        differences=wrong.differences,
        short_id="abc123",
    )


def test_a_program_fails_at_the_step_that_is_not_as_expected(
    target: Target, tmp_path: Path
) -> None:
    status, output = run_program(target, rendered(falsified()), tmp_path)
    assert status == 1
    assert told(output) == (len(DIRTY.steps) - 1, 1)
    assert "not ok 3 2: dirty_get slot 1" in output
    assert "dirty: expected page 3 clean, it is dirty" in output


def test_a_module_passes_where_the_model_is_right_and_fails_where_not(
    target: Target, tmp_path: Path
) -> None:
    status, log = run_module(target, rendered(as_if(OVER, "v6.12", "v6.12")), tmp_path / "a")
    assert status == 0, log
    assert told(log)[1] == 0
    status, log = run_module(target, rendered(as_if(OVER, "v6.1", "v6.12")), tmp_path / "b")
    assert status != 0
    assert "ret: expected -11, got 0" in log
    assert "got     : 0x80000000: 4 x 0x1000 -> 0x40000 rw" in log
    assert "not ok 2 1: map" in log


EVERY = sc.PgtableScenario(
    schema=1,
    id="every",
    steps=(
        sc.Map(ipa=0, size=0x20_0000, pa=0x4000_0000, prot="rwx", sw=3),
        sc.WrProtect(ipa=0, size=0x1000),
        sc.RelaxPerms(ipa=0, prot="w"),
        sc.MkOld(ipa=0, size=0x1000),
        sc.IsYoung(ipa=0, size=0x1000),
        sc.MkYoung(ipa=0),
        sc.Flush(ipa=0, size=0x1000),
        sc.GetLeaf(ipa=0),
        sc.Map(ipa=0x4000_0000, size=0x3000, pa=0x1000, prot="r-device"),
        sc.Annotate(ipa=0x4000_1000, size=0x1000, owner=1),
        sc.Unmap(ipa=0x4000_0000, size=0x1000),
        sc.Destroy(),
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "profile"),
    [
        ("debian:bookworm", "v6.1"),
        (KERNEL, "v6.12"),
        ("debian:sid", "v7.2"),
        ("debian:trixie-backports", "v7.3"),
    ],
)
def test_every_operation_has_its_form_on_every_kernel(
    spec: str, profile: str, tmp_path: Path
) -> None:
    owner = 0x1002 if PROFILES[profile].stage2.annotate == "typed" else 1
    steps = tuple(
        sc.Annotate(ipa=one.ipa, size=one.size, owner=owner) if isinstance(one, sc.Annotate)
        else one
        for one in EVERY.steps
    )  # fmt: skip
    scenario = sc.PgtableScenario(schema=1, id="every", steps=steps)
    with booted(spec) as guest:
        status, log = run_module(guest, rendered(as_if(scenario, profile, profile)), tmp_path / "m")
        assert (status, told(log)[1]) == (0, 0), log
        guest_status, output = run_program(
            guest, rendered(as_if(DIRTY, profile, profile)), tmp_path
        )
        assert guest_status == 0, output


# --- the kernel tree's own library ---------------------------------------------------------------

_PARTS = (
    "Makefile", "scripts/*", "usr/*", "include/*", "lib/rbtree.c", "arch/arm64/include/*",
    "arch/arm64/Makefile", "arch/arm64/tools/*", "tools/include/*", "tools/arch/arm64/*",
    "tools/scripts/*", "tools/build/*", "tools/lib/*", "tools/testing/selftests/*.mk",
    "tools/testing/selftests/*.h", "tools/testing/selftests/kvm/*",
    "tools/testing/selftests/rseq/*", "tools/testing/selftests/cgroup/*",
    "tools/testing/selftests/kselftest*",
)  # fmt: skip


def shell(command: str, folder: Path, seconds: float) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def source_package(suite: str, version: str) -> Path:
    """Debian's package of the kernel's source; the test is skipped where it cannot be had."""
    store = Store.default()
    try:
        mirror = host_mirrors().of(suite)
        with store.lock(f"apt-{suite}"):
            archive = Archive(suite, mirror, store)
            archive.update()
            packages = archive.packages([f"linux-source-{version}"])
            if not packages:
                pytest.skip(f"{suite} has no linux-source-{version}")
            return store.path(archive.download(packages[0]))
    except HarnessError as error:
        pytest.skip(f"no linux-source-{version}: {error}")


def source_tree(suite: str, version: str, folder: Path) -> Path:
    """What KVM selftests are built from, out of that package."""
    package = source_package(suite, version)
    root = f"linux-source-{version}"
    patterns = " ".join(f"'{root}/{part}'" for part in _PARTS)
    shell(
        f"dpkg-deb --fsys-tarfile {package} | tar -xO ./usr/src/{root}.tar.xz | xz -dc -T0 | "
        f"tar -x --wildcards {patterns}",
        folder,
        300,
    )
    tree = folder / root
    shell("make -s ARCH=arm64 headers", tree, 300)
    return tree


def add_to_makefile(kvm: Path, names: list[str]) -> Path:
    """The programs as the only ones to build; the folder they belong in."""
    new = (kvm / "Makefile.kvm").is_file()
    arch = "arm64" if new else "aarch64"
    makefile = kvm / ("Makefile.kvm" if new else "Makefile")
    lines = [
        line
        for line in makefile.read_text().splitlines()
        if not re.match(rf"TEST_GEN_PROGS(_EXTENDED)?_({arch}|COMMON) *\+?=", line)
    ]
    at = next(n for n, line in enumerate(lines) if line.startswith("TEST_GEN_PROGS += $("))
    lines[at:at] = [f"TEST_GEN_PROGS_{arch} += {arch}/{name}" for name in names]
    makefile.write_text("\n".join(lines) + "\n")
    return kvm / arch


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(("suite", "version"), [("trixie", "6.12"), ("sid", "7.2")])
def test_a_selftest_builds_in_the_kernel_tree_and_says_the_same(
    suite: str, version: str, target: Target, tmp_path: Path
) -> None:
    if shutil.which("aarch64-linux-gnu-gcc") is None:
        pytest.skip("aarch64-linux-gnu-gcc is not installed")
    tree = source_tree(suite, version, tmp_path)
    kvm = tree / "tools" / "testing" / "selftests" / "kvm"
    right = {
        scenario.id.replace(".", "_"): as_if(scenario, "v6.12", "v6.12")
        for name in ("faults", "dirty-log", "backing")
        for scenario in corpus("guest", name)[:5]
        if not any(
            isinstance(step, sc.SlotAdd) and step.backing.kind == "file_ro"
            for step in scenario.steps
        )
    }
    folder = add_to_makefile(kvm, [*right, "wrong"])
    for name, finding in {**right, "wrong": falsified()}.items():
        text = render_repro(finding, explain_finding(finding), "upstream", name)
        (folder / f"{name}.c").write_text(text)
    shell(
        "make -s -j2 ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- "
        f"KHDR_INCLUDES='-isystem {tree}/usr/include' LDFLAGS='-static -pthread'",
        kvm,
        600,
    )
    for name in right:
        status, output = run(target, [target.put(folder / name, name)])
        assert (status, told(output)[1]) == (0, 0), output
    status, output = run(target, [target.put(folder / "wrong", "wrong")])
    assert status == 1
    assert told(output) == (len(DIRTY.steps) - 1, 1)
