# SPDX-License-Identifier: GPL-2.0-only
"""The pgtable suite as C: what a person reads, and that it means what the scenario says."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from harness.render import render_batch, render_one
from harness.render.text import WIDTH, columns
from harness.resources import resource_dir
from harness.vocabulary import UsageError
from reference_model import scenario as sc
from reference_model.language import load_text
from reference_model.outcome import Observation, Prediction, StepPrediction
from tests.render.csource import without_comments
from tests.render.strategies import IDS, TITLES

GOLDEN = Path(__file__).parent / "golden"

_U64 = st.integers(0, (1 << 64) - 1)
_SIZE = st.sampled_from((0, 1, 4096, 1 << 14, 1 << 21, 1 << 30)) | _U64
_PROT = st.builds(
    lambda letters, kind: "".join(letters) + kind,
    st.sets(st.sampled_from("rwx")).map(sorted),
    st.sampled_from(("", "-device", "-nc")),
)
_FLAGS = st.lists(st.sampled_from(("shared", "handle_fault", "ignore_eagain")), max_size=4).map(
    tuple
)
_CACHE = st.none() | st.integers(0, 1 << 20)
_RANGE = {"ipa": _U64, "size": _SIZE}

STEPS = st.one_of(
    st.builds(
        sc.Map,
        **_RANGE,
        pa=_U64,
        prot=_PROT,
        sw=st.integers(0, 15),
        flags=_FLAGS,
        memcache=st.just(UNSET) | _CACHE,
    ),
    st.builds(sc.RelaxPerms, ipa=_U64, prot=_PROT, flags=_FLAGS),
    st.builds(sc.Annotate, **_RANGE, owner=_U64),
    st.builds(sc.Split, **_RANGE, memcache=st.just(UNSET) | _CACHE),
    *(
        st.builds(op, **_RANGE)
        for op in (sc.Unmap, sc.WrProtect, sc.MkYoung, sc.MkOld, sc.IsYoung, sc.Flush)
    ),
    st.builds(sc.GetLeaf, ipa=_U64),
)
SCENARIOS = st.builds(
    sc.PgtableScenario,
    schema=st.just(1),
    id=IDS,
    title=TITLES,
    granule=st.sampled_from((None, "4K", "16K", "64K")),
    ipa_bits=st.integers(32, 52),
    memcache=_CACHE,
    steps=st.lists(STEPS, min_size=1, max_size=8).map(tuple),
)


def _scenarios(name: str) -> list[sc.Scenario]:
    path = GOLDEN / f"{name}.yaml"
    return load_text(path.read_text(), path.name)


def test_golden() -> None:
    assert render_batch(_scenarios("pgtable")) == (GOLDEN / "pgtable.c").read_text()


def test_expectations_in_few_words() -> None:
    scenario = sc.PgtableScenario(
        schema=1,
        id="x",
        steps=(sc.Map(ipa=0, size=4096, pa=0, prot="rw"), sc.Unmap(ipa=0, size=4096)),
    )
    runs = (
        (0x8000_0000, 4096, 0, "rw", 0, True, "normal", 3),
        (0x9000_0000, 1 << 21, 0, "", 5, False, "device", 1),
        (0xA000_0000, 4096, 0, "r", 0, True, "nc", 1),
    )
    prediction = Prediction(
        id="x",
        profile="v7.2",
        steps=(
            StepPrediction((Observation(ret=-11, leaves=runs, tables=4),)),
            StepPrediction((Observation(ret=0, leaves=()),)),
        ),
    )
    source = render_one(scenario, prediction)
    assert "/* 1: ret 0; no leaf */" in source
    words = "0x80000000 3 x 4K rw, 0x90000000 2M no access sw=0x5 device old, 1 more"
    assert f"/* 0: ret -EAGAIN; {words} */" in source
    assert without_comments(source) == without_comments(render_one(scenario))


def test_a_number_too_large_names_its_step() -> None:
    wide = sc.PgtableScenario(
        schema=1, id="wide", steps=(sc.GetLeaf(ipa=0), sc.Unmap(ipa=1 << 64, size=0))
    )
    with pytest.raises(UsageError, match=r"'wide': step 1 \(unmap\): ipa 0x1"):
        render_one(wide)


@given(SCENARIOS)
def test_lines_are_of_kernel_width(scenario: sc.PgtableScenario) -> None:
    for line in render_one(scenario).split("\n"):
        assert line == line.rstrip()
        assert columns(line) <= WIDTH


def _meaning(scenario: sc.PgtableScenario) -> dict[str, Any]:
    """What the C has to say, in the form of pgtable_dump.c."""
    granule = {None: 0, "4K": 1 << 12, "16K": 1 << 14, "64K": 1 << 16}[scenario.granule]
    return {
        "granule": granule,
        "ipa_bits": scenario.ipa_bits,
        "memcache": scenario.memcache,
        "steps": [_step(step) for step in scenario.steps],
    }


def _step(step: sc.PgtableOp) -> dict[str, Any]:
    codes = [
        *(sc.Map, sc.Unmap, sc.WrProtect, sc.RelaxPerms, sc.MkYoung, sc.MkOld, sc.IsYoung),
        *(sc.Flush, sc.Annotate, sc.Split, sc.GetLeaf, sc.Destroy),
    ]
    letters, _, kind = getattr(step, "prot", "").partition("-")
    prot = sum(1 << "rwx".index(letter) for letter in letters)
    names = ("shared", "handle_fault", "ignore_eagain")
    wanted: dict[str, Any] = {
        "code": codes.index(type(step)) + 1,
        "prot": prot | {"": 0, "device": 8, "nc": 16}[kind],
        "ipa": getattr(step, "ipa", 0),
        "size": getattr(step, "size", 0),
        "pa": getattr(step, "pa", getattr(step, "owner", 0)),
        "sw": getattr(step, "sw", 0),
        "flags": sum({1 << names.index(flag) for flag in getattr(step, "flags", ())}),
    }
    cache = getattr(step, "memcache", UNSET)
    return wanted if cache is UNSET else wanted | {"memcache": cache}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc for this machine")
@settings(
    max_examples=4,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(SCENARIOS, min_size=20, max_size=40, unique_by=lambda scenario: scenario.id))
def test_the_c_means_what_the_scenario_says(
    tmp_path_factory: pytest.TempPathFactory, scenarios: list[sc.PgtableScenario]
) -> None:
    folder = tmp_path_factory.mktemp("dump")
    (folder / "batch.c").write_text(render_batch(scenarios), encoding="utf-8")
    units = [str(folder / "batch.c"), str(Path(__file__).with_name("pgtable_dump.c"))]
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{resource_dir('kselftests')}"]
    program = folder / "dump"
    subprocess.run(["gcc", *flags, *units, "-o", str(program)], check=True, timeout=60)
    done = subprocess.run([program], capture_output=True, text=True, check=True, timeout=60)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said == [_meaning(scenario) for scenario in scenarios]
