# SPDX-License-Identifier: GPL-2.0-only
"""Places where selftests run: an Image, a host's name or nothing comes in, a Target goes out.

This room must never know a scenario, a batch, a prediction or a verdict.
"""

from harness.targets.base import Command, Condition, Health, RunTimeoutError, Target, run
from harness.targets.choose import open_local, open_named, open_qemu, open_ssh
from harness.targets.inventory import inventory_path, load_inventory
from harness.targets.link import signal_name
from harness.targets.local import LocalTarget
from harness.targets.qemu import QemuTarget
from harness.targets.qemu_config import QemuConfig, why_no_nested_kvm
from harness.targets.qemu_process import end_all_guests
from harness.targets.scratch import sweep
from harness.targets.splat import Splat, SplatKind, find_splats, logged_at, worst
from harness.targets.ssh import SshConfig, SshTarget
from harness.targets.warm import WarmGuest, connect_warm, down, list_warm, up

__all__ = [
    "Command",
    "Condition",
    "Health",
    "LocalTarget",
    "QemuConfig",
    "QemuTarget",
    "RunTimeoutError",
    "Splat",
    "SplatKind",
    "SshConfig",
    "SshTarget",
    "Target",
    "WarmGuest",
    "connect_warm",
    "down",
    "end_all_guests",
    "find_splats",
    "inventory_path",
    "list_warm",
    "load_inventory",
    "logged_at",
    "open_local",
    "open_named",
    "open_qemu",
    "open_ssh",
    "run",
    "signal_name",
    "sweep",
    "up",
    "why_no_nested_kvm",
    "worst",
]
