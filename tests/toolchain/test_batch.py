# SPDX-License-Identifier: GPL-2.0-only
"""Rendered C becomes a checked static program; what does not compile is a BuildError."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings

from harness.render import render_batch
from harness.resources import resource_dir
from harness.toolchain import build_batch, find_compiler
from harness.toolchain.compiler import run_compiler
from harness.toolchain.elf import check_elf
from harness.toolchain.runtime import runtime_headers
from harness.vocabulary import BuildError
from reference_model import scenario as sc
from reference_model.scenario import GuestScenario
from tests.render.strategies import SCENARIOS

pytestmark = pytest.mark.skipif(
    shutil.which("aarch64-linux-gnu-gcc") is None, reason="no aarch64-linux-gnu-gcc"
)


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One for the module: the runtime is compiled once."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.delenv("HARNESS_CC", raising=False)


def _scenario(ident: str) -> GuestScenario:
    return GuestScenario(schema=1, id=ident, steps=(sc.DirtyGet(slot=1),))


def test_a_static_arm64_program() -> None:
    scenarios = [_scenario("a"), _scenario("b")]
    program = build_batch(render_batch(scenarios), ("a", "b"))
    assert program.ids == ("a", "b")
    with Path(program.elf).open("rb") as stream:
        elf = ELFFile(stream)
        assert elf.header["e_machine"] == "EM_AARCH64"
        assert not [s for s in elf.iter_segments() if s["p_type"] == "PT_INTERP"]


def test_the_second_time_it_is_there() -> None:
    source = render_batch([_scenario("again")])
    first = Path(build_batch(source, ("again",)).elf)
    inode = first.stat().st_ino
    second = Path(build_batch(source, ("again",)).elf)
    assert (second, second.stat().st_ino) == (first, inode)


def test_other_source_is_another_program() -> None:
    one = build_batch(render_batch([_scenario("one")]), ("one",))
    two = build_batch(render_batch([_scenario("two")]), ("two",))
    assert one.elf != two.elf


def test_ids_that_are_not_in_it() -> None:
    with pytest.raises(BuildError, match="holds 1 scenarios, not 2"):
        build_batch(render_batch([_scenario("a")]), ("a", "b"))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("int main(void) { return no; }", "'no' undeclared"),
        ("int main(void) { int unused; return 0; }", "unused variable"),
        ("int f(void) { return 0; }", "undefined reference to `main'"),
    ],
)
def test_what_does_not_build(source: str, problem: str) -> None:
    with pytest.raises(BuildError, match=problem):
        build_batch(source, ("a",))


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(SCENARIOS)
def test_any_scenario_compiles(scenario: GuestScenario) -> None:
    assert build_batch(render_batch([scenario]), (scenario.id,)).ids == (scenario.id,)


def test_every_header_stands_alone(tmp_path: Path) -> None:
    """A header that needs another includes it."""
    compiler = find_compiler()
    folder = resource_dir("kselftests")
    headers = [path for path in runtime_headers() if path.parent == folder]
    assert headers
    unit = tmp_path / "unit.c"
    for header in headers:
        unit.write_text(f'#include "{header.name}"\n')
        run_compiler(
            compiler.command,
            ["-Wall", "-Werror", f"-I{header.parent}", "-c", "unit.c", "-o", f"{header.stem}.o"],
            tmp_path,
        )  # BuildError with its first complaint
    assert {path.stem for path in tmp_path.glob("*.o")} == {path.stem for path in headers}


def test_elf_of_another_machine() -> None:
    with pytest.raises(BuildError, match=r"not for 64-bit arm64|not static"):
        check_elf(Path("/bin/sh").resolve(), 0)


def test_no_elf_at_all(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no ELF")
    with pytest.raises(BuildError, match="no readable ELF"):
        check_elf(text, 0)
