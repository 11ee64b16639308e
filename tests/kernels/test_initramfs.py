# SPDX-License-Identifier: GPL-2.0-only
"""What the initramfs holds: a pure function of its parts."""

from __future__ import annotations

from pathlib import Path

from harness.kernels.initramfs import OPTIONS, assemble
from harness.kernels.keys import Keys
from harness.kernels.modules import Module
from tests.kernels.test_cpio import members

KEYS = Keys(
    client_file=Path("client"),
    client_public="ssh-ed25519 A",
    host_public="ssh-ed25519 B",
    host_dropbear=b"host",
)


def test_module_parameters_stand_behind_the_name() -> None:
    loaded = [Module("failover", b"one"), Module("brd", b"two")]
    files = {path: data for path, _, data in members(assemble({}, loaded, "", KEYS))}
    assert files["etc/modules"] == f"failover\nbrd {OPTIONS['brd']}\n".encode()
    assert files["lib/modules/brd.ko"] == b"two"
