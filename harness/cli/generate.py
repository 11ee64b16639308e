# SPDX-License-Identifier: GPL-2.0-only
"""``harness generate``: scenarios as files, reproducibly."""

from __future__ import annotations

from pathlib import Path

import click

from harness.generate import generate
from reference_model.language import dump_yaml


@click.command("generate")
@click.option("--suite", required=True, metavar="S", help="guest or pgtable.")
@click.option("--count", type=click.IntRange(1), default=10, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "-o", "--output", type=click.Path(), help="A folder: one file a scenario. Default: stdout."
)
def command(suite: str, count: int, seed: int, output: str | None) -> None:
    """Write scenarios; the same suite, seed and count give the same bytes.

    \b
    Example: harness generate --suite guest --count 20 --seed 7 -o /tmp/scenarios
    """
    scenarios = generate(suite, count, seed)
    if output is None:
        click.echo("---\n".join(dump_yaml(scenario) for scenario in scenarios), nl=False)
        return
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    for scenario in scenarios:
        (folder / f"{scenario.id}.yaml").write_text(dump_yaml(scenario), encoding="utf-8")
    click.echo(f"{count} scenarios in {folder}", err=True)
