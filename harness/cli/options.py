# SPDX-License-Identifier: GPL-2.0-only
"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from harness.compare import KnownList, parse_known
from harness.generate import FOCI
from harness.resources import resource_dir
from harness.vocabulary import UsageError
from reference_model import predict
from reference_model.guest_machine import UnpredictableError
from reference_model.language import load_text
from reference_model.outcome import Prediction
from reference_model.profiles import PROFILES, Environment, SemanticsProfile, profile_named
from reference_model.scenario import Scenario

#: The list of known divergences, beside the scenarios it is about.
KNOWN_FILE = "known.yaml"

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def profile_option(default: str) -> Callable[[Any], Any]:
    """``--profile``; ``default`` says in words what holds without it."""
    return click.option(
        "--profile", "profile_name", metavar="P", help=f"Profile, e.g. v6.12; {default}."
    )


timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="Seconds a step may take.",
)
focus_option = click.option(
    "--focus",
    default="",
    metavar="AREA",
    help=f"Suite guest: mostly scenarios about one area: {', '.join(FOCI)}.",
)
env_option = click.option(
    "--env", "env_items", metavar="KEY=VALUE", multiple=True,
    help="Environment fact, e.g. fwb=on, granule=16K; may be repeated.",
)  # fmt: skip


def check_focus(focus: str, suite: str | None) -> None:
    """UsageError for a focus that there is not, or that the suite has not."""
    if not focus:
        return
    if suite != "guest":
        raise UsageError(f"--focus {focus}: only with --suite guest")
    if focus not in FOCI:
        raise UsageError(f"--focus {focus}: this version has: {', '.join(FOCI)}")


def load_files(names: Sequence[str]) -> list[Scenario]:
    """Scenarios of files and folders (``*.yaml``, ``*.json`` below them); ``-`` is stdin.

    A ``known.yaml`` in a folder is the list of known divergences, and no scenario.

    UsageError for a file that cannot be read or an id that two files share.
    """
    scenarios: list[Scenario] = []
    origin: dict[str, str] = {}
    for name, text in _texts(names):
        for scenario in load_text(text, name):
            if scenario.id in origin:
                raise UsageError(
                    f"{name}: scenario id '{scenario.id}' is already used in "
                    f"{origin[scenario.id]}; ids are unique: rename one"
                )
            origin[scenario.id] = name
            scenarios.append(scenario)
    return scenarios


def _texts(names: Sequence[str]) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for name in names:
        if name == "-":
            out.append(("<stdin>", sys.stdin.read()))
            continue
        path = Path(name)
        files = [path]
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml", ".json"))
            files = [file for file in files if file.name != KNOWN_FILE]
            if not files:
                raise UsageError(f"{name}: no scenario file (*.yaml, *.json) below this folder")
        for file in files:
            out.append((str(file), _read(file)))
    return out


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file}: not UTF-8 text at byte {error.start}; is it a scenario?"
        ) from None
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}; check the path") from None


def check_predictable(scenarios: Sequence[Scenario]) -> None:
    """Refuse what no kernel defines before anything boots; UsageError names the step."""
    for scenario in scenarios:
        predict_one(scenario, PROFILES["v6.12"], Environment())


def predict_one(scenario: Scenario, chosen: SemanticsProfile, env: Environment) -> Prediction:
    """The prediction; a step that nothing defines is a UsageError that names it."""
    try:
        return predict(scenario, chosen, env)
    except UnpredictableError as error:
        raise UsageError(f"scenario '{scenario.id}': step {error.step}: {error}") from None


def environment(items: Sequence[str], base: dict[str, str] | None = None) -> Environment:
    """``--env`` items over a base of facts."""
    facts = dict(base or {})
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"--env {item}: write KEY=VALUE, e.g. --env fwb=on")
        facts[key] = value
    try:
        return Environment.parse(facts.items())
    except ValueError as error:
        raise UsageError(f"--env: {error}") from None


def profile(name: str) -> SemanticsProfile:
    """The profile of that name, or a UsageError that lists them."""
    try:
        return profile_named(name)
    except ValueError as error:
        raise UsageError(f"--profile: {error}") from None


def command_line() -> tuple[str, ...]:
    """The words of the command that runs, ``harness`` first."""
    words = click.get_current_context().find_root().obj
    return ("harness", *(words or ()))


def print_json(value: Any) -> None:
    """One JSON document on stdout; of a list or an iterator, one element a line."""
    import msgspec  # noqa: PLC0415

    encode = msgspec.json.Encoder().encode
    if not isinstance(value, (list, Iterator)):
        click.echo(encode(value).decode())
        return
    click.echo("[", nl=False)
    for index, item in enumerate(value):
        click.echo((",\n" if index else "\n") + encode(item).decode(), nl=False)
    click.echo("\n]")


def known_list(file: str | None) -> KnownList:
    """The known divergences of a file, or of the tree; UsageError where it cannot be read."""
    path = Path(file) if file is not None else resource_dir("scenarios") / KNOWN_FILE
    if file is None and not path.exists():
        return KnownList()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}; check --known") from None
    return KnownList(parse_known(text, str(path)))
