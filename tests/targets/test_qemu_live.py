# SPDX-License-Identifier: GPL-2.0-only
"""Targets on real kernels: QEMU, a warm guest, and that guest as a host for SSH."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import paramiko
import pytest

from harness.targets import (
    Health,
    QemuConfig,
    SplatKind,
    SshConfig,
    SshTarget,
    connect_warm,
    down,
    find_splats,
    list_warm,
    open_qemu,
    run,
    up,
)
from harness.targets.qemu_config import command_line, keeps_cleared_code
from harness.vocabulary import BootError, Image, TargetError
from reference_model.profiles import Environment
from tests.execute import live

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

#: spec, kernel arguments, CPU model -> what differs from the model's default environment.
MACHINES = [
    ("debian:bookworm", (), "", {}),
    ("debian:trixie", (), "", {}),
    *(
        pytest.param(*machine, marks=pytest.mark.slow)
        for machine in (
            ("debian:bookworm", ("kvm-arm.mode=nvhe",), "", {"mode": "nvhe"}),
            ("debian:trixie", ("kvm-arm.mode=protected",), "", {"mode": "protected"}),
            ("debian:trixie", (), "cortex-a57", {"mode": "nvhe", "ipa_limit": 44, "haf": False, "xnx": False}),
            ("debian:trixie/arm64-16k", (), "", {"page_shift": 14, "fwb": True, "tlb_range": True, "lpa2": True, "ipa_limit": 52}),
            ("debian:bullseye", (), "", {}),
            ("debian:sid", (), "", {}),
            ("debian:trixie-backports", (), "", {}),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "append", "cpu", "differs"), MACHINES)
def test_a_guest_is_what_it_was_asked_to_be(
    spec: str, append: tuple[str, ...], cpu: str, differs: dict[str, object]
) -> None:
    image = live.image(spec)
    with open_qemu(image, QemuConfig(accel="tcg", append=append, cpu=cpu)) as target:
        info = target.info
        assert info.release == image.release
        assert (info.kind, info.accel, info.tracefs, info.modules) == ("qemu", "tcg", True, True)
        assert not info.missing
        default = Environment(zva_keeps_code=keeps_cleared_code(target.config))
        expected = {name: getattr(default, name) for name in Environment.__struct_fields__}
        seen = Environment.parse(info.env.items())
        assert {name: getattr(seen, name) for name in expected} == expected | differs


def test_commands_log_and_replacement(tmp_path: Path) -> None:
    with open_qemu(live.image("debian:trixie"), QemuConfig(accel="tcg")) as target:
        program = tmp_path / "program"
        program.write_text('#!/bin/sh\necho "$1"; exit 5\n')
        remote = target.put(program, "batch")
        lines: list[str] = []
        assert run(target, [remote, "a  b"], timeout=30, on_line=lines.append) == 5
        assert lines == ["a  b"]
        assert target.kernel_log(settle=True) == ()
        run(target, ["sh", "-c", "echo '<3>kvm: x' >/dev/kmsg"], timeout=30, on_line=print)
        (line,) = target.kernel_log(settle=True)
        assert line.endswith("kvm: x")
        pid = target.guest.process.pid
        assert target.replace() > 0
        assert target.guest.process.pid != pid
        assert target.examine().health is Health.ALIVE
        assert run(target, [remote], timeout=30, on_line=lines.append) == 127


def test_a_panic_is_seen_to_its_last_line() -> None:
    with open_qemu(live.image("debian:trixie"), QemuConfig(accel="tcg")) as target:
        command = target.start(["sh", "-c", "echo c >/proc/sysrq-trigger"])
        with pytest.raises(TargetError):
            while command.read(30.0) is not None:
                pass
        assert target.examine().health is Health.RESET
        (splat,) = find_splats(target.kernel_log())
        assert splat.kind is SplatKind.PANIC
        assert any("Memory Limit" in line for line in splat.lines)


def test_wrong_keys_are_refused(tmp_path: Path) -> None:
    image = live.image("debian:trixie")
    other = paramiko.Ed25519Key.from_private_key_file(image.key_file).get_base64()
    wrong = msgspec.structs.replace(image, host_key=f"ssh-ed25519 {other}")
    with pytest.raises(TargetError, match="no SSH connection") as caught:
        open_qemu(wrong, QemuConfig(accel="tcg"))
    assert "\n" not in str(caught.value)


def test_a_kernel_that_does_not_boot_is_a_boot_error() -> None:
    image = live.image("debian:trixie")
    with pytest.raises(BootError, match=r"(died while booting: .*VFS|ended before)"):
        open_qemu(
            msgspec.structs.replace(image, initrd="/dev/null"),
            QemuConfig(accel="tcg", append=("root=/dev/none",)),
        )


@pytest.fixture
def warm_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HARNESS_STATE", str(tmp_path))
    yield "live"
    down("live")
    assert list_warm() == ()


def test_a_warm_guest_is_used_twice_and_as_a_host(warm_name: str, tmp_path: Path) -> None:
    image = live.image("debian:trixie")
    guest = up(warm_name, image, QemuConfig(accel="tcg"))
    for _ in range(2):
        with connect_warm(warm_name) as target:
            assert target.info.boot_seconds == guest.boot_seconds
            assert run(target, ["true"], timeout=30, on_line=print) == 0
    with SshTarget(as_host(tmp_path, image, guest.port)) as host:
        assert host.info.release == image.release
        assert "splat" not in host.info.missing
        run(host, ["sh", "-c", "echo '<4>kvm: x' >/dev/kmsg"], timeout=30, on_line=print)
        (line,) = host.kernel_log(settle=True)
        assert line.endswith("kvm: x")
        assert host.replace() >= 0
        assert host.kernel_log(settle=True) == ()
    with connect_warm(warm_name) as target:
        target.replace()
    (again,) = list_warm()
    assert again.pid != guest.pid


def test_a_host_whose_kernel_panics_is_seen_to_have_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A QEMU that lets its guest reboot stands for the host."""

    def rebooting(*args: Any, **settings: Any) -> list[str]:
        return [word for word in command_line(*args, **settings) if word != "-no-reboot"]

    monkeypatch.setattr("harness.targets.qemu_boot.command_line", rebooting)
    image = live.image("debian:trixie")
    with (
        open_qemu(image, QemuConfig(accel="tcg")) as guest,
        SshTarget(as_host(tmp_path, image, guest.guest.wiring.port)) as host,
    ):
        command = host.start(["sh", "-c", "echo c >/proc/sysrq-trigger"])
        # No end of the connection reaches us: silence, as with a real machine.
        assert command.read(1.0) == []
        assert host.examine().health is Health.GONE
        assert run(host, ["true"], timeout=30, on_line=print) == 0


def as_host(directory: Path, image: Image, port: int) -> SshConfig:
    """Settings that reach a guest as if it were any host."""
    known, config = directory / "known_hosts", directory / "config"
    known.write_text(f"[127.0.0.1]:{port} {image.host_key}\n")
    config.write_text(
        f"Host board\n HostName 127.0.0.1\n Port {port}\n User root\n"
        f" IdentityFile {image.key_file}\n UserKnownHostsFile {known}\n"
    )
    return SshConfig(host="board", ssh_config=str(config))
