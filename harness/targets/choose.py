# SPDX-License-Identifier: GPL-2.0-only
"""The ways to get a target; each is a context manager that ends what it started."""

from __future__ import annotations

from harness.targets.inventory import inventory_path, load_inventory
from harness.targets.local import LocalTarget
from harness.targets.qemu import QemuTarget
from harness.targets.qemu_config import QemuConfig
from harness.targets.ssh import SshConfig, SshTarget
from harness.targets.warm import connect_warm, list_warm
from harness.vocabulary import Image, UsageError


def open_qemu(image: Image, config: QemuConfig | None = None, *, name: str = "") -> QemuTarget:
    """Boot a guest for an image. BootError, TargetError, ToolMissingError."""
    return QemuTarget(image, config or QemuConfig(), name=name)


def open_local() -> LocalTarget:
    """This machine. TargetError if it is not arm64, has no /dev/kvm, or gives no root."""
    return LocalTarget()


def open_ssh(host: str) -> SshTarget:
    """``[USER@]HOST[:PORT]``, HOST as ssh knows it. UsageError for text that is no host."""
    if not host or host.startswith("-") or any(c.isspace() for c in host):
        raise UsageError(f"'{host}' is no host; write ssh:[USER@]HOST[:PORT]")
    return SshTarget(SshConfig(host=host))


def open_named(name: str) -> QemuTarget | SshTarget:
    """A warm guest or a host of the inventory; UsageError that lists both where it is neither."""
    warm = [guest.name for guest in list_warm()]
    hosts = load_inventory()
    if name in warm:
        return connect_warm(name)
    if name in hosts:
        return SshTarget(hosts[name])
    known = ", ".join(["local", *warm, *hosts])
    raise UsageError(
        f"no target '{name}'; known: {known}; others as ssh:HOST, or listed in {inventory_path()}"
    )
