# SPDX-License-Identifier: GPL-2.0-only
"""``harness predict``: what the model allows, with no kernel at hand."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
import msgspec

from harness.cli.options import (
    env_option,
    environment,
    json_option,
    load_files,
    predict_one,
    profile,
    profile_option,
)
from harness.vocabulary import UsageError
from reference_model.describe import describe, value_text
from reference_model.outcome import CHANNELS, Prediction, json_pieces
from reference_model.profiles import Environment
from reference_model.scenario import PgtableScenario, Scenario


@click.command("predict")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@profile_option("it must be named")
@env_option
@json_option
def command(
    files: tuple[str, ...], profile_name: str | None, env_items: tuple[str, ...], as_json: bool
) -> None:
    """Print per step what the model allows under a profile and an environment.

    \b
    Example: harness predict scenarios/guest/dirty-log.yaml --profile v6.12 --env fwb=on
    """
    if profile_name is None:
        raise UsageError("predict needs --profile, e.g. --profile v6.12")
    chosen = profile(profile_name)
    scenarios = load_files(files)
    predictions = [predict_one(s, chosen, env_for(s, env_items)) for s in scenarios]
    if as_json:
        _print_json(predictions)
        return
    for scenario, prediction in zip(scenarios, predictions, strict=True):
        _print(scenario, prediction)


def _print_json(predictions: Sequence[Prediction]) -> None:
    """One list, a scenario a line, written as it is made."""
    out = sys.stdout.buffer
    out.write(b"[")
    for index, prediction in enumerate(predictions):
        out.write(b",\n" if index else b"\n")
        out.writelines(json_pieces(prediction))
    out.write(b"\n]\n")


def env_for(scenario: Scenario, items: tuple[str, ...]) -> Environment:
    """The environment of ``--env``; where it leaves the granule open, the scenario's own."""
    base: dict[str, str] = {}
    if isinstance(scenario, PgtableScenario):
        if scenario.granule is not None:
            base["granule"] = scenario.granule
        if scenario.ipa_bits > 48:
            base |= {"ipa_limit": "52", "lpa2": "on"}
    return environment(items, base)


def _print(scenario: Scenario, prediction: Prediction) -> None:
    click.echo(f"{scenario.id}   profile {prediction.profile}")
    if prediction.skip:
        click.echo(f"     SKIP {prediction.skip}")
        return
    for index, (step, op) in enumerate(zip(prediction.steps, scenario.steps, strict=True)):
        click.echo(f"  {index:>3}  {describe(op)}")
        for number, allowed in enumerate(step.allowed):
            words = [
                f"{channel} {value_text(channel, getattr(allowed, channel))}"
                for channel in CHANNELS
                if getattr(allowed, channel) is not msgspec.UNSET
            ]
            click.echo(f"         {'or ' if number else ''}{'  '.join(words)}")
