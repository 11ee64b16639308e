# SPDX-License-Identifier: GPL-2.0-only
"""A batch and a target come in; a run of every scenario in the batch goes out, dead kernel or not.

This room must never know a prediction, a verdict, or where a target came from.
"""

from harness.execute.again import run_again
from harness.execute.batch import run_batch
from harness.execute.lanes import Lanes
from harness.execute.records import Hello

__all__ = ["Hello", "Lanes", "run_again", "run_batch"]
