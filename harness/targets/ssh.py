# SPDX-License-Identifier: GPL-2.0-only
"""Any arm64 host with /dev/kvm, over SSH as the user's own ssh config says."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from harness.targets import probe
from harness.targets.base import Condition, Health
from harness.targets.kmsg import KmsgReader
from harness.targets.link import ChannelCommand, SshLink
from harness.targets.ssh_connect import HostSilentError, connect
from harness.vocabulary import TargetError, TargetInfo, TransportLostError

#: Seconds for the probe, for a sign of life, for the log to arrive.
PROBE_TIMEOUT = 30.0
ALIVE_TIMEOUT = 10.0
SETTLE_TIMEOUT = 20.0
#: Seconds between two attempts to reach a host that is starting again.
_RETRY = 2.0

#: Follows the kernel log. ``cat`` ends when the ring overran it; a line on stdin starts it again,
#: and the end of stdin, which comes with the end of the connection, ends it all.
_FOLLOW = """
cat /dev/kmsg & c=$!
while read -r _; do kill $c; wait $c; cat /dev/kmsg & c=$!; done
kill $c
"""


class SshConfig(Struct, frozen=True, kw_only=True):
    """Settings of a host.

    ``host``: ``[user@]host[:port]``, where host may be a Host of the ssh config. ``connect``:
    seconds to connect; ``reconnect``: seconds to wait for a host that went away (it may be
    starting again). ``work_dir``: where a private directory is made. ``ssh_config``: another
    file than the user's own. ``name``: what to call it; "" for ``host``.
    """

    host: str
    connect: float = 15.0
    reconnect: float = 180.0
    work_dir: str = "/tmp"  # noqa: S108  a directory of our own is made in it with mktemp
    ssh_config: str = ""
    name: str = ""


class SshTarget:
    """A host as a target (:class:`harness.targets.base.Target`); a context manager."""

    console = ""

    def __init__(self, config: SshConfig) -> None:
        """Connects and probes. TargetError: unreachable, unknown key, no /dev/kvm, not root."""
        self._config = config
        self._name = config.name or config.host
        self._work = ""
        self._boot_id = ""
        self._old_log: list[str] = []
        self._log: ChannelCommand | None = None
        self._kmsg = KmsgReader()
        self._link = self._connect()
        self._connected = True
        try:
            facts = self._probe()
            probe.require_kvm(facts, self._name)
            self._info = probe.target_info(facts, name=self._name, kind="ssh")
            if not self._follow():
                missing = {**facts.missing, "splat": "the kernel log (/dev/kmsg) cannot be read"}
                self._info = msgspec.structs.replace(self._info, missing=missing)
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> TargetInfo:
        """What the probe found."""
        return self._info

    def put(self, local: Path, name: str) -> str:
        """Copy a program into a private directory on the host."""
        if not self._work:
            template = f"{self._config.work_dir}/harness.XXXXXXXX"
            status, text = self._link.output(["mktemp", "-d", template], timeout=ALIVE_TIMEOUT)
            if status != 0:
                raise TargetError(
                    f"{self._name}: no directory can be made in {self._config.work_dir}: "
                    f"{text.strip()}; set another work_dir"
                )
            self._work = text.strip().splitlines()[-1]
        remote = f"{self._work}/{name}"
        self._link.put(local, remote)
        return remote

    def start(self, argv: Sequence[str]) -> ChannelCommand:
        """Start a program on the host as root."""
        return self._link.start(argv)

    def kernel_log(self, *, settle: bool = False) -> tuple[str, ...]:
        """New records of the host's kernel log, also those that came before the link broke."""
        lines, self._old_log = self._old_log, []
        if self._log is not None:
            lines += self._settle() if settle else self._new_lines(0.0)
        return tuple(lines)

    def examine(self) -> Condition:
        """Whether the host answers; where the link is broken, whether it comes back, and as what.

        Waits for it as long as ``reconnect`` says.
        """
        try:
            self._link.output(["true"], timeout=ALIVE_TIMEOUT)
            return Condition(Health.ALIVE)
        except TargetError:
            self._lose()
        try:
            rebooted = self._reconnect()
        except HostSilentError as error:
            return Condition(Health.HUNG, str(error))
        except TargetError as error:
            return Condition(Health.LOST, str(error))
        if rebooted:
            return Condition(Health.GONE, "the host was started again")
        return Condition(Health.LOST, "the link broke; the same kernel runs on")

    def replace(self) -> float:
        """Connect again, to a fresh directory."""
        began = time.monotonic()
        self._drop()
        self._reconnect()
        return time.monotonic() - began

    def close(self) -> None:
        """Remove the directory and disconnect."""
        self._drop()

    def __enter__(self) -> SshTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> SshLink:
        config = self._config
        return connect(config.host, timeout=config.connect, ssh_config=config.ssh_config)

    def _probe(self) -> probe.Facts:
        """Ask the host; as root through sudo where the user is not."""
        status, text = self._link.output(["id", "-u"], timeout=ALIVE_TIMEOUT)
        if status == 0 and text.strip() != "0":
            self._link.prefix = ("sudo", "-n", "--")
            status, text = self._link.output(["true"], timeout=ALIVE_TIMEOUT)
            if status != 0:
                raise TargetError(
                    f"{self._name}: root is needed and 'sudo -n' does not give it "
                    f"({text.strip()}); log in as root or allow sudo without a password"
                )
        facts = probe.ask(
            lambda argv: self._link.output(argv, timeout=PROBE_TIMEOUT)[1], self._name
        )
        self._boot_id = facts.boot_id
        return facts

    def _follow(self, *, passed_over: bool = True) -> bool:
        """Start to follow the kernel log; whether it can be read.

        What it holds up to now is ``passed_over``, or kept as far as it was not seen before.
        """
        self._log = self._link.start(["sh", "-c", _FOLLOW], stdin=True)
        lines = self._await_mark()
        if lines is None:
            self._log.close()
            self._log = None
            return False
        if not passed_over:
            self._old_log += lines
        return True

    def _settle(self) -> list[str]:
        lines = self._await_mark()
        return [] if lines is None else lines

    def _await_mark(self) -> list[str] | None:
        """Log lines up to a mark that is written now; None if it cannot be written or seen."""
        mark = f"harness: mark {secrets.token_hex(6)}"
        script = 'echo "<7>$0" >/dev/kmsg'
        try:
            status, _ = self._link.output(["sh", "-c", script, mark], timeout=SETTLE_TIMEOUT)
        except TargetError:
            return None
        if status != 0:
            return None
        deadline = time.monotonic() + SETTLE_TIMEOUT
        lines: list[str] = []
        while (left := deadline - time.monotonic()) > 0 and self._log is not None:
            new = self._new_lines(left)
            lines += [line for line in new if mark not in line]
            if any(mark in line for line in new):
                return lines
        self._old_log += lines
        return None

    def _new_lines(self, wait: float) -> list[str]:
        """Log lines that have arrived; waits for the first of them at most ``wait`` seconds."""
        lines: list[str] = []
        while self._log is not None:
            try:
                records = self._log.read(wait)
            except TransportLostError:
                records = None
            if not records:
                self._log = None if records is None else self._log
                break
            wait = 0.0
            for record in records:
                if record.startswith("cat: "):
                    self._follow_again(record)
                elif (line := self._kmsg.line(record)) is not None:
                    lines.append(line)
        return lines

    def _follow_again(self, complaint: str) -> None:
        """``cat`` ended: start another if the ring overran it, else the log cannot be read."""
        try:
            if self._log is not None and "pipe" in complaint.lower():
                self._log.send("\n")
                return
        except TransportLostError:
            pass
        self._log = None

    def _reconnect(self) -> bool:
        """Get a link, within ``reconnect`` seconds; whether the host was started again."""
        if self._connected:
            return False
        deadline = time.monotonic() + self._config.reconnect
        while True:
            try:
                self._link = self._connect()
                self._connected = True
                break
            except TargetError:
                if time.monotonic() + _RETRY > deadline:
                    raise
                time.sleep(_RETRY)
        before = self._boot_id
        self._probe()
        rebooted = self._boot_id != before
        if rebooted:
            self._kmsg = KmsgReader()
        self._follow(passed_over=rebooted)
        return rebooted

    def _drop(self) -> None:
        if self._work and self._connected:
            with contextlib.suppress(TargetError):
                self._link.output(["rm", "-rf", "--", self._work], timeout=ALIVE_TIMEOUT)
        self._lose()

    def _lose(self) -> None:
        """Close the link; what it brought of the kernel log is kept."""
        self._old_log += self._new_lines(0.0)
        if self._log is not None:
            self._log.close()
            self._log = None
        self._link.close()
        self._connected = False
        self._work = ""
