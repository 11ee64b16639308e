# SPDX-License-Identifier: GPL-2.0-only
"""Commands and files over one SSH connection that stays open."""

from __future__ import annotations

import contextlib
import logging
import shlex
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import paramiko

from harness.targets.copies import REPLACE_SCRIPT, Changes, changes
from harness.targets.lines import LineBuffer
from harness.vocabulary import TargetError, TransportLostError

# Paramiko's transport thread logs whole tracebacks to stderr; every failure also reaches the
# caller as an exception.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

#: Seconds to open a channel on a live connection, and to copy a program of some MiB.
CHANNEL_TIMEOUT = 15.0
COPY_TIMEOUT = 120.0
#: Seconds between keep-alive messages: NATs and firewalls forget silent connections.
KEEPALIVE = 15
#: Seconds to wait for the exit status after the end of the output.
_STATUS_TIMEOUT = 5.0

_LOST = (paramiko.SSHException, EOFError, OSError)


class Closable(Protocol):
    """What stands behind a client: a connection with its gateways."""

    def close(self) -> object:
        """End it."""


class ChannelCommand:
    """A program at the far end of an SSH channel (:class:`harness.targets.base.Command`)."""

    def __init__(self, channel: paramiko.Channel, where: str) -> None:
        self._channel = channel
        self._where = where
        self._buffer = LineBuffer()
        self._status: int | None = None
        self._ended = False

    @property
    def status(self) -> int | None:
        """Exit status; -1 where the server sent none (killed by a signal, in some servers)."""
        return self._status

    def read(self, wait: float) -> list[str] | None:
        """See :meth:`harness.targets.base.Command.read`."""
        if self._ended:
            return None
        deadline = time.monotonic() + wait
        while True:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.0))
            try:
                data = self._channel.recv(1 << 18)
            except TimeoutError:
                return []
            except _LOST as error:
                raise self._lost(error) from error
            if not data:
                return self._end()
            if lines := self._buffer.feed(data):
                return lines

    def send(self, text: str) -> None:
        """Give the program some input (started with ``stdin``); TransportLostError."""
        try:
            self._channel.sendall(text.encode())
        except _LOST as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Close the channel."""
        with contextlib.suppress(*_LOST):
            self._channel.close()

    def _end(self) -> list[str] | None:
        self._ended = True
        if not self._channel.status_event.wait(_STATUS_TIMEOUT):
            raise self._lost(None)
        self._status = self._channel.exit_status
        if self._status == -1:
            # No status: a signal, or the link broke; the transport closes its channels a moment
            # before it calls itself inactive.
            time.sleep(0.05)
            if not self._channel.get_transport().is_active():
                raise self._lost(None)
        return self._buffer.rest() or None

    def _lost(self, error: BaseException | None) -> TransportLostError:
        why = f": {error}" if error is not None and str(error) else ""
        return TransportLostError(f"{self._where}: the SSH connection broke{why}")


class SshLink:
    """A connected client; ``prefix`` is put before every command (``sudo -n --``).

    ``owner``: what to close with it (and to keep a reference to until then).
    """

    def __init__(
        self, client: paramiko.SSHClient, where: str, *, owner: Closable | None = None
    ) -> None:
        self.client = client
        self._owner = owner
        self.where = where
        self.prefix: tuple[str, ...] = ()
        transport = client.get_transport()
        if transport is None:
            raise TargetError(f"{where}: not connected")
        transport.set_keepalive(KEEPALIVE)
        self._transport = transport
        #: The last content of each program that was copied, by its place at the far end.
        self._copied: dict[str, bytes] = {}

    @property
    def active(self) -> bool:
        """False once the connection is known to be broken."""
        return self._transport.is_active()

    def start(
        self, argv: Sequence[str], *, timeout: float = CHANNEL_TIMEOUT, stdin: bool = False
    ) -> ChannelCommand:
        """Start a program, stderr with stdout; its stdin is empty unless ``stdin``."""
        channel = self._open(shlex.join([*self.prefix, *argv]), timeout)
        if not stdin:
            channel.shutdown_write()
        return ChannelCommand(channel, self.where)

    def output(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"") -> tuple[int, str]:
        """Run a short program to its end; exit status and output. TargetError after ``timeout``."""
        channel = self._open(shlex.join([*self.prefix, *argv]), timeout)
        command = ChannelCommand(channel, self.where)
        try:
            channel.settimeout(timeout)
            if stdin:
                self._feed(channel, stdin)
            channel.shutdown_write()
            return self._collect(command, argv, timeout)
        except TimeoutError as error:
            raise self._slow(argv, timeout) from error
        except _LOST as error:
            why = f": {error}" if str(error) else ""
            raise TransportLostError(f"{self.where}: the SSH connection broke{why}") from error
        finally:
            command.close()

    def put(self, local: Path, remote: str) -> None:
        """Copy a program and make it executable. TargetError if it did not arrive whole.

        What this link has copied to the same place before is not copied again, page by page.
        """
        data = local.read_bytes()
        before = self._copied.pop(remote, b"")
        changed = changes(before, data)
        if changed is None or not self._replace(remote, changed):
            self._put_all(data, remote)
        self._copied[remote] = data

    def _replace(self, remote: str, changed: Changes) -> bool:
        argv = ["sh", "-c", REPLACE_SCRIPT, remote, *changed.arguments()]
        status, text = self.output(argv, timeout=COPY_TIMEOUT, stdin=changed.stdin())
        # It may still run, or have gone: then all of it is copied.
        return status == 0 and text.strip() == str(changed.size)

    def _put_all(self, data: bytes, remote: str) -> None:
        # One round trip: SFTP needs half a dozen, each some milliseconds in an emulated guest.
        # A program that still runs cannot be written to, but its name can be taken from it.
        script = 'umask 077; rm -f "$0"; cat >"$0" && chmod 700 "$0" && wc -c <"$0"'
        status, text = self.output(["sh", "-c", script, remote], timeout=COPY_TIMEOUT, stdin=data)
        if status != 0 or text.strip() != str(len(data)):
            raise TargetError(
                f"{self.where}: could not write {remote} ({len(data)} bytes): "
                f"{text.strip()[:200] or f'status {status}'}; is there space?"
            )

    def close(self) -> None:
        """Close the connection. Never raises."""
        with contextlib.suppress(*_LOST):
            self.client.close()
            if self._owner is not None:
                self._owner.close()

    def _open(self, text: str, timeout: float) -> paramiko.Channel:
        try:
            channel = self._transport.open_session(timeout=timeout)
            channel.settimeout(timeout)
            channel.set_combine_stderr(True)
            channel.exec_command(text)
        except _LOST as error:
            if "Timeout" in str(error) or isinstance(error, TimeoutError):
                raise TargetError(f"{self.where}: no answer in {timeout:g} s") from error
            why = str(error) or "it is closed"
            raise TransportLostError(
                f"{self.where}: no new channel on the SSH connection: {why}"
            ) from error
        return channel

    def _feed(self, channel: paramiko.Channel, data: bytes) -> None:
        try:
            channel.sendall(data)
        except TimeoutError:
            raise
        except OSError:
            # A program that ends before it has read all says why by its output and status.
            if not channel.closed:
                raise

    def _collect(
        self, command: ChannelCommand, argv: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        deadline = time.monotonic() + timeout
        lines: list[str] = []
        while (got := command.read(max(deadline - time.monotonic(), 0.0))) is not None:
            lines += got
            if time.monotonic() > deadline:
                raise self._slow(argv, timeout)
        status = command.status
        return (-1 if status is None else status), "\n".join(lines)

    def _slow(self, argv: Sequence[str], timeout: float) -> TargetError:
        return TargetError(f"{self.where}: '{argv[0]}' did not end in {timeout:g} s")


def signal_name(status: int) -> str:
    """ "signal SIGKILL" for a status of 128 + n (or -n), "status n" else."""
    number = status - 128 if status > 128 else -status
    try:
        return f"signal {signal.Signals(number).name}" if number > 0 else f"status {status}"
    except ValueError:
        return f"status {status}"
