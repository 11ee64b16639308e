# SPDX-License-Identifier: GPL-2.0-only
"""Findings and run headers come in and are kept; they come out again by run or by id.

This room must never know a kernel, a target or a report.
"""

from harness.store.database import Located, RunState, Store, default_root
from harness.store.packing import digest as scenario_digest
from harness.store.recorder import Recorder

__all__ = [
    "Located",
    "Recorder",
    "RunState",
    "Store",
    "default_root",
    "scenario_digest",
]
