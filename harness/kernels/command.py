# SPDX-License-Identifier: GPL-2.0-only
"""Run one of Debian's tools to its end, within a time limit, leaving no process behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from msgspec import Struct

from harness.vocabulary import InfraError, ToolMissingError

_INSTALL = {
    "apt-get": "sudo apt-get install apt (Fedora: sudo dnf install apt)",
    "apt-cache": "sudo apt-get install apt (Fedora: sudo dnf install apt)",
    "apt-config": "sudo apt-get install apt (Fedora: sudo dnf install apt)",
    "dpkg": "sudo apt-get install dpkg (Fedora: sudo dnf install dpkg)",
    "dpkg-deb": "sudo apt-get install dpkg (Fedora: sudo dnf install dpkg)",
    "zstd": "sudo apt-get install zstd (Fedora: sudo dnf install zstd)",
}


class Finished(Struct, frozen=True):
    """How a command ended: exit status and both outputs."""

    status: int
    stdout: bytes
    stderr: str


def run(
    argv: Sequence[str],
    *,
    limit: float,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    stdout: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run ``argv`` and wait at most ``limit`` seconds; any exit status is returned, not raised.

    Output is in English (``LC_ALL=C``). With ``stdout`` the command writes there and
    ``Finished.stdout`` is empty.

    Raises:
        ToolMissingError: the program is not installed.
        InfraError: the limit passed; the whole process group was killed.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {}), "LC_ALL": "C"},
            start_new_session=True,
        )
    except FileNotFoundError:
        mend = _INSTALL.get(argv[0], f"install the package that holds {argv[0]}")
        raise ToolMissingError(f"{argv[0]}: not installed; {mend}") from None
    try:
        out, err = process.communicate(stdin, timeout=limit)
    except subprocess.TimeoutExpired:
        raise InfraError(
            f"{' '.join(argv[:2])}: no end after {limit:.0f} s, killed; "
            "try again, or look at what the machine or the mirror is busy with"
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # ended by itself just now
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return Finished(process.returncode, out or b"", err.decode(errors="replace"))


def complaint_of(text: str) -> str:
    """The line of a tool's stderr that says what went wrong, for one-line messages."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "dpkg-deb: error"))]
    return (errors or lines or ["it said nothing"])[0]
