# SPDX-License-Identifier: GPL-2.0-only
"""``harness kernels``: kernels that can be booted."""

from __future__ import annotations

import click
import msgspec

from harness import kernels as kernel_room
from harness.cli.options import json_option, print_json


@click.group("kernels")
def command() -> None:
    """Kernels that can be booted.

    \b
    SPEC is one of
      debian:SUITE[/FLAVOUR]   newest kernel of a Debian suite; flavour cloud-arm64
      deb:FILE                 a linux-image package
      image:FILE               a bare Image
      tree:DIR                 the folder that a kernel of your own was built in
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """What is in the cache and boots without a network.

    \b
    Example: harness kernels list
    """
    cached = kernel_room.list_cached()
    if as_json:
        print_json([msgspec.to_builtins(kernel) for kernel in cached])
        return
    for kernel in cached:
        click.echo(f"{kernel.spec:<36} {kernel.release:<36} {kernel.origin}")
    if not cached:
        click.echo("none cached; e.g.: harness kernels fetch debian:trixie", err=True)


@command.command("fetch")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC…")
@click.option("--refresh", is_flag=True, help="Ask the archive again for what is cached.")
@json_option
def fetch(specs: tuple[str, ...], refresh: bool, as_json: bool) -> None:
    """Download kernels through apt (which verifies them) and assemble their initramfs.

    \b
    Example: harness kernels fetch debian:bookworm debian:trixie/arm64-16k
    """
    for spec in specs:
        kernel_room.parse_spec(spec)
    images = [
        kernel_room.resolve(spec, refresh=refresh, progress=lambda text: click.echo(text, err=True))
        for spec in specs
    ]
    if as_json:
        print_json([msgspec.to_builtins(image) for image in images])
        return
    for image in images:
        click.echo(f"{image.spec:<36} {image.release:<36} {image.origin}")
