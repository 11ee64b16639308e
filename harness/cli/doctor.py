# SPDX-License-Identifier: GPL-2.0-only
"""``harness doctor``: what this machine can do, what is missing, and how to get it."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable

import click
import msgspec
from msgspec import Struct

from harness import kernels as kernel_room
from harness.cli.console import print_lines
from harness.cli.options import json_option, print_json
from harness.targets import why_no_nested_kvm
from harness.vocabulary import HarnessError


class Check(Struct, frozen=True):
    """One line: ``needed`` ones decide the exit status; ``mend`` is a command or advice."""

    name: str
    state: str
    ok: bool
    needed: bool
    mend: str = ""


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Tell what this machine can do, what is missing and the command that installs it.

    Exit status 3 where something that a run needs is missing.

    \b
    Example: harness doctor
    """
    checks = [check() for check in _CHECKS]
    if as_json:
        print_json([msgspec.to_builtins(check) for check in checks])
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            style = "good" if check.ok else "bad" if check.needed else "dim"
            mend = "" if check.ok or not check.mend else f"      {check.mend}"
            print_lines([(style, f"{check.name:<{width}}  {check.state}{mend}")])
    sys.exit(0 if all(check.ok or not check.needed for check in checks) else 3)


def _python() -> Check:
    return Check(f"python {platform.python_version()}", "ok", True, True)


def _qemu() -> Check:
    text = _version("qemu-system-aarch64")
    mend = "sudo apt-get install qemu-system-arm"
    if text is None:
        return Check("qemu-system-aarch64", "missing", False, True, mend)
    return Check(f"qemu-system-aarch64 {text}", "ok", True, True)


def _compiler() -> Check:
    name = "gcc" if platform.machine() == "aarch64" else "aarch64-linux-gnu-gcc"
    text = _version(name)
    mend = "sudo apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    if text is None:
        return Check(name, "missing", False, True, mend)
    return Check(f"{name} {text}", "ok", True, True)


def _apt() -> Check:
    found = shutil.which("apt-get") and shutil.which("dpkg-deb")
    mend = "debian:SUITE kernels need apt; use image:FILE or deb:FILE here"
    return Check("apt-get, dpkg-deb", "ok" if found else "missing", bool(found), False, mend)


def _module_tools() -> Check:
    if shutil.which("bwrap") is None:
        mend = "sudo apt-get install bubblewrap"
        return Check("module builds", "bwrap missing: no suite pgtable", False, False, mend)
    return Check("module builds", "ok", True, False)


def _kernels() -> Check:
    try:
        count = len(kernel_room.list_cached())
    except HarnessError as error:
        return Check("kernels", str(error), False, False)
    mend = "harness kernels fetch debian:trixie (a run fetches what it needs)"
    return Check("kernels", f"{count} cached", count > 0, False, mend)


def _kvm() -> Check:
    reason = why_no_nested_kvm()
    if not reason:
        return Check("nested KVM", "ok", True, False)
    return Check("nested KVM", f"{reason}: guests run under TCG", True, False)


_CHECKS: tuple[Callable[[], Check], ...] = (
    _python,
    _qemu,
    _compiler,
    _apt,
    _module_tools,
    _kernels,
    _kvm,
)


def _version(program: str) -> str | None:
    """The version a program prints, "" if it prints none, None if it is not there."""
    if shutil.which(program) is None:
        return None
    try:
        out = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"\d+\.\d+(?:\.\d+)?", out)
    return match[0] if match else ""
