# SPDX-License-Identifier: GPL-2.0-only
"""Findings and run headers come in and are kept; they come out again by run or by id.

This room must never know a kernel, a target or a report.
"""

from harness.store.database import Store, default_root

__all__ = ["Store", "default_root"]
