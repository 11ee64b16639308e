# SPDX-License-Identifier: GPL-2.0-only
"""``harness render``: the C selftest of a scenario."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import env_option, load_files, predict_one, profile, profile_option
from harness.cli.predict import env_for
from harness.render import render_one
from harness.vocabulary import UsageError


@click.command("render")
@click.argument("file", metavar="FILE")
@click.option(
    "--flavour",
    type=click.Choice(["standalone", "upstream"]),
    default="standalone",
    show_default=True,
    help="upstream comes with 'harness repro'.",
)
@click.option("-o", "--output", metavar="F.c", help="Default: stdout.")
@click.option("--id", "ident", metavar="ID", help="Which scenario of a file that holds several.")
@profile_option("default: none, and no words of the model")
@env_option
def command(
    file: str,
    flavour: str,
    output: str | None,
    ident: str | None,
    profile_name: str | None,
    env_items: tuple[str, ...],
) -> None:
    """Print the C that runs for a scenario; with --profile, the model's words beside each step.

    \b
    Example: harness render scenarios/guest/dirty-log.yaml --id dirty-after-clear --profile v6.12
    """
    scenarios = load_files([file])
    if ident is not None:
        scenarios = [scenario for scenario in scenarios if scenario.id == ident]
    if len(scenarios) != 1:
        what = f"no scenario '{ident}'" if ident is not None else f"{len(scenarios)} scenarios"
        raise UsageError(f"{file}: {what}; name one of the file with --id")
    scenario = scenarios[0]
    prediction = None
    if profile_name is not None:
        prediction = predict_one(scenario, profile(profile_name), env_for(scenario, env_items))
    source = render_one(scenario, prediction, flavour=flavour)
    if output is None:
        click.echo(source, nl=False)
    else:
        Path(output).write_text(source, encoding="utf-8")
