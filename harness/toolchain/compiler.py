# SPDX-License-Identifier: GPL-2.0-only
"""The C compiler for arm64: which one, what it is, and running it within bounds."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from harness.vocabulary import BuildError, ToolMissingError

_CROSS = "aarch64-linux-gnu-gcc"
_INSTALL_CROSS = "sudo apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
_INSTALL_NATIVE = "sudo apt-get install gcc libc6-dev"
_PROBE_SECONDS = 20.0
#: A batch compiles in about a second; this is for machines that are busy or slow.
COMPILE_SECONDS = 120.0
_LONGEST_DETAIL = 300


class Compiler(Struct, frozen=True):
    """An arm64 C compiler: how to call it, and text that tells it from any other."""

    command: tuple[str, ...]
    version: str


def find_compiler() -> Compiler:
    """The compiler that HARNESS_CC names, the cross compiler, or gcc on an arm64 machine.

    ToolMissingError, with the command that installs it, where there is none.
    """
    return _identify(_command(os.environ.get("HARNESS_CC", "")))


def _command(override: str) -> tuple[str, ...]:
    if override:
        words = shlex.split(override) or [""]
        program = shutil.which(words[0])
        if program is None:
            raise ToolMissingError(f"HARNESS_CC is '{override}', which is no program; mend it")
        return (program, *words[1:])
    native = platform.machine() in ("aarch64", "arm64")
    for name in ("gcc", _CROSS) if native else (_CROSS,):
        program = shutil.which(name)
        if program is not None:
            return (program,)
    raise ToolMissingError(
        f"no C compiler for arm64; {_INSTALL_NATIVE if native else _INSTALL_CROSS}"
    )


@functools.cache
def _identify(command: tuple[str, ...]) -> Compiler:
    machine = run_compiler(command, ["-dumpmachine"], Path.cwd(), _PROBE_SECONDS).strip()
    if not machine.startswith(("aarch64", "arm64")):
        raise ToolMissingError(
            f"'{' '.join(command)}' compiles for {machine}, not for arm64; {_INSTALL_CROSS}"
        )
    version = run_compiler(command, ["--version"], Path.cwd(), _PROBE_SECONDS).splitlines()
    return Compiler(command, f"{machine} {version[0] if version else ''}")


def strip_command(compiler: Compiler) -> tuple[str, ...]:
    """The strip(1) that belongs to the compiler."""
    name = run_compiler(compiler.command, ["-print-prog-name=strip"], Path.cwd(), _PROBE_SECONDS)
    return (name.strip() or "strip",)


def run_compiler(
    command: Sequence[str], arguments: Sequence[str], folder: Path, seconds: float = COMPILE_SECONDS
) -> str:
    """The compiler's stdout; BuildError with its first error line, or where it takes too long.

    Its whole process group ends with it, whatever happens here.
    """
    argv = [*command, *arguments]
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        raise BuildError(f"{name} does not start: {error.strerror}; reinstall it") from None
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise BuildError(
            f"{name} took longer than {seconds:g} s; try again on a quieter machine"
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        raise BuildError(f"{name}: {first_error(stderr, process.returncode)}")
    return stdout


def first_error(stderr: str, status: int) -> str:
    """The line of a compiler's output that says what went wrong first."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    # collect2 only repeats that the linker failed.
    lines.sort(key=lambda line: line.startswith("collect2:"))
    for mark in ("fatal error:", "undefined reference", "error:", "Error:", "ld:"):
        for line in lines:
            if mark in line:
                return line[:_LONGEST_DETAIL]
    return lines[0][:_LONGEST_DETAIL] if lines else f"exit status {status} without a word"
