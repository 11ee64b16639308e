# SPDX-License-Identifier: GPL-2.0-only
"""Results in SQLite: one row a scenario and target, its record as JSON beside the keys.

The database lives in ``.harness/harness.db`` under the working directory; a run's files (report)
in ``.harness/runs/<run id>/``.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from harness.vocabulary import Finding, RunInfo, UsageError

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE runs (id TEXT PRIMARY KEY, started TEXT NOT NULL, info BLOB NOT NULL);
CREATE TABLE results (
    run TEXT NOT NULL REFERENCES runs(id),
    short TEXT NOT NULL,
    scenario TEXT NOT NULL,
    target TEXT NOT NULL,
    verdict TEXT NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (run, scenario, target)
);
CREATE INDEX results_short ON results(short);
"""


def default_root() -> Path:
    """Where results of this working directory are kept."""
    return Path.cwd() / ".harness"


class Store:
    """Open, or make, the results database below ``root``; a context manager."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(root / "harness.db", timeout=30)
            self._db.execute("PRAGMA journal_mode=WAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
                self._db.executescript(_SCHEMA)
                self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        except (sqlite3.Error, OSError) as error:
            raise UsageError(
                f"{root / 'harness.db'}: cannot be used ({error}); move it away and run again"
            ) from error
        if version > SCHEMA_VERSION:
            self._db.close()
            raise UsageError(
                f"{root / 'harness.db'}: schema {version} is newer than this version's "
                f"{SCHEMA_VERSION}; use the harness that wrote it, or another directory"
            )

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def new_run_id(self, day: str) -> str:
        """``<day>-<n>``, n counting the runs of that day."""
        rows = self._db.execute("SELECT id FROM runs WHERE id LIKE ?", (f"{day}-%",)).fetchall()
        numbers = [int(row[0].rpartition("-")[2]) for row in rows]
        return f"{day}-{max(numbers, default=0) + 1}"

    def add_run(self, info: RunInfo) -> None:
        """Record a run's header before its first result."""
        with self._db:
            self._db.execute(
                "INSERT INTO runs VALUES (?, ?, ?)",
                (info.id, info.started, msgspec.json.encode(info)),
            )

    def add(self, run: str, findings: Iterable[Finding]) -> None:
        """Record judged scenarios of a run, in one transaction."""
        rows = [
            (
                run,
                finding.short_id,
                finding.scenario.id,
                finding.target.name,
                finding.verdict.value,
                msgspec.json.encode(finding),
            )
            for finding in findings
        ]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO results VALUES (?,?,?,?,?,?)", rows)

    def runs(self) -> list[RunInfo]:
        """Every run's header, oldest first."""
        rows = self._db.execute("SELECT info FROM runs ORDER BY started, rowid")
        return [msgspec.json.decode(row[0], type=RunInfo) for row in rows]

    def findings(self, run: str, *, only_findings: bool = False) -> Iterator[Finding]:
        """The results of a run, in the order they came."""
        query = "SELECT record FROM results WHERE run = ?"
        if only_findings:
            query += " AND verdict IN ('DIVERGE', 'CRASH', 'HANG')"
        for row in self._db.execute(query + " ORDER BY rowid", (run,)):
            yield msgspec.json.decode(row[0], type=Finding)

    def find(self, short_id: str) -> Finding | None:
        """The newest result with that short id."""
        row = self._db.execute(
            "SELECT record FROM results WHERE short = ? ORDER BY rowid DESC", (short_id,)
        ).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Finding)


def short_id(run: str, scenario: str, target: str) -> str:
    """Six hex digits that name one result on a command line."""
    text = f"{run}\0{scenario}\0{target}".encode()
    return hashlib.sha256(text).hexdigest()[:6]
