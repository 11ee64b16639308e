# SPDX-License-Identifier: GPL-2.0-only
"""A connection as the user's ssh config says, with host keys checked always.

fabric would accept any host key; here an unknown or a changed key is an error, whatever
StrictHostKeyChecking says.
"""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

import fabric
import paramiko

from harness.targets.link import SshLink
from harness.targets.ssh_settings import fabric_config, ssh_command
from harness.vocabulary import TargetError


class HostSilentError(TargetError):
    """The host takes the connection and its sshd says nothing."""


def connect(host: str, *, timeout: float, ssh_config: str = "") -> SshLink:
    """Connect to ``[user@]host[:port]``; TargetError in one line with the mend."""
    connection = None
    try:
        connection = _connection(host, timeout, ssh_config)
        connection.open()
    except BaseException as error:
        if connection is not None:
            _close(connection)
        if isinstance(error, (paramiko.SSHException, OSError, EOFError, ValueError)):
            raise _explained(host, connection, error) from error
        raise
    return SshLink(connection.client, host, owner=connection)


def _connection(host: str, timeout: float, ssh_config: str) -> fabric.Connection:
    connection = fabric.Connection(
        host,
        config=fabric_config(host, ssh_config),
        connect_timeout=max(1, round(timeout)),
        connect_kwargs={"banner_timeout": timeout, "auth_timeout": timeout},
    )
    hop: object = connection
    while isinstance(hop, fabric.Connection):
        _strict(hop)
        hop = hop.gateway
    return connection


def _strict(connection: fabric.Connection) -> None:
    client = connection.client
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    named = connection.ssh_config.get("userknownhostsfile", "~/.ssh/known_hosts")
    shared = connection.ssh_config.get("globalknownhostsfile", "/etc/ssh/ssh_known_hosts")
    for name in (*shlex.split(shared), *shlex.split(named)):
        path = Path(name).expanduser()
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            client.load_system_host_keys(str(path))


def _close(connection: fabric.Connection) -> None:
    with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
        connection.close()


def _explained(
    host: str, connection: fabric.Connection | None, error: BaseException
) -> TargetError:
    """One line for what went wrong, and what to do."""
    command = ssh_command(host)
    text = str(error) or type(error).__name__
    if isinstance(error, paramiko.BadHostKeyException) and connection is not None:
        known = (
            connection.host if connection.port == 22 else f"[{connection.host}]:{connection.port}"
        )
        return TargetError(
            f"{host}: its host key is not the one in known_hosts; if that change is known to be "
            f"right: ssh-keygen -R '{known}', then connect once with '{command}'"
        )
    if "not found in known_hosts" in text:
        return TargetError(
            f"{host}: its host key is not known; connect once with '{command}' and check the key"
        )
    if isinstance(error, paramiko.PasswordRequiredException):
        return TargetError(f"{host}: the private key is locked; run ssh-add first")
    # paramiko tries a file as a key of every kind, and its last complaint hides the server's "no".
    if isinstance(error, paramiko.AuthenticationException) or "key, expected" in text:
        return TargetError(f"{host}: it does not let us in; see '{command} true'")
    if "banner" in text:
        return HostSilentError(f"{host}: it takes the connection but its sshd does not answer")
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        text = "; ".join(sorted({str(reason) for reason in error.errors.values()}))
    return TargetError(f"{host}: cannot be reached: {text}; see '{command} true'")
