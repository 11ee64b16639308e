# SPDX-License-Identifier: GPL-2.0-only
"""What the user's ssh config says of a host: asked of ``ssh -G``, which knows Include and Match.

Without an ssh program paramiko's own reader serves, which knows neither.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import fabric
import paramiko

#: What fabric and we act upon; ``ssh -G`` prints some eighty settings.
_SETTINGS = frozenset(
    (
        *("hostname", "user", "port", "identityfile", "proxyjump", "proxycommand"),
        *("userknownhostsfile", "globalknownhostsfile"),
    )
)
_TIMEOUT = 10.0
#: ProxyJump hosts followed, at most.
_MAX_HOSTS = 8


def fabric_config(host: str, ssh_config: str = "") -> fabric.Config:
    """fabric's configuration for a host (and the hosts it is reached through).

    No fabric.yml is read: it must not change how a test host is reached. OSError for a file
    ``ssh_config`` that cannot be read.
    """
    if ssh_config:
        Path(ssh_config).open().close()
    text = _asked(host, ssh_config)
    if text is not None:
        return fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig.from_text(text))
    config = fabric.Config(lazy=True, runtime_ssh_path=ssh_config or None)
    config.load_ssh_config()
    return config


def plain_host(text: str) -> str:
    """The host in ``[user@]host[:port]``."""
    host = text.rpartition("@")[2]
    return host.partition(":")[0] if host.count(":") == 1 else host


def ssh_command(text: str) -> str:
    """What to type to reach ``[user@]host[:port]`` with ssh."""
    host = plain_host(text)
    user, at, rest = text.rpartition("@")
    port = rest[len(host) + 1 :]
    return f"ssh {f'-p {port} ' if port else ''}{user}{at}{host}"


def _asked(host: str, ssh_config: str) -> str | None:
    """One Host block per host, as ``ssh -G`` resolves it; None without an ssh that answers."""
    if shutil.which("ssh") is None:
        return None
    blocks: dict[str, str] = {}
    waiting = [plain_host(host)]
    while waiting and len(blocks) < _MAX_HOSTS:
        name = waiting.pop()
        if name in blocks:
            continue
        settings = _settings(name, ssh_config)
        if settings is None:
            return None
        blocks[name] = "\n".join([f"Host {name}", *(f"  {key} {value}" for key, value in settings)])
        jumps = next((value for key, value in settings if key == "proxyjump"), "")
        waiting += [plain_host(hop) for hop in jumps.split(",") if hop]
    return "\n".join(blocks.values())


def _settings(host: str, ssh_config: str) -> list[tuple[str, str]] | None:
    command = ["ssh", "-G", *(["-F", ssh_config] if ssh_config else []), "--", host]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    settings = []
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        if key not in _SETTINGS or value == "none":
            continue
        if key == "identityfile" and not Path(value).expanduser().is_file():
            continue  # ssh lists its defaults, there or not
        settings.append((key, value))
    return settings
