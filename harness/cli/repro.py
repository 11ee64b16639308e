# SPDX-License-Identifier: GPL-2.0-only
"""``harness repro``: a finding as one C file that needs nothing of this project."""

from __future__ import annotations

import re
from pathlib import Path

import click

from harness.compare import explain_finding
from harness.render.repro import FLAVOURS, render_repro
from harness.store import Store, default_root
from harness.vocabulary import UsageError


@click.command("repro")
@click.argument("ident", metavar="ID")
@click.option("-o", "--output", metavar="FILE.c", help="Write the C here; default: stdout.")
@click.option(
    "--flavour",
    type=click.Choice(FLAVOURS),
    default=FLAVOURS[0],
    show_default=True,
    help="standalone: gcc and the kernel's headers; upstream: the kernel tree's selftest library.",
)
def command(ident: str, output: str | None, flavour: str) -> None:
    """Write a stored finding as one C file: what is expected becomes assertions.

    Guest findings become a program, pgtable findings a kernel module (standalone only). The
    comment on top says what is expected and was seen, on which kernel, and why.

    \b
    Examples:
      harness repro 5f3a12 -o t.c
      harness repro 5f3a12 --flavour upstream -o dirty_log_lost.c
    """
    with Store(default_root()) as store:
        finding = store.find(ident)
    if finding is None:
        raise UsageError(f"no finding '{ident}' is stored here; 'harness diff' lists them")
    name = _name(output)
    text = render_repro(finding, explain_finding(finding), flavour, name)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"-o {output}: {error.strerror}; choose another path") from None
    click.echo(f"wrote {output}", err=True)


def _name(output: str | None) -> str:
    """The file's name without its end; it is to be a program's or a module's too."""
    if output is None:
        return "t"
    path = Path(output)
    if path.suffix != ".c" or not re.fullmatch(r"[A-Za-z0-9_-]+", path.stem):
        raise UsageError(f"-o {output}: name a C file, e.g. t.c (letters, digits, - and _)")
    return path.stem
