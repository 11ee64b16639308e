# SPDX-License-Identifier: GPL-2.0-only
"""The record parser: what fits is read, what does not is recorded, nothing raises."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.execute.records import MAX_QUOTE, MAX_STRAY, Records
from harness.vocabulary import RunStatus, ScenarioRun
from reference_model.outcome import Observation
from tests.execute.fake import hello, scenario


def parse(lines: list[str], ids: tuple[str, ...] = ("a", "b")) -> tuple[Records, list[ScenarioRun]]:
    records = Records(ids)
    runs = [run for line in lines for _, run in records.feed(line)]
    return records, runs


def test_a_whole_transcript() -> None:
    records, runs = parse([*hello(), *scenario(0, "a"), *scenario(1, "b", steps=0, status="skip")])
    assert [(run.id, run.status, len(run.steps)) for run in runs] == [
        ("a", RunStatus.DONE, 2),
        ("b", RunStatus.SKIP, 0),
    ]
    assert runs[0].steps[1] == Observation(ret=-1)
    assert runs[0].micros == 10
    assert records.hello is not None
    assert records.hello.trace
    assert records.running is None
    assert not records.stray
    assert not records.refusal


def test_a_channel_that_was_not_read_is_absent_and_null_is_none() -> None:
    step = (
        '# step {"n":0,"ret":0,"exit":null,"data":17,"injected":null,"faults":1,'
        '"maps":[["map",2147495936,4096,7,0],["relax",4096,7,-11]],"dirty":[0,3]}'
    )
    _, runs = parse(["# start 0 a", step, '# end {"status":"done","us":1}'])
    (seen,) = runs[0].steps
    assert seen.exit is None
    assert seen.injected is None
    assert seen.maps == (("map", 2147495936, 4096, 7, 0), ("relax", 4096, 7, -11))
    assert seen.dirty == (0, 3)
    assert seen.leaves is msgspec.UNSET


@pytest.mark.parametrize(
    "bad",
    [
        '# step {"n":0,"ret":',
        "# step ",
        "# step null",
        '# step {"ret":0}',
        '# step {"n":1,"ret":0}',
        '# step {"n":0,"ret":"zero"}',
        '# step {"n":0,"rets":0}',
        '# step {"n":0,"leaves":[[1,2,3]]}',
        '# step {"n":0,"ret":1e400}',
        "# step " + "[" * 100_000,
        '# step {"n":0,"exit":"\ufffd',
    ],
)
def test_a_malformed_step_makes_its_scenario_infra_and_only_it(bad: str) -> None:
    good = '# step {"n":0,"ret":0}'
    end = '# end {"status":"done","us":1}'
    _, runs = parse(["# start 0 a", bad, good, end, "# start 1 b", good, end])
    assert [run.status for run in runs] == [RunStatus.INFRA, RunStatus.DONE]
    assert bad[:30] in runs[0].detail
    assert len(runs[0].detail) <= MAX_QUOTE
    assert runs[0].step == 0


def test_a_missing_end_and_a_malformed_end_are_infra() -> None:
    _, runs = parse(["# start 0 a", '# step {"n":0,"ret":0}', "# start 1 b", '# end {"status":5}'])
    assert [run.status for run in runs] == [RunStatus.INFRA, RunStatus.INFRA]
    assert "no end record" in runs[0].detail
    assert "malformed end record" in runs[1].detail


def test_crash_and_hang_of_a_child_are_passed_on() -> None:
    end = '# end {"status":"crash","us":3,"detail":"SIGSEGV","step":1}'
    _, runs = parse(["# start 0 a", end])
    assert runs[0].status is RunStatus.CRASH
    assert (runs[0].detail, runs[0].step) == ("SIGSEGV", 1)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("# start 0 other", "expected a"),
        ("# start 7 a", "no such scenario"),
        ("# start", ""),
        ("# start x a", "no such scenario"),
        ("# start 99999999999999999999 a", "no such scenario"),
        ('# hello {"protocol":2}', "protocol 2"),
    ],
)
def test_another_batch_is_refused(line: str, names: str) -> None:
    records, _ = parse([line])
    if line == "# start":  # no record at all
        assert records.stray == [line]
        return
    assert names in records.refusal


def test_unknown_lines_are_kept_with_their_scenario() -> None:
    records, runs = parse(
        ["before", "# note", "# start 0 a", "segfault?", '# end {"status":"done","us":1}', "after"]
    )
    assert records.stray == ["before", "# note", "after"]
    assert runs[0].log == ("segfault?",)


def test_garbage_is_bounded() -> None:
    records, _ = parse(["x" * 10_000] * 1000)
    assert len(records.stray) == MAX_STRAY
    assert all(len(line) <= MAX_QUOTE for line in records.stray)


LINES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [*hello(), *scenario(0, "a"), *scenario(1, "b"), *scenario(0, "b"), "# start 0", "# end {}"]
    ),
    st.builds("# step {}".format, st.text(max_size=40)),
    st.builds("# end {}".format, st.text(max_size=40)),
    st.builds(
        lambda value: f"# step {json.dumps(value)}",
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.sampled_from(["n", "ret", "x"]), inner)
            ),
            max_leaves=8,
        ),
    ),
)


@given(st.lists(LINES, max_size=30))
def test_nothing_makes_it_raise_and_each_start_ends_at_most_once(lines: list[str]) -> None:
    records, runs = parse(lines)
    starts = sum(line.startswith(("# start 0 a", "# start 1 b")) for line in lines)
    assert len(runs) + (records.running is not None) <= starts
    for run in runs:
        assert run.status is not RunStatus.DONE or all(
            isinstance(step, Observation) for step in run.steps
        )


@given(
    st.lists(
        st.builds(
            Observation,
            ret=st.integers(-4095, 2**31),
            data=st.none() | st.integers(0, 2**64 - 1),
            dirty=st.lists(st.integers(0, 2**20)).map(lambda pages: tuple(sorted(set(pages)))),
            exit=st.none() | st.just({"reason": "mmio", "gpa": 1 << 33, "len": 4, "write": False}),
        ),
        max_size=6,
    )
)
def test_observations_round_trip(steps: list[Observation]) -> None:
    lines = ["# start 0 a"]
    for number, step in enumerate(steps):
        lines.append(f"# step {json.dumps({'n': number, **msgspec.to_builtins(step)})}")
    _, runs = parse([*lines, '# end {"status":"done","us":1}'])
    assert runs[0].steps == tuple(steps)
