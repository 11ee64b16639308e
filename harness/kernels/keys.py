# SPDX-License-Identifier: GPL-2.0-only
"""The SSH keys of one cache: the client's and the guests' host key, made once.

Both are in the initramfs (the client's public half), so the same cache gives the same bytes,
and a client knows the host key before it connects. They protect nothing but guests that listen
on this machine's loopback; they never leave the cache.
"""

from __future__ import annotations

import struct
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)
from msgspec import Struct

from harness.kernels.store import Store, write_whole
from harness.vocabulary import InfraError

_TYPE = b"ssh-ed25519"


class Keys(Struct, frozen=True, kw_only=True):
    """What the initramfs and its users need of the keys.

    ``client_file`` is an OpenSSH private key file, mode 0600; ``client_public`` and
    ``host_public`` are lines ``ssh-ed25519 AAAA…``; ``host_dropbear`` is the private host key as
    dropbear keeps it.
    """

    client_file: Path
    client_public: str
    host_public: str
    host_dropbear: bytes


def keys_of(store: Store) -> Keys:
    """This cache's keys, made at the first call.

    Raises:
        InfraError: a key file cannot be read or is damaged.
    """
    folder = store.directory("keys")
    client_file, host_file = folder / "client", folder / "host"
    with store.lock("keys"):
        client, host = _key(client_file), _key(host_file)
    return Keys(
        client_file=client_file,
        client_public=_public_line(client),
        host_public=_public_line(host),
        host_dropbear=dropbear_private(host),
    )


def dropbear_private(key: Ed25519PrivateKey) -> bytes:
    """A private ed25519 key in dropbear's own file format.

    Two SSH strings (length, bytes): the type's name, then seed and public key together (64
    bytes); as dropbear 2020.79 and later read it (buf_get_ed25519_priv_key).
    """
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    both = key.private_bytes_raw() + public
    return b"".join(struct.pack(">I", len(part)) + part for part in (_TYPE, both))


def _public_line(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        write_whole(path, pem, mode=0o600)
    try:
        loaded = load_ssh_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise InfraError(f"key {path}: unreadable ({error}); delete it, it is made anew") from error
    if not isinstance(loaded, Ed25519PrivateKey):
        raise InfraError(f"key {path}: no ed25519 key; delete it, it is made anew")
    return loaded
