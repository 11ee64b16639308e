# SPDX-License-Identifier: GPL-2.0-only
"""``harness shrink``: the smallest scenario with the same finding."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from harness.campaign import Settings, TargetPlan
from harness.cli.collect import begin_run
from harness.cli.console import print_lines
from harness.cli.options import (
    check_focus,
    env_option,
    environment,
    focus_option,
    json_option,
    load_files,
    print_json,
    profile,
    timeout_option,
)
from harness.cli.plans import one_machine_options, plans_again, plans_from
from harness.compare import explain_finding, pair
from harness.generate import SUITES, generate
from harness.kernels import parse_spec
from harness.report import diff_lines
from harness.report.kernels import kernel_pair_lines
from harness.shrink.oracles import OpenTarget
from harness.shrink.session import Shrunk, between_kernels, between_profiles, shrink_finding
from harness.store import Store, default_root
from harness.store.database import short_id
from harness.vocabulary import (
    Finding,
    RunStatus,
    ScenarioRun,
    TargetInfo,
    UsageError,
    Verdict,
)
from reference_model import predict
from reference_model.language import dump_yaml
from reference_model.profiles import PROFILES, Environment, profile_for_release
from reference_model.scenario import Scenario


class _Form(Struct, frozen=True):
    """Where the scenario goes, and how the rest is shown."""

    output: str | None
    as_json: bool
    tries: int


@click.command("shrink")
@click.argument("what", nargs=-1, metavar="[ID | FILE…]")
@click.option(
    "--between",
    nargs=2,
    metavar="A B",
    help="The smallest scenario that tells two profiles, or two kernels or targets, apart.",
)
@click.option(
    "--suite",
    metavar="S",
    default="pgtable",
    show_default=True,
    help="With --between and no FILE: what is generated.",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="How many of them, at most.",
)
@click.option("--seed", type=int, default=1, show_default=True)
@focus_option
@click.option(
    "--tries",
    type=click.IntRange(1),
    default=20_000,
    show_default=True,
    help="Candidates after which it stops.",
)
@timeout_option
@click.option("-o", "--output", metavar="FILE", help="Write the scenario here, not to stdout.")
@one_machine_options
@env_option
@json_option
def command(
    what: tuple[str, ...],
    between: tuple[str, str] | None,
    suite: str,
    count: int,
    seed: int,
    focus: str,
    tries: int,
    timeout: float,
    output: str | None,
    kernels: tuple[str, ...],
    targets: tuple[str, ...],
    machine: dict[str, Any],
    env_items: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a stored finding's scenario as small as it can be and still show the same.

    By default on the kernel it was found on; a warm guest (harness targets up) saves the boots.
    --between A B finds a scenario first: in FILEs, or in generated ones. The same input and seed
    give the same result.

    \b
    Examples:
      harness shrink 5f3a12
      harness shrink 5f3a12 --target warm -o small.yaml
      harness shrink --between v6.1 v6.12
      harness shrink --between v7.2 v7.3 --suite guest --focus uffd
      harness shrink --between debian:bookworm debian:trixie scenarios/pgtable
    """
    form = _Form(output, as_json, tries)
    if between:
        if kernels or targets:
            raise UsageError("--between names both sides; drop --kernel and --target")
        starts = load_files(what) if what else None
        if suite not in SUITES:
            raise UsageError(f"--suite {suite}: this version has: {', '.join(SUITES)}")
        check_focus(focus, suite)
        draw = _Draw(suite, count, seed, focus)
        if all(name in PROFILES for name in between):
            sys.exit(_profiles(between, starts, draw, env_items, form))
        sys.exit(_kernels(between, starts, draw, env_items, machine, timeout, form))
    if len(what) != 1:
        raise UsageError("give one finding's ID (harness diff lists them), or --between A B")
    sys.exit(_finding(what[0], kernels, targets, machine, timeout, form))


class _Draw(Struct, frozen=True):
    """Generated scenarios to begin with."""

    suite: str
    count: int
    seed: int
    focus: str

    def scenarios(self, name: str, env: Environment) -> list[Scenario]:
        """Those of one profile."""
        return list(
            generate(self.suite, self.count, self.seed, PROFILES[name], env, focus=self.focus)
        )


# --- one finding ---------------------------------------------------------------------------------


def _finding(
    ident: str,
    kernels: tuple[str, ...],
    targets: tuple[str, ...],
    machine: dict[str, Any],
    timeout: float,
    form: _Form,
) -> int:
    with Store(default_root()) as store:
        finding = store.find(ident)
    if finding is None:
        raise UsageError(f"no finding '{ident}' is stored here; 'harness diff' lists them")
    if kernels or targets:
        plans = plans_from(kernels, targets, machine)
    else:
        plans = plans_again(finding.target.opened_with)
    if len(plans) != 1:
        raise UsageError("a finding is made smaller on one kernel; name one")
    started = time.monotonic()
    env = tuple(finding.env.items())
    with _opened(plans[0], finding.profile, env, timeout) as (side, info):
        shrunk = shrink_finding(
            msgspec.structs.replace(finding, target=info), side, _note, tries=form.tries
        )
        scenario = _named(shrunk.scenario, finding.scenario.id, f"what is left of {ident}")
        (last,) = side.findings([scenario])
    last = _stored(last)
    _write(scenario, form)
    if form.as_json:
        print_json(_json(shrunk, scenario, last))
    else:
        print_lines(diff_lines(last, every_step=True, explanation=explain_finding(last)))
    _tell(shrunk, len(finding.scenario.steps), time.monotonic() - started)
    _next(last)
    return 1 if last.verdict.is_finding else 0


@contextlib.contextmanager
def _opened(
    plan: TargetPlan, profile_name: str, env: Sequence[tuple[str, str]], timeout: float
) -> Iterator[tuple[OpenTarget, TargetInfo]]:
    """The plan's target, open; closed whatever happens."""
    target = plan.open()
    try:
        info = msgspec.structs.replace(target.info, opened_with=plan.options)
        click.echo(f"kernel  {info.describe()}", err=True)
        settings = Settings(
            run_id="shrink",
            profile=PROFILES.get(profile_name),
            env=tuple(env),
            scenario_timeout=timeout,
            # The shrinker asks as often as it takes.
            repeat=False,
        )
        side = OpenTarget(target, info, settings, plan.module)
        yield side, info
        for note in side.notes:
            _note(note)
    finally:
        target.close()


def _named(scenario: Scenario, origin: str, title: str) -> Scenario:
    ident = f"{origin.removesuffix('-small')[:110]}-small"
    return msgspec.structs.replace(scenario, id=ident, title=title)


def _stored(finding: Finding) -> Finding:
    """The finding under an id of its own, for replay and repro."""
    with Store(default_root()) as store:
        run = begin_run(store, ("harness", *sys.argv[1:]))
        named = msgspec.structs.replace(
            finding, short_id=short_id(run.id, finding.scenario.id, finding.target.name)
        )
        store.add(run.id, [named])
    return named


# --- between two ---------------------------------------------------------------------------------


def _profiles(
    names: tuple[str, str],
    starts: list[Scenario] | None,
    draw: _Draw,
    env_items: tuple[str, ...],
    form: _Form,
) -> int:
    env = environment(env_items)
    if starts is None:
        starts = [scenario for name in names for scenario in draw.scenarios(name, env)]
    started = time.monotonic()
    base, other = (profile(name) for name in names)
    shrunk = between_profiles(base, other, env, starts, tries=form.tries)
    if shrunk is None:
        click.echo(f"none of {len(starts)} scenarios tells {names[0]} from {names[1]}", err=True)
        return 0
    scenario = _named(shrunk.scenario, f"{names[0]}-or-{names[1]}", "tells two profiles apart")
    _write(scenario, form)
    made = pair(*(_as_if(scenario, name, env) for name in names))
    if form.as_json:
        print_json(_json(shrunk, scenario, None))
    else:
        print_lines(kernel_pair_lines(made, every_step=True))
    _tell(shrunk, None, time.monotonic() - started)
    return 1


def _as_if(scenario: Scenario, name: str, env: Environment) -> Finding:
    """The finding of a kernel that does what a profile says."""
    prediction = predict(scenario, PROFILES[name], env)
    run = ScenarioRun(
        id=scenario.id,
        status=RunStatus.DONE,
        steps=tuple(step.allowed[0] for step in prediction.steps),
    )
    return Finding(
        scenario=scenario,
        target=TargetInfo(name=name, kind="model", release="", env=env.facts()),
        profile=name,
        verdict=Verdict.MATCH,
        prediction=prediction,
        run=run,
    )


def _kernels(
    names: tuple[str, str],
    starts: list[Scenario] | None,
    draw: _Draw,
    env_items: tuple[str, ...],
    machine: dict[str, Any],
    timeout: float,
    form: _Form,
) -> int:
    plans = [_plan(name, machine) for name in names]
    given = tuple((key, value) for key, _, value in (item.partition("=") for item in env_items))
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        sides, infos = [], []
        for plan in plans:
            side, info = stack.enter_context(_opened(plan, "", given, timeout))
            sides.append(side)
            infos.append(info)
        if starts is None:
            starts = []
            for info in infos:
                facts = environment(env_items, info.env)
                starts += draw.scenarios(profile_for_release(info.release).profile.name, facts)
            starts = list({scenario.id: scenario for scenario in starts}.values())
        shrunk = between_kernels(sides[0], sides[1], starts, _note, tries=form.tries)
        if shrunk is None:
            return 0
        origin = "-or-".join(info.release for info in infos).replace("+", "-").lower()
        scenario = _named(shrunk.scenario, origin, "tells two kernels apart")
        findings = [_stored(side.findings([scenario])[0]) for side in sides]
    _write(scenario, form)
    if form.as_json:
        print_json(_json(shrunk, scenario, None))
    else:
        print_lines(kernel_pair_lines(pair(*findings), every_step=True))
    _tell(shrunk, None, time.monotonic() - started)
    return 1


def _plan(name: str, machine: dict[str, Any]) -> TargetPlan:
    """A kernel SPEC, or a target's name, as ``--kernel`` and ``--target`` take them."""
    try:
        parse_spec(name)
    except UsageError:
        return plans_from((), (name,), machine)[0]
    return plans_from((name,), (), machine)[0]


# --- words ---------------------------------------------------------------------------------------


def _note(text: str) -> None:
    click.echo(text, err=True)


def _write(scenario: Scenario, form: _Form) -> None:
    """The scenario into the file, or to stdout unless that is for JSON."""
    text = dump_yaml(scenario)
    if form.output is None:
        if not form.as_json:
            click.echo(text)
        return
    try:
        Path(form.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"-o {form.output}: {error.strerror}; choose another path") from None
    click.echo(f"wrote {form.output}", err=True)


def _json(shrunk: Shrunk, scenario: Scenario, last: Finding | None) -> dict[str, Any]:
    signature = shrunk.signature
    out: dict[str, Any] = {
        "scenario": dump_yaml(scenario),
        "steps": len(scenario.steps),
        "signature": {
            "verdict": signature.verdict,
            "op": signature.op,
            "channel": signature.channel,
            "details": sorted(signature.details),
        },
        "asked_model": shrunk.asked_model,
        "asked_kernel": shrunk.asked_kernel,
        "finished": shrunk.finished,
    }
    if last is not None:
        out["short_id"] = last.short_id
        out["verdict"] = last.verdict.value
    return out


def _tell(shrunk: Shrunk, before: int | None, seconds: float) -> None:
    steps = len(shrunk.scenario.steps)
    change = f"{before} -> {steps} steps" if before is not None else f"{steps} steps"
    _note(
        f"{change}   candidates: {shrunk.asked_model} asked of the model, "
        f"{shrunk.asked_kernel} of kernels   {seconds:.1f} s"
    )
    if not shrunk.finished:
        _note("--tries came first: there may be a smaller one")


def _next(last: Finding) -> None:
    if last.verdict.is_finding:
        _note(
            f"C file: harness repro {last.short_id} -o t.c   again: harness replay {last.short_id}"
        )
    else:
        _note(f"the last run of it was {last.verdict.value}: it does not always happen")
