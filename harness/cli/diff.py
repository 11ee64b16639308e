# SPDX-License-Identifier: GPL-2.0-only
"""``harness diff``: model against kernel, or kernel against kernel, step by step."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from harness.cli.collect import Wanted, collect
from harness.cli.console import print_lines
from harness.cli.options import (
    check_predictable,
    env_option,
    json_option,
    load_files,
    print_json,
    profile_option,
    timeout_option,
)
from harness.cli.plans import machine_options, plans_from, with_cpus_for
from harness.compare import explain_finding, pair
from harness.report import diff_lines, finding_json, summary_lines
from harness.report.diff import Line
from harness.report.diffpage import diff_page
from harness.report.kernels import kernel_pair_lines
from harness.store import Store, default_root
from harness.vocabulary import Finding, KernelPair, UsageError, Verdict

#: Findings of one command that the model is asked about again, some thirty times each.
_EXPLAINED = 100


class _Form(Struct, frozen=True):
    """How the result is shown: every step and match, JSON, and the HTML file if one is wanted."""

    every: bool
    as_json: bool
    html: str | None


@click.command("diff")
@click.argument("what", nargs=-1, metavar="[RUN | ID | FILE…]")
@machine_options
@profile_option("default: the kernel's")
@env_option
@timeout_option
@click.option("--all", "every", is_flag=True, help="Matches too, and every step.")
@click.option("--html", metavar="FILE", help="Write the differences as one HTML page.")
@json_option
def command(
    what: tuple[str, ...],
    kernels: tuple[str, ...],
    targets: tuple[str, ...],
    machine: dict[str, object],
    profile_name: str | None,
    env_items: tuple[str, ...],
    timeout: float,
    every: bool,
    html: str | None,
    as_json: bool,
) -> None:
    """Show how kernel and model differ: in the last run, a RUN, one ID, or scenario FILEs run now.

    With two kernels or targets, FILEs are run on both, and kernel is held against kernel.

    \b
    Examples:
      harness diff
      harness diff 2026-11-22-3
      harness diff scenarios/guest/dirty-log.yaml --kernel debian:sid --profile v6.12
      harness diff scenarios/pgtable/remap.yaml --kernel debian:bookworm --kernel debian:trixie
    """
    form = _Form(every, as_json, html)
    if what and all(Path(name).exists() or name == "-" for name in what):
        scenarios = load_files(what)
        check_predictable(scenarios)
        machine = with_cpus_for({scenario.suite for scenario in scenarios}, machine)
        wanted = Wanted(
            scenarios=tuple(scenarios),
            plans=tuple(plans_from(kernels, targets, machine)),
            profile_name=profile_name,
            env_items=env_items,
            timeout=timeout,
            command=("harness", *sys.argv[1:]),
        )
        sys.exit(_run_now(wanted, form))
    if len(what) > 1:
        raise UsageError(f"'{' '.join(what)}': give one RUN, one ID, or files that exist")
    if kernels or targets:
        named = f"'{what[0]}' is no file" if what else "no file is named"
        raise UsageError(f"--kernel and --target run scenario files, and {named}; name one")
    findings = stored(what[0] if what else None, every=every)
    _show(findings, form)
    if not findings:
        click.echo("no differences", err=True)
    sys.exit(1 if any(finding.verdict.is_finding for finding in findings) else 0)


def stored(name: str | None, *, every: bool) -> list[Finding]:
    """Findings of a stored run (None: the last) or the one with that id."""
    with Store(default_root()) as store:
        runs = [run.id for run in store.runs()]
        if name is None:
            if not runs:
                raise UsageError("no run is stored here; 'harness run' makes one")
            name = runs[-1]
        if name in runs:
            found = store.findings(name, only_findings=False)
            quiet = (Verdict.MATCH, Verdict.SKIP)
            return [finding for finding in found if every or finding.verdict not in quiet]
        one = store.find(name)
        if one is None:
            raise UsageError(
                f"'{name}' is no file, stored run or finding id here; see 'harness diff'"
            )
        return [one]


def _run_now(wanted: Wanted, form: _Form) -> int:
    """Run the files; two targets and more are held against the first. The exit status."""
    collected = collect(wanted)
    if len(wanted.plans) > 1:
        base, *others = collected.findings
        pairs = [
            pair(left, right)
            for other in others
            for left, right in zip(_sorted(base), _sorted(other), strict=True)
        ]
        return _show_pairs(pairs, form)
    findings = collected.findings[0]
    quiet = (Verdict.MATCH, Verdict.SKIP)
    _show([one for one in findings if form.every or one.verdict not in quiet], form)
    closing = summary_lines(collected.summary)
    bad = [one for one in findings if one.verdict.is_finding]
    if bad:
        ident = bad[0].short_id
        closing.append(
            ("", f"replay: harness replay {ident}   smaller: harness shrink {ident}   "
                 f"C file: harness repro {ident} -o t.c")
        )  # fmt: skip
    print_lines(closing, err=form.as_json)
    return collected.summary.exit_status()


def _sorted(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: finding.scenario.id)


def _show(findings: Sequence[Finding], form: _Form) -> None:
    explained = [
        (finding, explain_finding(finding) if number < _EXPLAINED else None)
        for number, finding in enumerate(findings)
    ]
    if form.as_json:
        print_json(
            [
                finding_json(finding) | ({"explanation": msgspec.to_builtins(why)} if why else {})
                for finding, why in explained
            ]
        )
    blocks = [
        diff_lines(finding, every_step=form.every, explanation=why) for finding, why in explained
    ]
    _write(blocks, form, "model against kernel")
    if len(findings) > _EXPLAINED:
        click.echo(
            f"the first {_EXPLAINED} of {len(findings)} are explained; 'harness diff ID' explains "
            "any",
            err=True,
        )


def _show_pairs(pairs: Sequence[KernelPair], form: _Form) -> int:
    if form.as_json:
        print_json([_pair_json(one) for one in pairs])
    shown = [one for one in pairs if form.every or one.differences or one.reason]
    blocks = [kernel_pair_lines(one, every_step=form.every) for one in shown]
    _write(blocks, form, "kernel against kernel")
    differ = sum(bool(one.differences) for one in pairs)
    without = sum(bool(one.reason) for one in pairs)
    alike = len(pairs) - differ - without
    closing = f"{len(pairs)} pairs  {alike} alike  {differ} differ  {without} not compared"
    print_lines([("bad" if differ else "good", closing)], err=form.as_json)
    if differ:
        return 1
    return 0 if alike else 3


def _pair_json(one: KernelPair) -> dict[str, Any]:
    out = {
        "id": one.base.scenario.id,
        "base": finding_json(one.base),
        "other": finding_json(one.other),
        "differences": msgspec.to_builtins(one.differences),
        "compared": list(one.compared),
        "not_compared": list(one.not_compared),
    }
    if one.reason:
        out["reason"] = one.reason
    if one.explanation is not None:
        out["explanation"] = msgspec.to_builtins(one.explanation)
    return out


def _write(blocks: Sequence[Sequence[Line]], form: _Form, title: str) -> None:
    """The blocks on stdout unless that is for JSON, and into the HTML file if one is wanted."""
    for block in [] if form.as_json else blocks:
        print_lines([*block, ("", "")])
    if form.html is None:
        return
    try:
        Path(form.html).write_text(diff_page(title, blocks), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--html {form.html}: {error.strerror}; choose another path") from None
    click.echo(f"wrote {form.html}", err=True)
