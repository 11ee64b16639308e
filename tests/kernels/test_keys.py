# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import base64
import stat
import struct
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.kernels.keys import keys_of
from harness.kernels.store import Store
from harness.vocabulary import InfraError


def test_made_once_and_kept(tmp_path: Path) -> None:
    first = keys_of(Store(tmp_path))
    assert keys_of(Store(tmp_path)) == first
    assert keys_of(Store(tmp_path / "other")).host_public != first.host_public
    assert stat.S_IMODE(first.client_file.stat().st_mode) == 0o600


def test_paramiko_loads_the_client_key(tmp_path: Path) -> None:
    keys = keys_of(Store(tmp_path))
    loaded = paramiko.Ed25519Key.from_private_key_file(str(keys.client_file))
    assert f"ssh-ed25519 {loaded.get_base64()}" == keys.client_public


def test_dropbears_file_holds_the_public_key_that_is_told(tmp_path: Path) -> None:
    keys = keys_of(Store(tmp_path))
    data = keys.host_dropbear
    (length,) = struct.unpack_from(">I", data)
    assert data[4 : 4 + length] == b"ssh-ed25519"
    (rest,) = struct.unpack_from(">I", data, 4 + length)
    seed, public = data[8 + length : 40 + length], data[40 + length :]
    assert rest == 64
    assert len(public) == 32
    told = base64.b64decode(keys.host_public.split()[1])
    assert told.endswith(public)
    assert Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() == public


def test_a_damaged_key_says_how_to_mend_it(tmp_path: Path) -> None:
    keys_of(Store(tmp_path)).client_file.write_bytes(b"nonsense")
    with pytest.raises(InfraError, match="delete it"):
        keys_of(Store(tmp_path))
