# SPDX-License-Identifier: GPL-2.0-only
"""This machine as a target, if it is arm64 with /dev/kvm."""

from __future__ import annotations

import contextlib
import os
import platform
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.targets import probe
from harness.targets.base import Condition, Health
from harness.targets.kmsg import KmsgReader
from harness.targets.lines import LineBuffer
from harness.targets.scratch import make_scratch, remove_scratch
from harness.vocabulary import TargetError, TargetInfo

PROBE_TIMEOUT = 30.0
#: Seconds that a program has to end once its output is given up.
_GRACE = 2.0
#: Largest record of /dev/kmsg (CONSOLE_EXT_LOG_MAX, PRINTKRB_RECORD_MAX).
_KMSG_RECORD = 8192


class LocalCommand:
    """A child process (:class:`harness.targets.base.Command`)."""

    def __init__(self, argv: Sequence[str], prefix: Sequence[str] = ()) -> None:
        self._prefix = prefix
        try:
            self._child = subprocess.Popen(
                [*prefix, *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise TargetError(f"{argv[0]} cannot be started: {error.strerror}") from error
        assert self._child.stdout is not None
        self._out = self._child.stdout.fileno()
        self._buffer = LineBuffer()
        self._ended = False

    @property
    def status(self) -> int | None:
        """Exit status, 128 + n after signal n."""
        status = self._child.poll()
        return status if status is None or status >= 0 else 128 - status

    def read(self, wait: float) -> list[str] | None:
        """See :meth:`harness.targets.base.Command.read`."""
        if self._ended:
            return None
        deadline = time.monotonic() + wait
        while True:
            ready, _, _ = select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return []
            data = os.read(self._out, 1 << 18)
            if not data:
                return self._end()
            if lines := self._buffer.feed(data):
                return lines

    def close(self) -> None:
        """End it: its output is gone, then SIGTERM, then SIGKILL to its process group."""
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._ended = True
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._child.poll() is not None:
                return
            self._signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_GRACE)

    def _end(self) -> list[str] | None:
        self._ended = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_GRACE)
        return self._buffer.rest() or None

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            return
        except PermissionError:  # it runs as root through sudo
            subprocess.run(
                [*self._prefix, "kill", f"-{number.name[3:]}", "--", f"-{self._child.pid}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_GRACE,
                check=False,
            )


class LocalLog:
    """New records of this machine's kernel log."""

    def __init__(self, path: str = "/dev/kmsg") -> None:
        """OSError if it cannot be read."""
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._fd, 0, os.SEEK_END)
        self._reader = KmsgReader()

    def read(self) -> tuple[str, ...]:
        """Records since the last call; what the ring overran is lost."""
        lines = []
        while True:
            try:
                record = os.read(self._fd, _KMSG_RECORD)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # the ring overran us; the next read goes on with what is left
            if not record:
                break
            line = self._reader.line(record.decode("utf-8", errors="replace").split("\n")[0])
            if line is not None:
                lines.append(line)
        return tuple(lines)

    def close(self) -> None:
        """Let it go."""
        os.close(self._fd)


class LocalTarget:
    """This machine (:class:`harness.targets.base.Target`); a context manager."""

    console = ""

    def __init__(self, name: str = "local") -> None:
        """Probes. TargetError: not arm64, no /dev/kvm, not root."""
        self._prefix: tuple[str, ...] = ()
        if platform.machine() != "aarch64":
            raise TargetError(
                f"{name}: this machine is {platform.machine()}, not arm64; name an arm64 host, or "
                "a kernel for QEMU"
            )
        if os.getuid() != 0:
            self._prefix = _sudo(name)
        facts = probe.ask(self._output, name)
        probe.require_kvm(facts, name)
        self._info = probe.target_info(facts, name=name, kind="local")
        self._commands: list[LocalCommand] = []
        self._work: Path | None = None
        self._log: LocalLog | None = None
        try:
            self._log = LocalLog()
        except OSError as error:
            reason = f"the kernel log cannot be read: /dev/kmsg: {error.strerror}"
            self._info = msgspec.structs.replace(
                self._info, missing={**self._info.missing, "splat": reason}
            )

    @property
    def info(self) -> TargetInfo:
        """What the probe found."""
        return self._info

    def put(self, local: Path, name: str) -> str:
        """Copy a program into a private directory."""
        if self._work is None:
            self._work = make_scratch("local")
        path = self._work / name
        path.unlink(missing_ok=True)
        shutil.copyfile(local, path)
        path.chmod(0o700)
        return str(path)

    def start(self, argv: Sequence[str]) -> LocalCommand:
        """Start a program as root."""
        self._commands = [command for command in self._commands if command.status is None]
        command = LocalCommand(argv, self._prefix)
        self._commands.append(command)
        return command

    def kernel_log(self, *, settle: bool = False) -> tuple[str, ...]:
        """New records of the kernel log; they are there at once, so nothing has to settle."""
        del settle
        return () if self._log is None else self._log.read()

    def examine(self) -> Condition:
        """Whoever asks is alive, and so is this machine."""
        return Condition(Health.ALIVE)

    def replace(self) -> float:
        """End what still runs and forget the directory."""
        began = time.monotonic()
        self._clean()
        return time.monotonic() - began

    def close(self) -> None:
        """End what still runs and remove the directory."""
        self._clean()
        if self._log is not None:
            self._log.close()
            self._log = None

    def __enter__(self) -> LocalTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _clean(self) -> None:
        for command in self._commands:
            command.close()
        self._commands = []
        if self._work is not None:
            remove_scratch(self._work)
            self._work = None

    def _output(self, argv: Sequence[str]) -> str:
        try:
            done = subprocess.run(
                [*self._prefix, *argv],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PROBE_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TargetError(f"local: probing failed: {error}") from error
        return done.stdout


def _sudo(name: str) -> tuple[str, ...]:
    prefix = ("sudo", "-n", "--")
    try:
        done = subprocess.run(
            [*prefix, "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        done = None
    if done is None or done.returncode != 0:
        raise TargetError(
            f"{name}: root is needed and 'sudo -n' does not give it; run as root, or allow sudo "
            "without a password"
        )
    return prefix
