# SPDX-License-Identifier: GPL-2.0-only
"""An SSH server in this process, that runs commands with this machine's sh."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

#: Seconds in which a request is answered.
_ANSWERED = 0.02


class _Session(paramiko.ServerInterface):
    def __init__(self, server: SshServer) -> None:
        self._server = server

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = key.asbytes() == self._server.client_key.asbytes() and username == "tester"
        return AUTH_SUCCESSFUL if good else AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        # The transport answers the request when this has returned. A command that had ended by
        # then would have closed the channel that the client still waits to get.
        threading.Timer(_ANSWERED, self._server.run, args=(channel, command)).start()
        return True


class SshServer:
    """Listens on a port of 127.0.0.1; ``known_hosts`` and ``config`` are files for its clients."""

    def __init__(self, directory: Path, *, silent: bool = False) -> None:
        self.directory = directory
        self.client_key = paramiko.ECDSAKey.generate()
        self.host_key = paramiko.ECDSAKey.generate()
        self._silent = silent
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._transports: list[paramiko.Transport] = []
        self._sockets: list[socket.socket] = []
        #: What runs instead of a command: of this text, or of one with this in it.
        self.exactly: dict[str, str] = {}
        self.instead: dict[str, str] = {}
        #: The next command gets so many bytes of its input, and then the end of it.
        self.short: int | None = None
        self._files()
        threading.Thread(target=self._accept, daemon=True).start()

    def _files(self) -> None:
        self.client_key.write_private_key_file(str(self.directory / "key"))
        self.know(self.host_key)
        self.config = self.directory / "config"
        self.config.write_text(f"Include {self.directory}/included\n")
        (self.directory / "included").write_text(
            f"Host board\n  HostName 127.0.0.1\n  Port {self.port}\n  User tester\n"
            f"  IdentityFile {self.directory}/key\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.directory}/known_hosts\n"
            "  GlobalKnownHostsFile /dev/null\n"
        )

    def know(self, key: paramiko.PKey | None) -> None:
        """Let the clients' known_hosts hold this key for the server, or none."""
        name = f"[127.0.0.1]:{self.port}"
        line = "" if key is None else f"{name} {key.get_name()} {key.get_base64()}\n"
        (self.directory / "known_hosts").write_text(line)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            if self._silent:
                continue
            transport = paramiko.Transport(sock)
            transport.add_server_key(self.host_key)
            self._transports.append(transport)
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                transport.start_server(server=_Session(self))

    def run(self, channel: paramiko.Channel, command: bytes) -> None:
        text = self.exactly.get(command.decode(), command.decode())
        for part, other in self.instead.items():
            if part in text:
                text = other
        child = subprocess.Popen(
            ["sh", "-c", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        most, self.short = self.short, None
        feeder = threading.Thread(target=_feed, args=(channel, child, most), daemon=True)
        feeder.start()
        assert child.stdout is not None
        with contextlib.suppress(OSError):
            while data := os.read(child.stdout.fileno(), 4096):
                channel.sendall(data)
        status = child.wait()
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            if status >= 0:  # a signal sends no status, as in OpenSSH
                channel.send_exit_status(status)
            channel.close()

    def drop(self) -> None:
        """Break all connections."""
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()
        for sock in self._sockets:
            sock.close()


def _feed(channel: paramiko.Channel, child: subprocess.Popen[Any], most: int | None) -> None:
    assert child.stdin is not None
    with contextlib.suppress(OSError), child.stdin as stdin:
        while data := channel.recv(4096 if most is None else min(most, 4096)):
            os.write(stdin.fileno(), data)
            if most is not None:
                most -= len(data)
                if not most:
                    return
