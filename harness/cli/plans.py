# SPDX-License-Identifier: GPL-2.0-only
"""``--kernel`` and ``--target`` turned into targets that are yet to be opened."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from harness import kernels as kernel_room
from harness import targets as target_room
from harness.campaign import TargetPlan
from harness.targets import QemuConfig, Target
from harness.toolchain import build_module, build_own_module
from harness.vocabulary import (
    KernelBuild,
    NetworkError,
    NoModuleError,
    TargetInfo,
    ToolMissingError,
    UsageError,
)

DEFAULT_KERNEL = "debian:trixie"

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--kernel", "kernels", metavar="SPEC", multiple=True,
                 help="Boot this kernel in QEMU; may be repeated. See 'harness kernels'."),
    click.option("--target", "targets", metavar="T", multiple=True,
                 help="ssh:HOST, local, or a warm guest's name; may be repeated."),
    click.option("--accel", default="auto", show_default=True,
                 type=click.Choice(["auto", "tcg", "kvm"]), help="QEMU accelerator."),
    click.option("--cpu", default="", metavar="MODEL", help="QEMU CPU model, e.g. cortex-a57."),
    click.option("--memory", metavar="MIB", type=click.IntRange(256),
                 help="Guest memory.  [default: 3072; 8192 with 64K pages]"),
    click.option("--smp", default=1, type=click.IntRange(1, 64),
                 help="Guest CPUs.  [default: 1; 2 where suite race runs]"),
    click.option("--append", multiple=True, metavar="ARG",
                 help="Kernel argument, e.g. kvm-arm.mode=nvhe; may be repeated."),
    click.option("--headers", multiple=True, metavar="DIR",
                 help="Where a kernel of your own was built, or its headers are, for the "
                 "white-box module; may be repeated. Not needed for tree:DIR."),
)  # fmt: skip


_GUESTS = click.option(
    "--guests",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Equal guests of each kernel that share the scenarios.",
)
_LANES = click.option(
    "--lanes",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Programs at once on each target, a CPU for each (suite guest).",
)


def machine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of machines; the command gets ``kernels``, ``targets`` and ``machine``."""
    return one_machine_options(_GUESTS(_LANES(function)))


def one_machine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for what has one guest of a kernel: without ``--guests`` and ``--lanes``."""

    @wraps(function)
    def wrapper(**arguments: Any) -> Any:
        arguments["machine"] = {
            "accel": arguments.pop("accel"),
            "cpu": arguments.pop("cpu"),
            "memory": arguments.pop("memory") or 0,
            "vcpus": arguments.pop("smp"),
            "guests": arguments.pop("guests", 1),
            "lanes": arguments.pop("lanes", 1),
            "append": tuple(arguments.pop("append")),
            "headers": tuple(arguments.pop("headers")),
        }
        return function(**arguments)

    decorated: Callable[..., Any] = wrapper
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def with_cpus_for(suites: Collection[str], machine: dict[str, Any]) -> dict[str, Any]:
    """The machine options; two CPUs where vCPUs are to meet and ``--smp`` was not given."""
    given = click.get_current_context().get_parameter_source("smp")
    if "race" not in suites or given is ParameterSource.COMMANDLINE:
        return machine
    return machine | {"vcpus": max(machine["vcpus"], 2)}


def plans_from(
    kernels: Sequence[str], targets: Sequence[str], machine: dict[str, Any]
) -> list[TargetPlan]:
    """One plan a kernel and target; the default kernel where neither is named.

    A bad SPEC or target name is a UsageError before anything boots.
    """
    guests: int = machine.get("guests", 1)
    lanes: int = machine.get("lanes", 1)
    machine = machine | {"vcpus": max(machine["vcpus"], lanes)}
    config = msgspec.convert(
        {name: value for name, value in machine.items() if name in QemuConfig.__struct_fields__},
        QemuConfig,
    )
    given = tuple(kernel_room.kernel_build(Path(folder)) for folder in machine.get("headers", ()))
    specs = list(kernels)
    if not specs and not targets:
        specs = [DEFAULT_KERNEL]
    builds = {spec: kernel_room.build_of(kernel_room.parse_spec(spec)) for spec in specs}
    again = _options(machine | {"headers": [build.folder for build in given]})
    plans = [
        TargetPlan(
            spec,
            _booter(spec, config),
            ("--kernel", spec, *again),
            _module((*given, builds[spec])),
            guests=guests,
            lanes=lanes,
        )
        for spec in specs
    ]
    return plans + [
        TargetPlan(
            name,
            _opener(name),
            ("--target", name, *(word for build in given for word in ("--headers", build.folder))),
            _module(given, installed=name == "local"),
            lanes=lanes,
        )
        for name in targets
    ]


def _module(
    builds: Sequence[KernelBuild | None], *, installed: bool = False
) -> Callable[[TargetInfo], str]:
    """The white-box module of a target: built in one of these folders, else with Debian's headers.

    ``installed``: the headers may be on this machine.
    """

    def build(info: TargetInfo) -> str:
        found = [own for own in builds if own is not None and own.release == info.release]
        if installed and (own := kernel_room.installed_build(info.release)) is not None:
            found.append(own)
        if not found:
            return white_box_module(info)
        try:
            return str(build_own_module(found[0]))
        except ToolMissingError as error:
            raise NoModuleError(str(error)) from error

    return build


def white_box_module(info: TargetInfo) -> str:
    """The pgtable module for a target's kernel, built against that kernel's own headers.

    NoModuleError where there are no headers or no tools to build with; BuildError where the build
    itself fails.
    """
    try:
        tree = kernel_room.fetch_headers(
            info.release, progress=lambda text: click.echo(text, err=True)
        )
        return str(build_module(tree))
    except (UsageError, NetworkError, ToolMissingError) as error:
        raise NoModuleError(str(error)) from error


def plans_again(options: Sequence[str]) -> list[TargetPlan]:
    """The plans that these command-line options make (``TargetInfo.opened_with``)."""
    made: list[TargetPlan] = []

    @click.command()
    @machine_options
    def parse(kernels: tuple[str, ...], targets: tuple[str, ...], machine: dict[str, Any]) -> None:
        made.extend(plans_from(kernels, targets, machine))

    parse.main(args=list(options), standalone_mode=False)
    return made


def _options(machine: dict[str, Any]) -> tuple[str, ...]:
    """The machine options that are not their default, as they are written."""
    default = QemuConfig()
    out: list[str] = []
    for name in ("accel", "cpu", "memory"):
        if machine[name] != getattr(default, name):
            out += [f"--{name}", str(machine[name])]
    if machine["vcpus"] != default.vcpus:
        out += ["--smp", str(machine["vcpus"])]
    for name in ("append", "headers"):
        for argument in machine.get(name, ()):
            out += [f"--{name}", argument]
    return tuple(out)


def _booter(spec: str, config: QemuConfig) -> Callable[[], Target]:
    def open_target() -> Target:
        image = kernel_room.resolve(spec, progress=lambda text: click.echo(text, err=True))
        return target_room.open_qemu(image, config, name=_name(spec, config))

    return open_target


def _name(spec: str, config: QemuConfig) -> str:
    """The SPEC and whatever settings are not the default."""
    parts = [spec, config.cpu, *config.append]
    return " ".join(part for part in parts if part)


def _opener(name: str) -> Callable[[], Target]:
    if name == "local":
        return target_room.open_local
    if name.startswith("ssh:"):
        host = name.removeprefix("ssh:")
        if not host:
            raise UsageError("--target ssh: names no host; write ssh:HOST")
        return lambda: target_room.open_ssh(host)
    return lambda: target_room.open_named(name)
