# SPDX-License-Identifier: GPL-2.0-only
"""``harness targets``: places where selftests run."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from harness import kernels as kernel_room
from harness import targets as target_room
from harness.cli.options import json_option, print_json
from harness.cli.plans import one_machine_options, plans_from
from harness.targets import QemuConfig
from harness.vocabulary import TargetInfo, UsageError


@click.group("targets")
def command() -> None:
    """Places where selftests run: warm guests, hosts of the inventory, this machine."""


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Warm guests, and the hosts of the inventory.

    \b
    Example: harness targets list
    """
    guests = target_room.list_warm()
    hosts = target_room.load_inventory()
    if as_json:
        print_json(
            {
                "guests": [msgspec.to_builtins(guest) for guest in guests],
                "hosts": {name: msgspec.to_builtins(config) for name, config in hosts.items()},
            }
        )
        return
    for guest in guests:
        state = "running" if guest.running else "gone"
        click.echo(f"{guest.name:<20} {guest.image.release:<34} {state}")
    for name, config in hosts.items():
        click.echo(f"{name:<20} ssh:{config.host}")
    if not guests and not hosts:
        inventory = target_room.inventory_path()
        click.echo(
            f"none; 'harness targets up NAME --kernel SPEC' keeps a guest warm; "
            f"{inventory} lists hosts",
            err=True,
        )


@command.command("probe")
@one_machine_options
@json_option
def probe(
    kernels: tuple[str, ...], targets: tuple[str, ...], machine: dict[str, Any], as_json: bool
) -> None:
    """Kernel, page size, IPA limit, mode, CPU features, tracefs, hugepages, module loading.

    \b
    Example: harness targets probe --kernel debian:trixie --target ssh:altra
    """
    infos: list[TargetInfo] = []
    for plan in plans_from(kernels, targets, machine):
        target = plan.open()
        infos.append(target.info)
        target.close()
    if as_json:
        print_json([msgspec.to_builtins(info) for info in infos])
        return
    for info in infos:
        click.echo(f"{info.name}   {info.describe()}")
        click.echo(f"    {' '.join(f'{key}={value}' for key, value in info.env.items())}")
        click.echo(
            f"    tracefs {_yes(info.tracefs)}  modules {_yes(info.modules)}  "
            f"hugepages {' '.join(info.hugepages) or 'none'}"
        )
        for what, reason in info.missing.items():
            click.echo(f"    without {what}: {reason}")


@command.command("up")
@click.argument("name")
@one_machine_options
def up(
    name: str, kernels: tuple[str, ...], targets: tuple[str, ...], machine: dict[str, Any]
) -> None:
    """Boot a guest and keep it warm; runs then use it with --target NAME.

    \b
    Example: harness targets up t --kernel debian:trixie && harness run --target t scenarios/
    """
    if targets or len(kernels) != 1:
        raise UsageError("targets up boots one guest: give one --kernel and no --target")
    image = kernel_room.resolve(kernels[0], progress=lambda text: click.echo(text, err=True))
    guest = target_room.up(name, image, msgspec.convert(machine, QemuConfig))
    click.echo(f"{guest.name:<20} {guest.image.release:<34} running")


@command.command("down")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--all", "every", is_flag=True, help="Every warm guest.")
def down(names: tuple[str, ...], every: bool) -> None:
    """Take warm guests down.

    \b
    Example: harness targets down --all
    """
    known = [guest.name for guest in target_room.list_warm()]
    if not names and not every:
        raise UsageError(f"name a guest, or --all; warm: {', '.join(known) or 'none'}")
    for name in known if every else names:
        if target_room.down(name):
            click.echo(f"{name} is down", err=True)
        else:
            raise UsageError(f"no warm guest '{name}'; warm: {', '.join(known) or 'none'}")


def _yes(there: bool) -> str:
    return "yes" if there else "no"
