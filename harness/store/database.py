# SPDX-License-Identifier: GPL-2.0-only
"""Results in SQLite: a row of plain facts a scenario and target, its whole record beside it.

The database lives in ``.harness/harness.db`` under the working directory; a run's files (report)
in ``.harness/runs/<run id>/``.
"""

from __future__ import annotations

import enum
import hashlib
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from harness.runs import Result, RunInfo, RunTarget, result_of
from harness.store.packing import PACKED, digest, pack, unpack
from harness.store.schema import SCHEMA_VERSION, create, migrate
from harness.vocabulary import Finding, InfraError, TargetInfo, UsageError, Verdict

#: Seconds to wait for another process that writes.
_PATIENCE = 30


class RunState(enum.Enum):
    """How far a run came."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    DONE = "done"


class Located(Struct, frozen=True):
    """A finding, and the run it is of."""

    run: RunInfo
    finding: Finding


def default_root() -> Path:
    """Where results of this working directory are kept."""
    return Path.cwd() / ".harness"


class Store:
    """Open, or make, the results database below ``root``; a context manager.

    UsageError for a file that is damaged, newer than this version or no database of results: it
    is left as it is. InfraError where it cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._path = root / "harness.db"
        with self._guarded():
            root.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)
        try:
            with self._guarded():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def _prepare(self) -> None:
        """Check before anything is written; then make the tables, or migrate them."""
        if self._check() != SCHEMA_VERSION:
            with self._transaction():
                version = self._check()
                if version == 0:
                    create(self._db)
                elif version < SCHEMA_VERSION:
                    migrate(self._db, version)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")

    def _check(self) -> int:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise UsageError(
                f"{self._path}: schema {version} is newer than this version's "
                f"{SCHEMA_VERSION}; use the harness that wrote it, or another directory"
            )
        if version == 0 and self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise UsageError(
                f"{self._path}: cannot be used (a database, but not of results); "
                "move it away and run again"
            )
        return version

    # --- writing -------------------------------------------------------------------------------

    def begin(self, day: str, make: Callable[[str], RunInfo]) -> RunInfo:
        """Record a new run under the next id of that day; ``make`` gets the id."""
        with self._guarded(), self._transaction():
            info = make(self.new_run_id(day))
            self._insert_run(info)
        return info

    def new_run_id(self, day: str) -> str:
        """``<day>-<n>``, n counting the runs of that day."""
        rows = self._query("SELECT id FROM runs WHERE id LIKE ?", (f"{day}-%",))
        numbers = [int(row[0].rpartition("-")[2]) for row in rows]
        return f"{day}-{max(numbers, default=0) + 1}"

    def add_run(self, info: RunInfo) -> None:
        """Record a run's header before its first result."""
        with self._guarded(), self._transaction():
            self._insert_run(info)

    def _insert_run(self, info: RunInfo) -> None:
        self._db.execute(
            "INSERT INTO runs (id, started, info) VALUES (?, ?, ?)",
            (info.id, info.started, msgspec.json.encode(info)),
        )

    def add(
        self,
        run: str,
        findings: Iterable[Finding] = (),
        *,
        targets: Iterable[RunTarget] = (),
        notes: Iterable[str] = (),
    ) -> None:
        """Record judged scenarios, targets and notes of a run, in one transaction."""
        findings = list(findings)
        rows = [_row(run, finding) for finding in findings]
        met = {finding.target.name: finding for finding in findings}
        with self._guarded(), self._transaction():
            for target in targets:
                self._db.execute(
                    "INSERT OR REPLACE INTO targets VALUES (?,?,?)",
                    (run, target.info.name, msgspec.json.encode(target)),
                )
            for name, finding in met.items():
                bare = RunTarget(info=finding.target, profile=finding.profile)
                self._db.execute(
                    "INSERT OR IGNORE INTO targets VALUES (?,?,?)",
                    (run, name, msgspec.json.encode(bare)),
                )
            self._db.executemany("INSERT OR REPLACE INTO results VALUES (?,?,?,?,?,?,?,?)", rows)
            self._db.executemany("INSERT INTO notes VALUES (?,?)", [(run, text) for text in notes])

    def set_state(self, run: str, state: RunState, ended: str | None = None) -> None:
        """Note how far a run came, and when it ended (ISO 8601)."""
        with self._guarded(), self._transaction():
            self._db.execute(
                "UPDATE runs SET state = ?, ended = ? WHERE id = ?", (state.value, ended, run)
            )

    def forget_empty(self, run: str) -> None:
        """Take out a run that has no result: the command was wrong, and nothing ran."""
        with self._guarded(), self._transaction():
            if not self._db.execute("SELECT 1 FROM results WHERE run = ?", (run,)).fetchone():
                for table, key in (("notes", "run"), ("targets", "run"), ("runs", "id")):
                    self._db.execute(f"DELETE FROM {table} WHERE {key} = ?", (run,))  # noqa: S608

    # --- reading -------------------------------------------------------------------------------

    def runs(self) -> list[RunInfo]:
        """Every run's header, oldest first."""
        rows = self._query("SELECT info FROM runs ORDER BY started, rowid")
        return [msgspec.json.decode(row[0], type=RunInfo) for row in rows]

    def run_named(self, name: str | None) -> RunInfo:
        """The run of that id (None: the last); UsageError where there is none."""
        runs = self.runs()
        if not runs:
            raise UsageError("no run is stored here; 'harness run' makes one")
        if name is None:
            return runs[-1]
        for run in runs:
            if run.id == name:
                return run
        raise UsageError(f"no run '{name}' is stored here; the last is {runs[-1].id}")

    def state(self, run: str) -> tuple[RunState, str | None]:
        """How far a run came, and when it ended."""
        ((state, ended),) = self._query("SELECT state, ended FROM runs WHERE id = ?", (run,))
        return RunState(state), ended

    def targets(self, run: str) -> list[RunTarget]:
        """The targets of a run, in the order they came."""
        rows = self._query("SELECT info FROM targets WHERE run = ? ORDER BY rowid", (run,))
        return [msgspec.json.decode(row[0], type=RunTarget) for row in rows]

    def notes(self, run: str) -> list[str]:
        """What was worth a line while it ran."""
        return [row[0] for row in self._query("SELECT text FROM notes WHERE run = ?", (run,))]

    def results(self, run: str | None = None, scenario: str = "") -> Iterator[Result]:
        """Results in the order they came: of one run, or of all; of one id glob, or of all."""
        where, values = ["1"], []
        if run is not None:
            where.append("run = ?")
            values.append(run)
        if scenario:
            where.append("scenario GLOB ?")
            values.append(scenario)
        query = f"SELECT row FROM results WHERE {' AND '.join(where)} ORDER BY rowid"  # noqa: S608
        decode = msgspec.json.Decoder(Result).decode
        for row in self._query(query, tuple(values)):
            yield decode(row[0])

    def findings(
        self,
        run: str,
        *,
        only_findings: bool = False,
        verdicts: Collection[Verdict] | None = None,
    ) -> Iterator[Finding]:
        """The results of a run with their evidence, in the order they came."""
        if only_findings:
            verdicts = [verdict for verdict in Verdict if verdict.is_finding]
        wanted = list(Verdict) if verdicts is None else list(verdicts)
        targets = {target.info.name: target.info for target in self.targets(run)}
        marks = ",".join("?" * len(wanted))
        rows = self._query(
            "SELECT scenario, target, form, record FROM results "  # noqa: S608
            f"WHERE run = ? AND verdict IN ({marks}) ORDER BY rowid",
            (run, *(verdict.value for verdict in wanted)),
        )
        for scenario, target, form, record in rows:
            yield self._unpacked(run, scenario, form, record, targets[target])

    def judged(self, run: str) -> set[tuple[str, str, str]]:
        """(target, scenario, digest) of what needs no second run: all but INFRA."""
        return {
            (result.target, result.scenario, result.digest)
            for result in self.results(run)
            if result.verdict is not Verdict.INFRA
        }

    def find(self, ident: str) -> Finding | None:
        """The result of that id; see :meth:`locate`."""
        found = self.locate(ident)
        return None if found is None else found.finding

    def locate(self, ident: str) -> Located | None:
        """The result that a short id (or its beginning), or RUN/SCENARIO, names; None: none does.

        Where several do: those that are no MATCH before others, then the newest. UsageError where
        the beginning of an id fits results of different ids.
        """
        run, slash, scenario = ident.partition("/")
        if slash:
            where, values = "run = ? AND scenario = ?", (run, scenario)
        else:
            where, values = "short >= ? AND short < ?", (ident, ident + "g")
        rows = list(
            self._query(
                "SELECT run, scenario, target, short, form, record FROM results "  # noqa: S608
                f"WHERE {where} ORDER BY verdict IN ('MATCH', 'SKIP'), rowid DESC LIMIT 50",
                values,
            )
        )
        if not rows or not ident:
            return None
        several = {row[3] for row in rows}
        if not slash and len(several) > 1:
            exact = [row for row in rows if row[3] == ident]
            if not exact:
                names = ", ".join(sorted(several)[:5])
                raise UsageError(f"'{ident}' begins several ids ({names}); give more of it")
            rows = exact
        run, scenario, target, _, form, record = rows[0]
        info = {one.info.name: one.info for one in self.targets(run)}[target]
        return Located(self.run_named(run), self._unpacked(run, scenario, form, record, info))

    def _unpacked(
        self, run: str, scenario: str, form: int, record: bytes, target: TargetInfo
    ) -> Finding:
        try:
            return unpack(form, record, target)
        except ValueError as error:
            raise UsageError(
                f"{self._path}: run {run}, scenario {scenario}: the record cannot be read "
                f"({error}); use the harness that wrote it, or run it again"
            ) from error

    # --- SQLite --------------------------------------------------------------------------------

    def _query(self, query: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        with self._guarded():
            cursor = self._db.execute(query, values)
            while rows := cursor.fetchmany(100):
                yield from rows

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.rollback()
            raise
        self._db.commit()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "unable to open" in str(error):
                raise UsageError(f"{self._path}: cannot be opened; check the folder") from error
            raise InfraError(
                f"{self._path}: cannot be used now ({error}); "
                "is the disk full, or another harness busy?"
            ) from error
        except (sqlite3.DatabaseError, ValueError, OSError) as error:
            raise UsageError(
                f"{self._path}: cannot be used ({error}); move it away and run again"
            ) from error


def _row(run: str, finding: Finding) -> tuple[object, ...]:
    result = result_of(finding, run=run, digest=digest(finding.scenario))
    return (
        run,
        finding.short_id,
        finding.scenario.id,
        finding.target.name,
        finding.verdict.value,
        msgspec.json.encode(result),
        PACKED,
        pack(finding),
    )


def short_id(run: str, scenario: str, target: str) -> str:
    """Six hex digits that name one result on a command line."""
    text = f"{run}\0{scenario}\0{target}".encode()
    return hashlib.sha256(text).hexdigest()[:6]
