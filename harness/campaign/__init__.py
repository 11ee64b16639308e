# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios and targets that are yet to be opened come in; a finding each goes out, as it is known.

The one place that joins the rooms: it must never know a command line or a report.
"""

from harness.campaign.judging import Listener, Settings
from harness.campaign.line import TargetPlan, run_on_target, run_open
from harness.campaign.workload import Batches, Generated, Workload

__all__ = [
    "Batches",
    "Generated",
    "Listener",
    "Settings",
    "TargetPlan",
    "Workload",
    "run_on_target",
    "run_open",
]
