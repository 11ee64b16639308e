# SPDX-License-Identifier: GPL-2.0-only
"""A guest in QEMU whose kernel has EL2, as a target."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import paramiko

from harness.targets import probe
from harness.targets.base import Condition, Health
from harness.targets.console import Console
from harness.targets.link import ChannelCommand, SshLink, signal_name
from harness.targets.qemu_boot import Guest, boot
from harness.targets.qemu_config import (
    CONSOLE_DEVICE,
    QemuConfig,
    choose_accel,
    choose_cpu,
    keeps_cleared_code,
)
from harness.targets.qemu_process import QemuProcess
from harness.targets.scratch import remove_scratch
from harness.targets.sysrq import ask_where_it_hangs
from harness.vocabulary import Image, TargetError, TargetInfo, TransportLostError

#: Where programs go in the guest.
WORK_DIR = "/tmp"  # noqa: S108  the guest is ours alone
#: Seconds for the SSH handshake, the probe, and a sign of life.
CONNECT_TIMEOUT = 20.0
PROBE_TIMEOUT = 20.0
ALIVE_TIMEOUT = 10.0
#: Seconds for the guest's kernel to print what it has logged; a busy host makes it slow.
SETTLE_TIMEOUT = 20.0
_MARK = "harness: mark"
#: What QEMU says when a signal ended it; its exit status is 0 then.
_ENDED_FROM_OUTSIDE = "terminating on signal"
#: Seconds that a dying QEMU has to end after its link broke: the kernel prints its oops first.
_DEATH_TIMEOUT = 5.0


class QemuTarget:
    """A guest as a target (:class:`harness.targets.base.Target`); a context manager."""

    console = CONSOLE_DEVICE

    def __init__(
        self, image: Image, config: QemuConfig, *, name: str = "", guest: Guest | None = None
    ) -> None:
        """Boots a guest, or takes over one that is ``guest`` already; BootError, TargetError."""
        self.image = image
        self.config = config
        self._accel = choose_accel(config)
        self._cpu = choose_cpu(config, image, self._accel)
        self._name = name or image.spec
        self._guest = guest or boot(image, config)
        self._console = Console(self._guest.wiring.console)
        self._old_log: list[str] = []
        self._link: SshLink | None = None
        try:
            self._console.read()
            self._link = connect(image, self._guest.wiring.port, self._name)
            self._info = self._probe(self._link)
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> TargetInfo:
        """What the probe found."""
        return self._info

    @property
    def guest(self) -> Guest:
        """The guest of the moment."""
        return self._guest

    def put(self, local: Path, name: str) -> str:
        """Copy a program into the guest."""
        remote = f"{WORK_DIR}/{name}"
        self._connected().put(local, remote)
        return remote

    def start(self, argv: Sequence[str]) -> ChannelCommand:
        """Start a program in the guest as root."""
        return self._connected().start(argv)

    def kernel_log(self, *, settle: bool = False) -> tuple[str, ...]:
        """New lines of the serial console."""
        lines, self._old_log = self._old_log, []
        if not self._guest.process.running:
            lines += self._console.drain()
        else:
            lines += self._console.read()
            if settle and self._link is not None:
                lines += self._settle(self._link)
        return tuple(line for line in lines if _MARK not in line)

    def examine(self) -> Condition:
        """Whether QEMU runs, and the guest answers."""
        process = self._guest.process
        link = self._link
        if process.running and (link is None or not link.active):
            process.wait(_DEATH_TIMEOUT)  # the link broke; QEMU's own end may be a moment behind
        if not process.running:
            return _autopsy(process)
        if link is None or not link.active:
            return Condition(Health.LOST, "the SSH connection broke and the guest runs on")
        try:
            link.output(["true"], timeout=ALIVE_TIMEOUT)
        except TransportLostError as error:
            if process.wait(_DEATH_TIMEOUT):
                return _autopsy(process)
            return Condition(Health.LOST, str(error))
        except TargetError as error:
            if process.wait(0.2):
                return _autopsy(process)
            self._old_log += ask_where_it_hangs(self._guest.wiring, self._console)
            return Condition(Health.HUNG, f"the guest does not answer: {error}")
        return Condition(Health.ALIVE)

    def replace(self) -> float:
        """Kill the guest and boot it anew."""
        began = time.monotonic()
        self._disconnect()
        self._guest.process.kill()
        self._guest = self._boot_again()
        self._console = Console(self._guest.wiring.console)
        self._console.read()
        self._link = connect(self.image, self._guest.wiring.port, self._name)
        return time.monotonic() - began

    def close(self) -> None:
        """Disconnect, kill QEMU and remove its files."""
        self._disconnect()
        self._guest.process.kill()
        remove_scratch(self._guest.scratch)

    def _disconnect(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _boot_again(self) -> Guest:
        remove_scratch(self._guest.scratch)
        return boot(self.image, self.config)

    def __enter__(self) -> QemuTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self) -> SshLink:
        if self._link is None:
            raise TargetError(f"{self._name}: the target is closed; open it again")
        return self._link

    def _probe(self, link: SshLink) -> TargetInfo:
        facts = probe.ask(lambda argv: link.output(argv, timeout=PROBE_TIMEOUT)[1], self._name)
        probe.require_kvm(facts, self._name)
        info = probe.target_info(facts, name=self._name, kind="qemu")
        keeps_code = "on" if keeps_cleared_code(self.config) else "off"
        return msgspec.structs.replace(
            info,
            env=info.env | {"zva_keeps_code": keeps_code} | self.image.facts,
            machine="virt",
            accel=self._accel,
            cpu=self._cpu,
            boot_seconds=self._guest.boot_seconds,
        )

    def _settle(self, link: SshLink) -> tuple[str, ...]:
        """A mark through the kernel's log: when it is out, all before it is."""
        mark = f"{_MARK} {time.monotonic_ns():x}"
        try:
            script = 'echo "<1>$0" >/dev/kmsg'
            link.output(["sh", "-c", script, mark], timeout=SETTLE_TIMEOUT)
        except TargetError:
            return ()  # it does not answer, so there is nothing to wait for
        _, lines = self._console.wait_for(
            mark, timeout=SETTLE_TIMEOUT, alive=lambda: self._guest.process.running
        )
        return lines


def connect(image: Image, port: int, name: str) -> SshLink:
    """An SSH connection to a guest that is ready; strict about its host key. TargetError."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        kind, _, blob = image.host_key.partition(" ")
        host_key = paramiko.PKey.from_type_string(kind, base64.b64decode(blob))
        client.get_host_keys().add(f"[127.0.0.1]:{port}", kind, host_key)
        sock = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.connect(
            "127.0.0.1",
            port,
            username="root",
            sock=sock,
            pkey=paramiko.Ed25519Key.from_private_key_file(image.key_file),
            look_for_keys=False,
            allow_agent=False,
            timeout=CONNECT_TIMEOUT,
            banner_timeout=CONNECT_TIMEOUT,
            auth_timeout=CONNECT_TIMEOUT,
        )
    except (paramiko.SSHException, OSError, EOFError, ValueError) as error:
        client.close()
        raise TargetError(
            f"{name}: no SSH connection to the guest (port {port}): {error}"
        ) from error
    return SshLink(client, name)


def _autopsy(process: QemuProcess) -> Condition:
    status = process.exit_status
    detail = process.complaint()
    if _ENDED_FROM_OUTSIDE in detail:
        return Condition(Health.BROKEN, f"QEMU was ended from outside: {detail}")
    if status == 0:
        # -no-reboot: QEMU ends by itself only when the guest resets or powers off.
        return Condition(Health.RESET, "the guest reset or powered off")
    if status is None:
        return Condition(Health.GONE, f"QEMU ended: {detail or 'no message'}")
    return Condition(Health.BROKEN, f"QEMU ended with {signal_name(status)}: {detail}".rstrip(": "))
