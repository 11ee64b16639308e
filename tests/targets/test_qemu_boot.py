# SPDX-License-Identifier: GPL-2.0-only
"""Boots that go wrong say why in one line and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.targets import QemuConfig, qemu_process, scratch
from harness.targets.qemu_boot import Guest, boot
from harness.vocabulary import BootError, TargetError, ToolMissingError
from tests.targets import fake_qemu
from tests.targets.fake_qemu import fake_image


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root for temporary directories, which must be empty at the end."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(scratch, "_known", set())
    yield place
    assert list(place.iterdir()) == []


def children_of(directory: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(str(directory) in word for word in process.info["cmdline"] or [])
    ]


def end(guest: Guest) -> None:
    guest.process.kill()
    assert not guest.process.running
    scratch.remove_scratch(guest.scratch)


def test_a_boot(tmp_path: Path) -> None:
    guest = boot(fake_image(tmp_path), fake_qemu.fake_qemu(tmp_path, fake_qemu.READY))
    assert guest.process.running
    assert guest.boot_seconds > 0
    assert "harness: ready" in guest.wiring.console.read_text()
    end(guest)
    assert guest.process.exit_status == -signal.SIGTERM


def test_a_qemu_without_device_memory_boots_all_the_same(tmp_path: Path) -> None:
    behaviour = fake_qemu.NO_DEVICE + fake_qemu.READY
    guest = boot(fake_image(tmp_path), fake_qemu.fake_qemu(tmp_path, behaviour))
    assert guest.process.running
    end(guest)


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (fake_qemu.FAILED, "no network interface eth0"),
        (fake_qemu.SILENT, "Booting Linux on physical CPU"),
        (fake_qemu.PANIC, "Unable to mount root fs"),
        (fake_qemu.BAD_OPTION, "unsupported machine type"),
        ("exit 3\n", "status 3"),
        ("kill -SEGV $$\n", "signal SIGSEGV"),
    ],
)
def test_a_boot_that_fails(tmp_path: Path, behaviour: str, says: str) -> None:
    config = fake_qemu.fake_qemu(tmp_path, behaviour, timeout=1.0)
    with pytest.raises(BootError, match=says) as caught:
        boot(fake_image(tmp_path), config)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("image:test: ")
    assert children_of(tmp_path) == []


def test_a_port_that_was_taken_is_another_attempt(tmp_path: Path) -> None:
    config = fake_qemu.fake_qemu(tmp_path, fake_qemu.PORT_TAKEN + fake_qemu.READY)
    guest = boot(fake_image(tmp_path), config)
    assert len((tmp_path / "tries").read_text().splitlines()) == 3
    end(guest)


def test_a_port_that_is_always_taken_is_an_error(tmp_path: Path) -> None:
    taken = fake_qemu.PORT_TAKEN.replace("-le 2", "-le 999")
    with pytest.raises(BootError, match="host forwarding"):
        boot(fake_image(tmp_path), fake_qemu.fake_qemu(tmp_path, taken))


def test_no_qemu(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match=r"apt-get install qemu-system-arm"):
        boot(fake_image(tmp_path), QemuConfig(accel="tcg", cpu="x", qemu="qemu-that-is-not-there"))


def test_one_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu_process, "_GRACE", 0.2)
    behaviour = fake_qemu.STUBBORN + fake_qemu.READY
    guest = boot(fake_image(tmp_path), fake_qemu.fake_qemu(tmp_path, behaviour))
    end(guest)
    assert guest.process.exit_status == -signal.SIGKILL
    assert children_of(tmp_path) == []


def test_an_interrupt_ends_a_boot_in_another_thread_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu_process, "_ending", threading.Event())
    config = fake_qemu.fake_qemu(tmp_path, fake_qemu.SILENT, timeout=60)
    seen: list[BaseException] = []

    def work() -> None:
        try:
            boot(fake_image(tmp_path), config)
        except TargetError as error:
            seen.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not children_of(tmp_path):
        time.sleep(0.01)
    qemu_process.end_all_guests()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert len(seen) == 1
    with pytest.raises(TargetError, match="interrupted"):
        boot(fake_image(tmp_path), config)


def test_a_guest_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """The death signal comes when the forking thread ends, not the process."""
    guests: list[Guest] = []
    config = fake_qemu.fake_qemu(tmp_path, fake_qemu.READY)
    thread = threading.Thread(target=lambda: guests.append(boot(fake_image(tmp_path), config)))
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert guests[0].process.running
    end(guests[0])


PROGRAM = """
import sys, time
from pathlib import Path
from harness.targets.qemu_boot import boot
from tests.targets import fake_qemu
place = Path(sys.argv[1])
guest = boot(fake_qemu.fake_image(place), fake_qemu.fake_qemu(place, fake_qemu.READY))
print(guest.process.pid, guest.scratch, flush=True)
if sys.argv[2] == "wait":
    time.sleep(60)
"""


@pytest.mark.parametrize("how", ["end", "SIGINT", "SIGTERM", "SIGKILL"])
def test_nothing_is_left_of_a_process_that_forgot_its_guest(tmp_path: Path, how: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), "end" if how == "end" else "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    with child:
        pid, directory = child.stdout.readline().split()
        if how != "end":
            os.kill(child.pid, getattr(signal, how))
        child.wait(timeout=20)
    deadline = time.monotonic() + 10
    while scratch.process_start(int(pid)) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert scratch.process_start(int(pid)) is None, "QEMU outlived the harness"
    if how in ("SIGTERM", "SIGKILL"):  # nobody could clean up; the next process does
        scratch.remove_scratch(scratch.make_scratch("next"))
    assert not Path(directory).exists()
