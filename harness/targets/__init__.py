# SPDX-License-Identifier: GPL-2.0-only
"""Places where selftests run: an Image, a host's name or nothing comes in, a Target goes out.

This room must never know a scenario, a batch, a prediction or a verdict.
"""

from harness.targets.base import Command, Condition, Health, RunTimeoutError, Target, run
from harness.targets.link import signal_name
from harness.targets.qemu import QemuTarget
from harness.targets.qemu_config import QemuConfig
from harness.targets.splat import Splat, SplatKind, find_splats, worst

__all__ = [
    "Command",
    "Condition",
    "Health",
    "QemuConfig",
    "QemuTarget",
    "RunTimeoutError",
    "Splat",
    "SplatKind",
    "Target",
    "find_splats",
    "run",
    "signal_name",
    "worst",
]
