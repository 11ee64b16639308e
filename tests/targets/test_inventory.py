# SPDX-License-Identifier: GPL-2.0-only
"""The inventory file, and what is said of a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.targets import SshConfig, load_inventory, open_ssh
from harness.vocabulary import UsageError

TOML = """
[hosts]
short = "root@short.lab:2222"
[hosts.altra]
host = "altra.lab"
reconnect = 300
"""
YAML = """
hosts:
  short: root@short.lab:2222
  altra: {host: altra.lab, reconnect: 300}
"""


@pytest.mark.parametrize(("name", "text"), [("hosts.toml", TOML), ("hosts.yaml", YAML)])
def test_both_forms(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert load_inventory(tmp_path / name) == {
        "short": SshConfig(host="root@short.lab:2222", name="short"),
        "altra": SshConfig(host="altra.lab", reconnect=300.0, name="altra"),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hosts = 3", "'hosts' must be a table"),
        ("[hosts]\na = 3", "host 'a' must be a table"),
        ("[hosts.a]\nport = 22", "no setting 'port'; known: connect, host"),
        ("[hosts.a]\nreconnect = 'long'", "host 'a': Expected `float`"),
        ("[hosts", "hosts.toml: "),
    ],
)
def test_bad_files_are_one_line_with_the_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_inventory(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_default_file_is_an_empty_inventory_but_a_named_one_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_INVENTORY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_inventory() == {}
    with pytest.raises(UsageError, match="no such inventory"):
        load_inventory(tmp_path / "other.toml")
    monkeypatch.setenv("HARNESS_INVENTORY", str(tmp_path / "third.toml"))
    with pytest.raises(UsageError, match=r"third\.toml: no such inventory"):
        load_inventory()


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b"])
def test_text_that_is_no_host(host: str) -> None:
    with pytest.raises(UsageError, match="no host"):
        open_ssh(host)
