# SPDX-License-Identifier: GPL-2.0-only
"""Results survive the round trip; databases that are not ours to touch are left alone."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import msgspec
import pytest

from harness.runs import RunInfo, RunTarget
from harness.store import RunState, Store
from harness.store.database import short_id
from harness.store.schema import SCHEMA_VERSION
from harness.vocabulary import Finding, UsageError, Verdict
from tests.store.samples import P61, RUN, TARGET, judged, scenarios

GUEST = scenarios("guest", 4)
PGTABLE = scenarios("pgtable", 30, profile=P61)


def test_round_trip(tmp_path: Path) -> None:
    finding = judged(GUEST[0])
    with Store(tmp_path) as store:
        store.add_run(RUN)
        store.add(RUN.id, [finding])
    with Store(tmp_path) as store:
        assert store.runs() == [RUN]
        assert list(store.findings(RUN.id)) == [finding]
        assert store.find(finding.short_id) == finding
        assert store.find("0000000") is None
        assert store.find("") is None
        assert store.new_run_id("2026-01-01") == "2026-01-01-2"


def test_rows_tell_what_a_summary_needs(tmp_path: Path) -> None:
    diverge = next(
        one
        for one in (judged(scenario, model=P61) for scenario in PGTABLE)
        if one.verdict is Verdict.DIVERGE
    )
    with Store(tmp_path) as store:
        store.add_run(RUN)
        store.add(RUN.id, [diverge])
        (row,) = store.results(RUN.id)
    assert row.verdict is Verdict.DIVERGE
    assert row.step == diverge.differences[0].step
    assert diverge.run is not None
    assert row.steps == len(diverge.run.steps)
    assert row.micros == 1000
    assert (row.scenario, row.suite) == (diverge.scenario.id, "pgtable")
    assert len(row.digest) == 16


def test_findings_by_verdict(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add_run(RUN)
        store.add(RUN.id, [judged(GUEST[0])])
        assert list(store.findings(RUN.id, only_findings=True)) == []
        assert list(store.findings(RUN.id, verdicts=[Verdict.DIVERGE])) == []
        assert len(list(store.findings(RUN.id, verdicts=[Verdict.MATCH]))) == 1


def test_what_was_judged_needs_no_second_run(tmp_path: Path) -> None:
    infra = msgspec.structs.replace(judged(GUEST[1]), verdict=Verdict.INFRA)
    with Store(tmp_path) as store:
        store.add_run(RUN)
        store.add(RUN.id, [judged(GUEST[0]), infra])
        ((target, scenario, _),) = store.judged(RUN.id)
    assert (target, scenario) == (TARGET.name, GUEST[0].id)


def test_targets_notes_and_state(tmp_path: Path) -> None:
    target = RunTarget(info=TARGET, profile="v6.12", env={"fwb": "on"}, transitions=(3, 4))
    with Store(tmp_path) as store:
        store.add_run(RUN)
        assert store.state(RUN.id) == (RunState.RUNNING, None)
        store.add(RUN.id, targets=[target], notes=["guest replaced"])
        store.add(RUN.id, [judged(GUEST[0])])
        store.set_state(RUN.id, RunState.DONE, "later")
        assert store.targets(RUN.id) == [target]
        assert store.notes(RUN.id) == ["guest replaced"]
        assert store.state(RUN.id) == (RunState.DONE, "later")


def test_ids_by_their_beginning_and_by_name(tmp_path: Path) -> None:
    findings = [judged(scenario) for scenario in PGTABLE]
    with Store(tmp_path) as store:
        store.add_run(RUN)
        store.add(RUN.id, findings)
        ident = findings[3].short_id
        others = [one.short_id for one in findings if one is not findings[3]]
        length = next(n for n in range(1, 7) if not any(o[:n] == ident[:n] for o in others))
        assert store.find(ident[:length]) == findings[3]
        located = store.locate(f"{RUN.id}/{findings[5].scenario.id}")
        assert located is not None
        assert located.finding == findings[5]
        assert located.run == RUN
        digits = [one.short_id[0] for one in findings]
        shared = next(digit for digit in digits if digits.count(digit) > 1)
        with pytest.raises(UsageError, match="begins several ids"):
            store.find(shared)


def test_a_clash_of_ids_prefers_what_is_no_match(tmp_path: Path) -> None:
    bad = msgspec.structs.replace(judged(GUEST[0]), verdict=Verdict.DIVERGE)
    match = msgspec.structs.replace(judged(GUEST[1]), short_id=bad.short_id)
    with Store(tmp_path) as store:
        store.add_run(RUN)
        store.add(RUN.id, [bad, match])
        assert store.find(bad.short_id) == bad


def test_run_ids_are_given_out_once(tmp_path: Path) -> None:
    Store(tmp_path).__exit__()
    made: list[str] = []

    def begin() -> None:
        with Store(tmp_path) as store:
            for _ in range(5):
                info = store.begin(
                    "2026-01-01", lambda ident: msgspec.structs.replace(RUN, id=ident)
                )
                made.append(info.id)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(made, key=lambda one: int(one.rpartition("-")[2])) == [
        f"2026-01-01-{number}" for number in range(1, 21)
    ]


def test_run_named(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        with pytest.raises(UsageError, match="no run is stored here"):
            store.run_named(None)
        store.add_run(RUN)
        assert store.run_named(None) == store.run_named(RUN.id) == RUN
        with pytest.raises(UsageError, match="no run 'x' is stored here; the last is 2026-01-01-1"):
            store.run_named("x")


# --- databases of other versions, and what is none ---------------------------------------------

V1 = """
CREATE TABLE runs (id TEXT PRIMARY KEY, started TEXT NOT NULL, info BLOB NOT NULL);
CREATE TABLE results (
    run TEXT NOT NULL REFERENCES runs(id), short TEXT NOT NULL, scenario TEXT NOT NULL,
    target TEXT NOT NULL, verdict TEXT NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (run, scenario, target));
CREATE INDEX results_short ON results(short);
PRAGMA user_version=1;
"""


def make_v1(root: Path, findings: list[Finding], run: RunInfo = RUN) -> None:
    """A database as version 1 wrote it."""
    root.mkdir(exist_ok=True)
    database = sqlite3.connect(root / "harness.db")
    with database:
        database.executescript(V1)
        old = {key: getattr(run, key) for key in ("id", "started", "command", "seed", "version")}
        database.execute(
            "INSERT INTO runs VALUES (?,?,?)", (run.id, run.started, msgspec.json.encode(old))
        )
        for finding in findings:
            database.execute(
                "INSERT INTO results VALUES (?,?,?,?,?,?)",
                (
                    run.id,
                    finding.short_id,
                    finding.scenario.id,
                    finding.target.name,
                    finding.verdict.value,
                    msgspec.json.encode(msgspec.structs.replace(finding, not_compared=())),
                ),
            )
    database.close()


def test_version_1_is_migrated(tmp_path: Path) -> None:
    findings = [judged(GUEST[0]), judged(PGTABLE[0]), judged(PGTABLE[1], model=P61)]
    make_v1(tmp_path, findings)
    for _ in range(2):  # migrated once, then merely opened
        with Store(tmp_path) as store:
            assert store.runs() == [RUN]
            read = list(store.findings(RUN.id))
            assert [one.scenario.id for one in read] == [one.scenario.id for one in findings]
            assert [one.verdict for one in read] == [one.verdict for one in findings]
            assert read[0] == msgspec.structs.replace(findings[0], not_compared=())
            assert store.find(findings[1].short_id) == read[1]
            assert [row.suite for row in store.results(RUN.id)] == ["guest", "pgtable", "pgtable"]
            assert [row.steps for row in store.results(RUN.id)] == [
                len(one.run.steps) if one.run else 0 for one in findings
            ]
            assert [target.info for target in store.targets(RUN.id)] == [TARGET]
            assert store.state(RUN.id)[0] is RunState.DONE
    with sqlite3.connect(tmp_path / "harness.db") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        tables = {row[0] for row in database.execute("SELECT tbl_name FROM sqlite_master")}
    assert not any(name.endswith("_1") for name in tables)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    make_v1(tmp_path, [judged(GUEST[0])])
    with sqlite3.connect(tmp_path / "harness.db") as database:
        database.execute("UPDATE results SET record = '{'")
    database.close()
    before = (tmp_path / "harness.db").read_bytes()
    with pytest.raises(UsageError, match=r"schema 1 cannot be brought .* move it away"):
        Store(tmp_path)
    assert (tmp_path / "harness.db").read_bytes() == before


def test_newer_schema_is_left_alone(tmp_path: Path) -> None:
    with Store(tmp_path):
        pass
    database = sqlite3.connect(tmp_path / "harness.db")
    with database:
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    database.close()
    before = (tmp_path / "harness.db").read_bytes()
    with pytest.raises(UsageError, match="newer than this version"):
        Store(tmp_path)
    assert (tmp_path / "harness.db").read_bytes() == before


def test_damaged_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "harness.db").write_bytes(b"this is no database, whatever its name says" * 100)
    before = (tmp_path / "harness.db").read_bytes()
    with pytest.raises(UsageError, match="cannot be used"):
        Store(tmp_path)
    assert (tmp_path / "harness.db").read_bytes() == before


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "harness.db")
    with database:
        database.execute("CREATE TABLE bookmarks (url TEXT)")
    database.close()
    before = (tmp_path / "harness.db").read_bytes()
    with pytest.raises(UsageError, match="not of results"):
        Store(tmp_path)
    assert (tmp_path / "harness.db").read_bytes() == before


def test_pages_damaged_later_on_are_one_error(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add_run(RUN)
        store.add(RUN.id, [judged(scenario) for scenario in PGTABLE])
    path = tmp_path / "harness.db"
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    path.write_bytes(bytes(data))
    with pytest.raises(UsageError, match="cannot be used"), Store(tmp_path) as store:
        list(store.findings(RUN.id))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used"):
        Store(tmp_path / "file")


def test_short_ids_differ() -> None:
    assert short_id("a", "b", "c") != short_id("a", "b", "d")
