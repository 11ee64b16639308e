# SPDX-License-Identifier: GPL-2.0-only
"""From the module's structures to step records, and from those to what was seen."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.execute.records import Records
from harness.resources import resource_dir

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc for this machine")

CMO, TLBI = 1, 2

Leaf = tuple[int, int, int, str, int, bool, str, int]
Note = tuple[int, int, int, int]
Bad = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("record") / "record"
    folder = resource_dir("kselftests")
    units = [Path(__file__).with_name("record_host.c"), folder / "pgtable_record.c"]
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fsanitize=address,undefined"]
    argv = ["gcc", *flags, f"-I{folder}", *map(str, units), "-o", str(output)]
    subprocess.run(argv, check=True, timeout=60)
    return output


def _leaf(run: Leaf) -> bytes:
    ipa, size, pa, prot, sw, young, attr, count = run
    known = ["normal", "nc", "device"]
    kind = known.index(attr) if attr in known else 3
    bits = int(attr.removeprefix("bits ")) if kind == 3 else 7
    mask = sum(1 << "rwx".index(letter) for letter in prot)
    shift = size.bit_length() - 1
    return struct.pack("<QQQIBBBB", ipa, pa, bits, count, shift, mask, sw, kind | young << 7)


def _note(run: Note) -> bytes:
    ipa, size, value, count = run
    return struct.pack("<QQII", ipa, value, count, size.bit_length() - 1)


def _delta(before: list[Any], after: list[Any]) -> tuple[int, int, list[Any]]:
    most = min(len(before), len(after))
    head = next((i for i in range(most) if before[i] != after[i]), most)
    most -= head
    tail = next((i for i in range(most) if before[-1 - i] != after[-1 - i]), most)
    return head, tail, after[head : len(after) - tail]


def _step(
    before: Sequence[list[Any]],
    after: Sequence[list[Any]],
    bad: list[Bad],
    ret: int,
    counts: Sequence[int] = (3, 2, 5, 6, 10, 11, 12, 13, 14, 1 << 40),
) -> bytes:
    body, deltas = b"", b""
    packers: tuple[Callable[[Any], bytes], ...] = (_leaf, _note)
    for old, new, pack in zip(before, after, packers, strict=True):
        head, tail, runs = _delta(old, new)
        deltas += struct.pack("<IIII", head, tail, len(runs), 0)
        body += b"".join(pack(run) for run in runs)
    body += b"".join(struct.pack("<QiiiI", *one, 0) for one in bad)
    fields = struct.pack("<IqIIII4IQQII", 0, ret, *counts, len(bad), 0)
    size = 4 + len(fields) + len(deltas) + len(body)
    return struct.pack("<I", size) + fields + deltas + body


def _run(program: Path, data: bytes, channels: int = CMO | TLBI, extra: bool = False) -> list[str]:
    done = subprocess.run(
        [program, str(channels), str(int(extra))],
        input=data,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == b""
    assert done.returncode == 0
    return done.stdout.decode().splitlines()


_U64 = st.integers(0, (1 << 64) - 1)
_SIZES = st.sampled_from((4096, 1 << 14, 1 << 16, 1 << 21, 1 << 30))
LEAVES = st.tuples(
    _U64,
    _SIZES,
    _U64,
    st.sets(st.sampled_from("rwx")).map(lambda letters: "".join(c for c in "rwx" if c in letters)),
    st.integers(0, 15),
    st.booleans(),
    st.sampled_from(("normal", "nc", "device", "bits 18446744073709551615")),
    st.integers(1, (1 << 32) - 1),
)
NOTES = st.tuples(_U64, _SIZES, _U64, st.integers(1, (1 << 32) - 1))
TABLES = st.tuples(st.lists(LEAVES, max_size=14), st.lists(NOTES, max_size=14))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(TABLES, min_size=1, max_size=5),
    st.integers(-(1 << 31), 1 << 31),
    st.lists(st.tuples(_U64, st.integers(-1, 9), st.integers(-5, 600), st.integers(0, 9))),
)
def test_what_the_module_saw_is_what_arrives(
    program: Path, tables: list[tuple[list[Leaf], list[Note]]], ret: int, bad: list[Bad]
) -> None:
    before: tuple[list[Leaf], list[Note]] = ([], [])
    data = b""
    for table in tables:
        data += _step(before, table, bad, ret)
        before = table
    records = Records(["x"])
    records.feed("# start 0 x")
    for number, line in enumerate(_run(program, data)):
        records.feed("# step " + line.replace('"n":0', f'"n":{number}', 1))
    [(_, seen)] = records.feed('# end {"status":"done","us":1}')
    assert seen.detail == ""
    assert [(step.leaves, step.annotations) for step in seen.steps] == [
        (tuple(leaves), tuple(notes)) for leaves, notes in tables
    ]
    for step in seen.steps:
        assert (step.ret, step.tables, step.alloc) == (ret, 3, 2)
        assert step.refcounts == (tuple(bad) if bad else "ok")
        assert step.cmo == {"dcache": 5, "icache": 6}
        assert step.cmo_pages == {"dcache": 14, "icache": 1 << 40}
        assert step.tlbi == {"ipa": 10, "ipa_nsh": 11, "vmid": 12, "range": 13}


LEAF: Leaf = (4096, 4096, 0, "rw", 0, True, "normal", 1)


def test_the_first_step_stands_in_full(program: Path) -> None:
    (line,) = _run(program, _step(([], []), ([LEAF] * 20, []), [], 0))
    assert json.loads(line)["leaves"] == [list(LEAF)] * 20
    assert "leaves_delta" not in line
    assert "same" not in line


def test_of_a_list_only_the_difference_is_written(program: Path) -> None:
    many: list[Leaf] = [(ipa << 16, *LEAF[1:]) for ipa in range(100)]
    other = [*many[:50], LEAF, *many[51:]]
    data = _step(([], []), (many, []), [], 0) + _step((many, []), (other, []), [], 0)
    second = json.loads(_run(program, data)[1])
    assert second["leaves_delta"] == [50, 49, [list(LEAF)]]
    assert "leaves" not in second


def test_what_is_as_before_is_left_out(program: Path) -> None:
    data = _step(([], []), ([LEAF], []), [], 0) + _step(([LEAF], []), ([LEAF], []), [], 0)
    second = json.loads(_run(program, data)[1])
    assert second == {"n": 0, "same": True}


CHANGES = st.lists(
    st.tuples(st.integers(-35, 1), st.tuples(*[st.integers(0, 2)] * 10)), min_size=1, max_size=6
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES)
def test_every_number_arrives(program: Path, changes: list[tuple[int, tuple[int, ...]]]) -> None:
    data = b"".join(_step(([], []), ([], []), [], ret, counts) for ret, counts in changes)
    records = Records(["x"])
    records.feed("# start 0 x")
    for number, line in enumerate(_run(program, data)):
        records.feed("# step " + line.replace('"n":0', f'"n":{number}', 1))
    [(_, seen)] = records.feed('# end {"status":"done","us":1}')
    for step, (ret, counts) in zip(seen.steps, changes, strict=True):
        assert step.ret == ret
        assert (step.tables, step.alloc) == counts[:2]
        assert step.cmo == dict(zip(("dcache", "icache"), counts[2:4], strict=True))
        kinds = ("ipa", "ipa_nsh", "vmid", "range")
        assert step.tlbi == dict(zip(kinds, counts[4:8], strict=True))
        assert step.cmo_pages == dict(zip(("dcache", "icache"), counts[8:], strict=True))


def test_a_channel_that_there_is_not_is_not_written(program: Path) -> None:
    data = _step(([], []), ([], []), [], -22)
    (line,) = _run(program, data, channels=0)
    assert set(json.loads(line)) == {
        *("n", "ret", "leaves", "annotations", "tables", "alloc", "refcounts"),
    }
    (line,) = _run(program, data, channels=TLBI)
    assert "tlbi" in json.loads(line)


def test_what_destroy_forgot_stands_with_the_counts(program: Path) -> None:
    (line,) = _run(program, _step(([], []), ([], []), [], 0), extra=True)
    assert json.loads(line)["refcounts"] == [[0, 9, 3, 0]]
    (line,) = _run(program, _step(([], []), ([], []), [(1, 2, 3, 4)], 0), extra=True)
    assert json.loads(line)["refcounts"] == [[1, 2, 3, 4], [0, 9, 3, 0]]
