# SPDX-License-Identifier: GPL-2.0-only
"""From what a user writes after ``--target`` to a target."""

from __future__ import annotations

from harness.targets.inventory import load_inventory
from harness.targets.local import LocalTarget
from harness.targets.qemu import QemuTarget
from harness.targets.qemu_config import QemuConfig
from harness.targets.ssh import SshConfig, SshTarget
from harness.targets.warm import connect_warm, list_warm
from harness.vocabulary import Image, UsageError


def open_image(image: Image, config: QemuConfig | None = None, *, name: str = "") -> QemuTarget:
    """Boot a guest of its own for an image; it ends with the ``with`` block."""
    return QemuTarget(image, config or QemuConfig(), name=name)


def open_target(text: str) -> QemuTarget | SshTarget | LocalTarget:
    """``local``, ``warm:NAME``, ``ssh:[USER@]HOST[:PORT]``, or a bare name.

    A bare name is, in this order, a host of the inventory, a warm guest, or a host for ssh.
    UsageError for an empty one; TargetError for one that cannot be used.
    """
    kind, colon, rest = text.partition(":")
    if text == "local":
        return LocalTarget()
    if kind == "warm" and colon:
        return connect_warm(rest)
    if kind == "ssh" and colon:
        text = rest
    if not text or text.startswith("-") or any(c.isspace() for c in text):
        raise UsageError(
            f"'{text}' is no target: local, warm:NAME, ssh:[USER@]HOST[:PORT], or a name of the "
            "inventory"
        )
    if kind != "ssh":
        hosts = load_inventory()
        if text in hosts:
            return SshTarget(hosts[text])
        if any(guest.name == text for guest in list_warm()):
            return connect_warm(text)
    return SshTarget(SshConfig(host=text))
