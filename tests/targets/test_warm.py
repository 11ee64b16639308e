# SPDX-License-Identifier: GPL-2.0-only
"""Warm guests: they stay, are found again, are used by one at a time, and go when told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.targets import connect_warm, down, list_warm, open_named, up, warm
from harness.targets.scratch import process_is
from harness.vocabulary import BootError, TargetError, UsageError
from tests.targets import fake_qemu
from tests.targets.fake_qemu import fake_image

NAME = "one"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "state"
    monkeypatch.setenv("HARNESS_STATE", str(place))
    monkeypatch.setenv("HARNESS_INVENTORY", str(tmp_path / "hosts.toml"))
    (tmp_path / "hosts.toml").write_text('[hosts]\naltra = "root@altra.invalid"\n')
    yield place
    for guest in list_warm():
        down(guest.name)


def test_up_list_down(tmp_path: Path, state: Path) -> None:
    config = fake_qemu.fake_qemu(tmp_path, fake_qemu.READY)
    guest = up(NAME, fake_image(tmp_path), config)
    assert guest.running
    assert list_warm() == (guest,)
    assert up(NAME, fake_image(tmp_path), config) == guest, "a second up must find the first"
    assert down(NAME)
    assert not guest.running
    assert list_warm() == ()
    assert not down(NAME)
    assert list((state / "guests").iterdir()) == []


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    config = fake_qemu.fake_qemu(tmp_path, fake_qemu.READY)
    up(NAME, fake_image(tmp_path), config)
    with pytest.raises(UsageError, match=r"is up with image:test.*targets down one"):
        up(NAME, fake_image(tmp_path, "image:other"), config)


@pytest.mark.parametrize("name", ["", "../x", "UPPER", "a/b", "-x", "x" * 40])
def test_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no name for a guest"):
        up(name, fake_image(tmp_path), fake_qemu.fake_qemu(tmp_path, fake_qemu.READY))


def test_a_boot_that_fails_leaves_nothing(tmp_path: Path, state: Path) -> None:
    config = fake_qemu.fake_qemu(tmp_path, fake_qemu.BAD_OPTION)
    with pytest.raises(BootError, match="unsupported machine type"):
        up(NAME, fake_image(tmp_path), config)
    assert list_warm() == ()
    assert list((state / "guests").iterdir()) == []


def test_a_name_that_nobody_has_leaves_no_lock(state: Path) -> None:
    with pytest.raises(TargetError, match="no guest 'one' is up"):
        connect_warm(NAME)
    assert not list(state.glob("**/*.lock"))


def test_a_guest_that_died_is_forgotten(tmp_path: Path) -> None:
    guest = up(NAME, fake_image(tmp_path), fake_qemu.fake_qemu(tmp_path, fake_qemu.READY))
    os.kill(guest.pid, signal.SIGKILL)
    os.waitpid(guest.pid, 0)
    assert list_warm() == ()
    with pytest.raises(TargetError, match="harness targets up one"):
        connect_warm(NAME)


def test_another_process_with_the_same_pid_is_left_alone(tmp_path: Path, state: Path) -> None:
    config = fake_qemu.fake_qemu(tmp_path, fake_qemu.READY)
    guest = up(NAME, fake_image(tmp_path), config)
    record = state / "guests" / NAME / "guest.json"
    text = record.read_text().replace(str(guest.pid_start), str(guest.pid_start - 1))
    record.write_text(text)
    down(NAME)
    assert guest.running, "a process that is not ours was killed"
    os.kill(guest.pid, signal.SIGKILL)
    os.waitpid(guest.pid, 0)


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, state: Path) -> None:
    (state / "guests" / NAME).mkdir(parents=True)
    (state / "guests" / NAME / "guest.json").write_text("{")
    assert list_warm() == ()
    assert up(NAME, fake_image(tmp_path), fake_qemu.fake_qemu(tmp_path, fake_qemu.READY)).running


PROGRAM = """
import sys
from pathlib import Path
from harness.targets import up
from tests.targets import fake_qemu
place = Path(sys.argv[1])
up("one", fake_qemu.fake_image(place), fake_qemu.fake_qemu(place, sys.argv[2]))
"""


def test_it_outlives_the_command_that_booted_it(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), fake_qemu.READY], check=True, timeout=60
    )
    (guest,) = list_warm()
    assert guest.running
    assert down(NAME)
    assert not guest.running


def test_a_boot_that_was_cut_off_can_be_ended(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), fake_qemu.SILENT])
    while not list_warm():
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    (guest,) = list_warm()
    assert not guest.ready
    with pytest.raises(TargetError, match="no guest 'one' is up"):
        connect_warm(NAME)
    assert down(NAME)
    assert not process_is(guest.pid, guest.pid_start)


def test_one_command_at_a_time(tmp_path: Path) -> None:
    up(NAME, fake_image(tmp_path), fake_qemu.fake_qemu(tmp_path, fake_qemu.READY))
    with warm._lock(NAME), pytest.raises(TargetError, match="in use"):
        connect_warm(NAME)


def test_a_lease_is_given_back_when_connecting_fails(tmp_path: Path) -> None:
    up(NAME, fake_image(tmp_path), fake_qemu.fake_qemu(tmp_path, fake_qemu.READY))
    for _ in range(2):
        with pytest.raises(TargetError) as caught:
            connect_warm(NAME)  # there is no sshd, nor a key
        assert "in use" not in str(caught.value)
    assert list_warm(), "a guest must not go because somebody could not connect"


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    up(NAME, fake_image(tmp_path), fake_qemu.fake_qemu(tmp_path, fake_qemu.READY))
    with pytest.raises(UsageError, match=r"no target 'two'; known: local, one, altra"):
        open_named("two")
