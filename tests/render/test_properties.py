# SPDX-License-Identifier: GPL-2.0-only
"""Whatever a scenario says, its C holds the scenario's calls and nothing else."""

from __future__ import annotations

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from harness.render import render_batch, render_one
from harness.render.text import WIDTH, columns, comment_text, function_name
from reference_model import scenario as sc
from reference_model.outcome import Observation, Prediction, StepPrediction
from reference_model.scenario import GuestScenario
from tests.render.csource import comments, without_comments
from tests.render.strategies import IDS, SCENARIOS, TITLES

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")


@given(SCENARIOS)
def test_title_reaches_comments_only(scenario: GuestScenario) -> None:
    plain = msgspec.structs.replace(scenario, title="")
    assert without_comments(render_one(scenario)) == without_comments(render_one(plain))


@given(SCENARIOS, TITLES)
def test_expectation_reaches_comments_only(scenario: GuestScenario, text: str) -> None:
    odd = Observation(ret=-22, exit={"reason": text}, injected={"ec": text, "fsc": 16})
    prediction = Prediction(
        id=scenario.id,
        profile=text,
        steps=tuple(StepPrediction((odd,)) for _ in scenario.steps),
    )
    source = render_one(scenario, prediction)
    assert without_comments(source) == without_comments(render_one(scenario))


#: What is not called as the language calls it: all else stands there under its own name.
_PREFIXED = {
    **dict.fromkeys(("read", "write", "exec", "cas", "dc_zva", "dc_civac"), "guest_"),
    **dict.fromkeys(("madvise", "mprotect", "age"), "host_"),
}


def _helper(step: sc.GuestOp) -> str:
    """The function of kselftests/guest.h that a step calls."""
    if isinstance(step, sc.At):
        return "guest_at_write" if step.write else "guest_at_read"
    if isinstance(step, sc.Remap):
        return "host_remap" if step.to == "fresh" else "host_unmap"
    if isinstance(step, sc.UffdWp):
        return "uffd_protect" if step.protect else "uffd_unprotect"
    return _PREFIXED.get(step.name, "") + step.name


@given(SCENARIOS)
def test_one_call_a_step_in_order(scenario: GuestScenario) -> None:
    source = render_one(scenario)
    words = " ".join(without_comments(source))
    calls = re.findall(r"(\w+)\(vm, ", words)
    assert calls == [_helper(step) for step in scenario.steps]
    # The first three are the licence's, the file's and the function's own.
    numbered = [f"/* {number} */" for number in range(len(scenario.steps))]
    assert comments(source)[3:] == numbered


@given(SCENARIOS)
def test_lines_are_printable_and_of_kernel_width(scenario: GuestScenario) -> None:
    source = render_one(scenario)
    assert source.replace("\n", "").replace("\t", "").isprintable()
    assert source.endswith("}\n")
    for line in source.split("\n"):
        assert line == line.rstrip()
        assert columns(line) <= WIDTH


@given(st.lists(IDS, unique=True, max_size=12))
def test_function_names_are_identifiers_and_differ(ids: list[str]) -> None:
    taken: set[str] = set()
    for ident in ids:
        name = function_name(ident, taken)
        assert _IDENTIFIER.fullmatch(name)
        assert name not in taken
        taken.add(name)


@given(TITLES)
def test_comment_text_neither_opens_nor_ends_a_comment(title: str) -> None:
    text = comment_text(title)
    assert "*/" not in f"{text} "
    assert "/*" not in text
    assert "\n" not in text
    assert comments(f"/* {text} */") == [f"/* {text} */"]


@given(st.lists(SCENARIOS, min_size=1, max_size=5, unique_by=lambda s: s.id))
def test_table_holds_every_id_in_order(scenarios: list[GuestScenario]) -> None:
    source = render_batch(scenarios)
    table = source.partition("static const struct scenario scenarios[]")[2]
    assert re.findall(r'\{ "(.*)",\s+test_', table) == [s.id for s in scenarios]
