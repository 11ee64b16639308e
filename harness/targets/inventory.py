# SPDX-License-Identifier: GPL-2.0-only
"""The hosts that the user has listed, by name.

A TOML or YAML file; each entry takes the settings of :class:`SshConfig` but ``name``::

    [hosts.altra]
    host = "root@altra.lab"
    reconnect = 300
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
import yaml

from harness.targets.ssh import SshConfig
from harness.vocabulary import UsageError

_SETTINGS = frozenset(SshConfig.__struct_fields__) - {"name"}


def inventory_path() -> Path:
    """$HARNESS_INVENTORY, or hosts.toml (hosts.yaml) in the user's config directory."""
    if given := os.environ.get("HARNESS_INVENTORY"):
        return Path(given)
    directory = Path(platformdirs.user_config_path("harness"))
    other = directory / "hosts.yaml"
    return other if other.exists() else directory / "hosts.toml"


def load_inventory(path: Path | None = None) -> dict[str, SshConfig]:
    """Hosts by name, in the file's order; none if there is no default file. UsageError if bad."""
    where = path or inventory_path()
    try:
        text = where.read_text()
    except FileNotFoundError:
        if path is None and "HARNESS_INVENTORY" not in os.environ:
            return {}
        raise UsageError(f"{where}: no such inventory file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: cannot be read: {error}") from error
    hosts = _parsed(text, where).get("hosts", {})
    if not isinstance(hosts, dict):
        raise UsageError(f"{where}: 'hosts' must be a table of names")
    return {str(name): _host(str(name), entry, where) for name, entry in hosts.items()}


def _parsed(text: str, where: Path) -> dict[str, Any]:
    try:
        if where.suffix in (".yaml", ".yml"):
            data = yaml.safe_load(text) or {}
        else:
            data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{where}: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{where}: must hold 'hosts', a table of names")
    return data


def _host(name: str, entry: object, where: Path) -> SshConfig:
    if isinstance(entry, str):
        entry = {"host": entry}
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: host '{name}' must be a table of settings")
    if unknown := sorted(set(map(str, entry)) - _SETTINGS):
        known = ", ".join(sorted(_SETTINGS))
        raise UsageError(f"{where}: host '{name}': no setting '{unknown[0]}'; known: {known}")
    try:
        return msgspec.convert({"host": name, **entry, "name": name}, SshConfig)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: host '{name}': {error}") from error
