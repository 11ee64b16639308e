# SPDX-License-Identifier: GPL-2.0-only
"""SSH hosts against a server in this process: config, host keys, commands, lost links."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from harness.targets import Health, RunTimeoutError, SshConfig, SshTarget, run
from harness.targets.base import Target
from harness.targets.copies import PAGE
from harness.targets.link import SshLink
from harness.targets.ssh_connect import connect
from harness.targets.ssh_settings import plain_host, ssh_command
from harness.vocabulary import TargetError, TransportLostError
from tests.targets.ssh_server import SshServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    server = SshServer(tmp_path)
    yield server
    server.close()


@pytest.fixture
def link(server: SshServer) -> Iterator[SshLink]:
    link = connect("board", timeout=20, ssh_config=str(server.config))
    yield link
    link.close()


def read_all(link: SshLink, *argv: str) -> tuple[list[str], int | None]:
    command = link.start(argv)
    lines: list[str] = []
    while (got := command.read(20.0)) is not None:
        lines += got
    return lines, command.status


# --- commands ------------------------------------------------------------------------------------


def test_output_arguments_and_status(link: SshLink) -> None:
    lines, status = read_all(link, "sh", "-c", 'echo "$1"; echo err >&2; exit 7', "x", "a 'b' $c")
    assert lines == ["a 'b' $c", "err"]
    assert status == 7


def test_a_signal_is_an_end_without_status(link: SshLink) -> None:
    lines, status = read_all(link, "exec", "sh", "-c", "echo on; kill -KILL $$")
    assert (lines, status) == (["on"], -1)


def test_two_commands_at_once(link: SshLink) -> None:
    slow = link.start(["sh", "-c", "sleep 0.2; echo slow"])
    assert read_all(link, "echo", "quick") == (["quick"], 0)
    assert slow.read(20.0) == ["slow"]
    assert slow.read(20.0) is None


def test_waiting_is_bounded(link: SshLink) -> None:
    command = link.start(["sleep", "60"])
    assert command.read(0.05) == []
    command.close()
    with pytest.raises(TargetError, match=r"'sleep' did not end in 0.2 s"):
        link.output(["sleep", "60"], timeout=0.2)


def test_a_program_that_reads_not_all_of_its_input_is_told_by_its_status(link: SshLink) -> None:
    argv = ["sh", "-c", "echo no; exit 3"]
    assert link.output(argv, timeout=20, stdin=bytes(8 << 20)) == (3, "no")


def test_a_link_that_breaks_while_it_is_fed(link: SshLink, server: SshServer) -> None:
    argv = ["sh", "-c", "head -c 1; exec sleep 5"]
    timer = threading.Timer(0.3, server.drop)
    timer.start()
    with pytest.raises(TransportLostError, match="board: the SSH connection broke"):
        link.output(argv, timeout=20, stdin=bytes(8 << 20))
    timer.join()


def test_a_large_program_arrives_whole_and_can_be_replaced(link: SshLink, tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192
    local, remote = tmp_path / "local", tmp_path / "remote"
    local.write_bytes(data)
    link.put(local, str(remote))
    assert remote.read_bytes() == data
    assert remote.stat().st_mode & 0o777 == 0o700
    local.write_bytes(b"other")
    link.put(local, str(remote))
    assert remote.read_bytes() == b"other"


def _next_version(local: Path) -> bytes:
    """Changes a page in the middle of a file, which is what it holds then."""
    data = bytearray(local.read_bytes())
    at = len(data) // 2 // PAGE * PAGE
    data[at : at + PAGE] = bytes(byte ^ 0xFF for byte in data[at : at + PAGE])
    local.write_bytes(data)
    return bytes(data)


def test_of_the_next_version_only_what_differs_is_copied(
    link: SshLink, server: SshServer, tmp_path: Path
) -> None:
    local, remote = tmp_path / "local", tmp_path / "remote"
    local.write_bytes(bytes(range(256)) * 8192)
    link.put(local, str(remote))
    data = _next_version(local)
    server.instead = {'cat >"$0"': "false"}  # no second copy of all
    link.put(local, str(remote))
    assert remote.read_bytes() == data
    assert remote.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("case", ["gone", "runs", "came short"])
def test_where_a_part_cannot_be_replaced_all_is_copied(
    link: SshLink, server: SshServer, tmp_path: Path, case: str
) -> None:
    local, remote = tmp_path / "local", tmp_path / "remote"
    shutil.copyfile(shutil.which("sleep") or "", local)
    link.put(local, str(remote))
    running = subprocess.Popen([remote, "60"]) if case == "runs" else None
    if case == "gone":
        remote.unlink()
    server.short = PAGE // 2 if case == "came short" else None
    data = _next_version(local)
    link.put(local, str(remote))
    if running is not None:
        running.kill()
        running.wait()
    assert remote.read_bytes() == data
    assert remote.stat().st_mode & 0o777 == 0o700


def test_a_place_that_cannot_be_written(link: SshLink, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(TargetError, match="could not write /nonexistent/x"):
        link.put(tmp_path / "x", "/nonexistent/x")


def test_a_link_that_breaks_is_told_from_an_end(link: SshLink, server: SshServer) -> None:
    command = link.start(["sh", "-c", "echo on; sleep 60"])
    assert command.read(20.0) == ["on"]
    server.drop()
    with pytest.raises(TransportLostError, match="board: the SSH connection broke"):
        command.read(20.0)
    assert not link.active
    with pytest.raises(TransportLostError, match="no new channel"):
        link.start(["true"])


# --- connecting ----------------------------------------------------------------------------------


def refused(server: SshServer, host: str = "board", timeout: float = 20) -> str:
    with pytest.raises(TargetError) as caught:
        connect(host, timeout=timeout, ssh_config=str(server.config))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_host_key(server: SshServer) -> None:
    server.know(None)
    assert "its host key is not known; connect once with 'ssh board'" in refused(server)


def test_a_changed_host_key(server: SshServer) -> None:
    server.know(paramiko.ECDSAKey.generate())
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in refused(server)


def test_strict_even_where_the_config_is_not(server: SshServer) -> None:
    server.know(None)
    with (server.directory / "included").open("a") as file:
        file.write("  StrictHostKeyChecking no\n")
    assert "host key is not known" in refused(server)


def test_a_wrong_key(server: SshServer) -> None:
    paramiko.ECDSAKey.generate().write_private_key_file(str(server.directory / "key"))
    assert "does not let us in" in refused(server)


def test_nobody_listens(server: SshServer) -> None:
    server.close()
    assert "cannot be reached: " in refused(server)
    assert "see 'ssh board true'" in refused(server)


def test_no_such_host(server: SshServer) -> None:
    assert "cannot be reached" in refused(server, "tester@no-such-host.invalid")


def test_a_host_that_takes_the_connection_and_says_nothing(tmp_path: Path) -> None:
    server = SshServer(tmp_path, silent=True)
    assert "its sshd does not answer" in refused(server, timeout=0.3)
    server.close()


def test_a_config_that_is_not_there(server: SshServer) -> None:
    with pytest.raises(TargetError, match="No such file"):
        connect("board", timeout=20, ssh_config="/nonexistent/config")


def test_without_an_ssh_program(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(server.directory / "included", server.config)  # paramiko knows no Include
    monkeypatch.setattr("harness.targets.ssh_settings.shutil.which", lambda name: None)
    link = connect("board", timeout=20, ssh_config=str(server.config))
    assert read_all(link, "echo", "x") == (["x"], 0)
    link.close()


@pytest.mark.parametrize(
    ("text", "host", "command"),
    [
        ("board", "board", "ssh board"),
        ("root@board", "board", "ssh root@board"),
        ("root@board:2222", "board", "ssh -p 2222 root@board"),
        ("fe80::1", "fe80::1", "ssh fe80::1"),
    ],
)
def test_host_texts(text: str, host: str, command: str) -> None:
    assert plain_host(text) == host
    assert ssh_command(text) == command


# --- as a target ---------------------------------------------------------------------------------

#: In place of /dev/kmsg, which not every machine that runs this may read.
FOLLOW = "tail -n 0 -f {log} & c=$!; while read -r _; do :; done; kill $c"


@pytest.fixture
def board(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SshTarget]:
    log = tmp_path / "kmsg"
    log.write_text("")
    monkeypatch.setattr("harness.targets.probe.require_kvm", lambda facts, where: None)
    server.instead["cat /dev/kmsg & c="] = FOLLOW.format(log=log)
    server.instead[">/dev/kmsg"] = "exit 1"
    server.exactly["id -u"] = "echo 0"
    target = SshTarget(
        SshConfig(
            host="board", ssh_config=str(server.config), work_dir=str(tmp_path), reconnect=3.0
        )
    )
    yield target
    target.close()


def test_the_interface(board: SshTarget, tmp_path: Path) -> None:
    target: Target = board
    assert target.info.kind == "ssh"
    assert target.info.env["granule"] in ("4K", "16K", "64K")
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho $#\n")
    remote = target.put(program, "batch")
    lines: list[str] = []
    assert run(target, [remote, "a", "b"], timeout=20, on_line=lines.append) == 0
    assert lines == ["2"]
    assert target.examine().health is Health.ALIVE
    board.close()
    assert not Path(remote).parent.exists(), "the private directory was left on the host"


def test_a_run_is_bounded(board: SshTarget) -> None:
    with pytest.raises(RunTimeoutError, match=r"did not end in 0.2 s"):
        run(board, ["sleep", "60"], timeout=0.2, on_line=lambda line: None)


def test_a_host_whose_log_cannot_be_read_says_so(board: SshTarget) -> None:
    assert "cannot be read" in board.info.missing["splat"]


def test_a_link_that_broke_is_made_again(board: SshTarget, server: SshServer) -> None:
    server.drop()
    condition = board.examine()
    assert condition.health is Health.LOST
    assert "the same kernel runs on" in condition.detail
    assert board.examine().health is Health.ALIVE
    assert run(board, ["true"], timeout=20, on_line=lambda line: None) == 0


def test_a_host_that_was_started_again_is_told_from_a_lost_link(
    board: SshTarget, server: SshServer
) -> None:
    board._boot_id = "another"
    server.drop()
    assert board.examine().health is Health.GONE


def test_a_host_that_does_not_come_back(board: SshTarget, server: SshServer) -> None:
    server.close()
    assert board.examine().health is Health.LOST
    began = time.monotonic()
    with pytest.raises(TargetError, match="cannot be reached"):
        board.replace()
    assert time.monotonic() - began < 60


def test_a_user_who_is_not_root(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.exactly["id -u"] = "echo 1000"
    server.exactly["sudo -n -- true"] = "echo 'sudo: a password is required' >&2; exit 1"
    with pytest.raises(TargetError, match=r"root is needed.*a password is required"):
        SshTarget(SshConfig(host="board", ssh_config=str(server.config)))


def test_a_host_that_will_not_do_is_refused(server: SshServer) -> None:
    server.exactly["id -u"] = "echo 0"
    server.instead["KernelPageSize"] = "echo uname 6.12 riscv64; echo end ."
    with pytest.raises(TargetError, match="board is riscv64, not an arm64 machine"):
        SshTarget(SshConfig(host="board", ssh_config=str(server.config)))
