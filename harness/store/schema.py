# SPDX-License-Identifier: GPL-2.0-only
"""The tables, and the way from each earlier version to this one.

``PRAGMA user_version`` is the version. A migration is one transaction: it is done or it is not.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from harness.store.packing import PLAIN, squeeze

SCHEMA_VERSION = 2

SCHEMA = (
    """
    CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        started TEXT NOT NULL,
        info BLOB NOT NULL,
        state TEXT NOT NULL DEFAULT 'running',
        ended TEXT
    )""",
    """
    CREATE TABLE targets (
        run TEXT NOT NULL REFERENCES runs(id),
        name TEXT NOT NULL,
        info BLOB NOT NULL,
        PRIMARY KEY (run, name)
    )""",
    """
    CREATE TABLE results (
        run TEXT NOT NULL REFERENCES runs(id),
        short TEXT NOT NULL,
        scenario TEXT NOT NULL,
        target TEXT NOT NULL,
        verdict TEXT NOT NULL,
        row BLOB NOT NULL,
        form INTEGER NOT NULL,
        record BLOB NOT NULL,
        PRIMARY KEY (run, scenario, target)
    )""",
    "CREATE INDEX results_short ON results(short)",
    "CREATE INDEX results_scenario ON results(scenario)",
    "CREATE TABLE notes (run TEXT NOT NULL REFERENCES runs(id), text TEXT NOT NULL)",
)


def create(db: sqlite3.Connection) -> None:
    """Make the tables in an empty database, inside the caller's transaction."""
    for statement in SCHEMA:
        db.execute(statement)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring an older database to this version, inside the caller's transaction.

    ValueError where a record of it cannot be read.
    """
    for step in range(version, SCHEMA_VERSION):
        try:
            _MIGRATIONS[step](db)
        except (msgspec.MsgspecError, LookupError, TypeError) as error:
            raise ValueError(
                f"schema {step} cannot be brought to {SCHEMA_VERSION}: {error}"
            ) from error
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _from_1(db: sqlite3.Connection) -> None:
    """Version 1 had runs and results only, a finding as plain JSON, and no row beside it."""
    db.execute("ALTER TABLE runs RENAME TO runs_1")
    db.execute("ALTER TABLE results RENAME TO results_1")
    db.execute("DROP INDEX results_short")
    create(db)
    db.execute("INSERT INTO runs SELECT id, started, info, 'done', NULL FROM runs_1 ORDER BY rowid")
    targets: dict[tuple[str, str], bytes] = {}
    rows = db.execute(
        "SELECT run, short, scenario, target, verdict, record FROM results_1 ORDER BY rowid"
    )
    for run, short, scenario, target, verdict, record in rows:
        finding = msgspec.json.decode(record)
        info = msgspec.json.encode({"info": finding["target"], "profile": finding["profile"]})
        targets.setdefault((run, target), info)
        row = msgspec.json.encode(_row_of_1(run, short, target, verdict, finding))
        db.execute(
            "INSERT INTO results VALUES (?,?,?,?,?,?,?,?)",
            (run, short, scenario, target, verdict, row, PLAIN, squeeze(record)),
        )
    for (run, name), info in targets.items():
        db.execute("INSERT INTO targets VALUES (?,?,?)", (run, name, info))
    db.execute("DROP TABLE results_1")
    db.execute("DROP TABLE runs_1")


def _row_of_1(
    run: str, short: str, target: str, verdict: str, finding: dict[str, Any]
) -> dict[str, Any]:
    """The row of a version 1 record; read as plain data: its scenario language may be older."""
    ran = finding.get("run") or {}
    differences = finding.get("differences") or ()
    return {
        "run": run,
        "short_id": short,
        "scenario": finding["scenario"]["id"],
        "suite": finding["scenario"]["suite"],
        "target": target,
        "release": finding["target"].get("release", ""),
        "profile": finding["profile"],
        "verdict": verdict,
        "reason": finding.get("reason", ""),
        "step": differences[0]["step"] if differences else ran.get("step"),
        "compared": finding.get("compared", ()),
        "not_compared": (),
        "steps": len(ran.get("steps", ())),
        "micros": ran.get("micros", 0),
        "digest": "",
    }


_MIGRATIONS = {1: _from_1}
