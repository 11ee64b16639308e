# SPDX-License-Identifier: GPL-2.0-only
"""What must hold of the model for any program, under every profile."""

from __future__ import annotations

from hypothesis import given, settings

from reference_model.invariants import violations
from reference_model.leafview import run_end
from reference_model.outcome import LeafRun
from reference_model.pgtable import Leaf, Note, Table, descendants, miscounted
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.pte import words
from reference_model.scenario import PgtableScenario
from reference_model.stage2_machine import Stage2Machine, predict_pgtable, skip_reason
from tests.reference_model.stage2_programs import programs

Program = tuple[PgtableScenario, SemanticsProfile, Environment]


@given(programs())
@settings(max_examples=100, deadline=None)
def test_no_invariant_is_broken(program: Program) -> None:
    scenario, profile, env = program
    prediction = predict_pgtable(scenario, profile, env)
    observed = [step.allowed[0] for step in prediction.steps]
    assert len(observed) == len(scenario.steps)
    assert [str(found) for found in violations(scenario, observed, env)] == []


@given(programs())
@settings(max_examples=100, deadline=None)
def test_counts_and_runs_are_those_of_the_tree(program: Program) -> None:
    """Reference counts, table pages and runs, each taken afresh from the whole tree."""
    scenario, profile, env = program
    assert skip_reason(scenario, profile, env) == ""
    machine = Stage2Machine(scenario.ipa_bits, scenario.memcache, profile.stage2, env)
    for op in scenario.steps:
        seen = machine.step(op)
        root = machine.state.root
        assert miscounted(root) == []
        assert seen.tables == sum(1 for _ in descendants(root))
        assert isinstance(seen.leaves, tuple)
        assert isinstance(seen.annotations, tuple)
        assert list(seen.leaves) == _merged(_leaves(root, env))
        assert [run[:3] for run in seen.annotations] == _notes(root)


@given(programs())
@settings(max_examples=30, deadline=None)
def test_a_prediction_is_the_same_twice(program: Program) -> None:
    assert predict_pgtable(*program) == predict_pgtable(*program)


def _leaves(table: Table, env: Environment) -> list[LeafRun]:
    """The leaves of the whole tree, ascending, a run for each entry of each table."""
    size = 1 << table.shift
    out: list[LeafRun] = []
    for entry in table.entries:
        if isinstance(entry, Leaf):
            prot, sw, af, attr = words(entry.attr, env.fwb)
            count = entry.stop - entry.first
            out.append((table.address(entry.first), size, entry.pa, prot, sw, af, attr, count))
        elif not isinstance(entry, Note):
            out += _leaves(entry.table, env)
    return out


def _merged(parts: list[LeafRun]) -> list[LeafRun]:
    out: list[LeafRun] = []
    for run in parts:
        if out and _goes_on(out[-1], run):
            out[-1] = (*out[-1][:7], out[-1][7] + run[7])
        else:
            out.append(run)
    return out


def _notes(root: Table) -> list[tuple[int, int, int]]:
    """Where each run of owners begins, with size and value."""
    runs: list[tuple[int, int, int, int]] = []
    for table in sorted((root, *descendants(root)), key=lambda table: (table.base, -table.shift)):
        for entry in table.entries:
            if not isinstance(entry, Note):
                continue
            ipa, size = table.address(entry.first), 1 << table.shift
            stop = table.address(entry.stop)
            if runs and runs[-1][3] == ipa and runs[-1][1:3] == (size, entry.value):
                runs[-1] = (*runs[-1][:3], stop)
            else:
                runs.append((ipa, size, entry.value, stop))
    return [run[:3] for run in runs]


def _goes_on(left: LeafRun, right: LeafRun) -> bool:
    """The two runs should have been one."""
    meets = run_end(left) == right[0] and left[2] + left[1] * left[7] == right[2]
    return meets and (left[1], *left[3:7]) == (right[1], *right[3:7])
