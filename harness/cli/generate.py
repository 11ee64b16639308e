# SPDX-License-Identifier: GPL-2.0-only
"""``harness generate``: scenarios as files, reproducibly."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import (
    check_focus,
    env_option,
    environment,
    focus_option,
    profile,
    profile_option,
)
from harness.generate import generate
from reference_model.language import dump_yaml


@click.command("generate")
@click.option("--suite", required=True, metavar="S", help="guest, pgtable or race.")
@click.option("--count", type=click.IntRange(1), default=10, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@focus_option
@profile_option("default: v6.12")
@env_option
@click.option(
    "-o", "--output", type=click.Path(), help="A folder: one file a scenario. Default: stdout."
)
def command(
    suite: str,
    count: int,
    seed: int,
    focus: str,
    profile_name: str | None,
    env_items: tuple[str, ...],
    output: str | None,
) -> None:
    """Write scenarios; the same arguments give the same bytes.

    Suite pgtable is generated for a profile and an environment, as 'harness run' does for each
    kernel: without --profile, for v6.12.

    \b
    Example: harness generate --suite guest --count 20 --seed 7 -o /tmp/scenarios
    """
    chosen = profile(profile_name) if profile_name is not None else None
    check_focus(focus, suite)
    scenarios = generate(suite, count, seed, chosen, environment(env_items), focus)
    if output is None:
        click.echo("---\n".join(dump_yaml(scenario) for scenario in scenarios), nl=False)
        return
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    for scenario in scenarios:
        (folder / f"{scenario.id}.yaml").write_text(dump_yaml(scenario), encoding="utf-8")
    click.echo(f"{count} scenarios in {folder}", err=True)
