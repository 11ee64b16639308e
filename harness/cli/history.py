# SPDX-License-Identifier: GPL-2.0-only
"""``harness history``: what the stored runs say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import click
import msgspec

from harness.cli.console import print_lines
from harness.cli.options import json_option, print_json
from harness.report.diff import Line
from harness.report.history import Series, history
from harness.report.summary import counts_text
from harness.store import Store, default_root
from harness.vocabulary import Verdict

_MOST = 20


@click.command("history")
@click.argument("scenario", required=False, metavar="[GLOB]")
@click.option("--flaky", is_flag=True, help="Only what differs from run to run.")
@click.option("--slower", is_flag=True, help="Only what takes longer than before.")
@click.option("--runs", "runs_only", is_flag=True, help="Only the list of runs.")
@json_option
def command(
    scenario: str | None, flaky: bool, slower: bool, runs_only: bool, as_json: bool
) -> None:
    """When scenarios last matched, and on which kernels; what is flaky; what became slower.

    Without GLOB: the runs, and whatever is not a plain match. With it: every scenario whose id
    fits, on every kernel.

    \b
    Examples:
      harness history
      harness history 'dirty-*'
      harness history --slower
    """
    with Store(default_root()) as store:
        series = [] if runs_only else history(store.results(scenario=scenario or ""))
        runs = _runs(store) if not scenario else []
    chosen = [one for one in series if _wanted(one, scenario, flaky=flaky, slower=slower)]
    if as_json:
        print_json({"runs": runs, "scenarios": msgspec.to_builtins(chosen)})
        return
    if not (flaky or slower):
        print_lines(_run_lines(runs))
    if scenario:
        print_lines(_lines(chosen, _words))
        if not chosen:
            click.echo(f"no result of '{scenario}' is stored here", err=True)
        return
    if not slower and not runs_only:
        changed = [one for one in chosen if not one.flaky and not one.slower]
        _print_section("no match in their last run", changed)
        _print_section("flaky", [one for one in chosen if one.flaky])
    if not flaky and not runs_only:
        _print_section("slower than before", [one for one in chosen if one.slower])


def _wanted(one: Series, scenario: str | None, *, flaky: bool, slower: bool) -> bool:
    if flaky or slower:
        return (flaky and one.flaky) or (slower and bool(one.slower))
    plain = (Verdict.MATCH, Verdict.SKIP)
    return bool(scenario) or one.flaky or bool(one.slower) or one.last_verdict not in plain


def _runs(store: Store) -> list[dict[str, object]]:
    out: list[dict[str, object]] = []
    for run in store.runs():
        state, ended = store.state(run.id)
        counts = Counter(result.verdict for result in store.results(run.id))
        out.append(
            {
                "id": run.id,
                "started": run.started,
                "ended": ended,
                "state": state.value,
                "kernels": [target.info.release for target in store.targets(run.id)],
                "command": list(run.command),
                "seed": run.seed,
                "verdicts": {verdict.value: count for verdict, count in counts.items()},
            }
        )
    return out


def _run_lines(runs: Iterable[dict[str, object]]) -> list[Line]:
    lines: list[Line] = []
    for run in runs:
        verdicts = run["verdicts"]
        assert isinstance(verdicts, dict)
        counts = Counter({Verdict(name): count for name, count in verdicts.items()})
        command = run["command"]
        assert isinstance(command, list)
        state = "" if run["state"] == "done" else f"  {run['state']}"
        style = "bad" if any(verdict.is_finding for verdict in counts) or state else ""
        lines.append((style, f"{run['id']:<14} {counts_text(counts)}{state}"))
        lines.append(("dim", f"               {' '.join(command)}"))
    return lines


def _print_section(title: str, series: list[Series]) -> None:
    if not series:
        return
    print_lines([("", ""), ("head", f"{title}: {len(series)}")])
    print_lines(_lines(series[:_MOST], _words))
    if len(series) > _MOST:
        print_lines([("dim", f"… {len(series) - _MOST} more: harness history --json")])


def _lines(series: Iterable[Series], words: Callable[[Series], str]) -> list[Line]:
    return [("bad" if one.last_verdict.is_finding else "", words(one)) for one in series]


def _words(one: Series) -> str:
    matched = f"last match {one.last_match}" if one.last_match else "never matched"
    if one.last_match == one.last:
        matched = f"matches ({one.last})"
    notes = "  flaky" if one.flaky else ""
    notes += f"  {one.slower:.1f} times slower than before" if one.slower else ""
    return f"{one.scenario}  {one.release}  profile {one.profile}  {one.verdicts}  {matched}{notes}"
