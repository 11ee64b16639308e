# SPDX-License-Identifier: GPL-2.0-only
"""The line itself: scenario -> prediction, C, ELF, target -> observation -> verdict.

One batch is one ELF and one session on a target; while a batch runs, the next one is generated,
predicted, rendered and built.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

import msgspec
from msgspec import Struct

from harness.campaign.chunk import WhiteBox, run_chunk
from harness.campaign.coming import Coming
from harness.campaign.judging import Bench, Listener, Settings, is_judged
from harness.campaign.workload import Workload
from harness.execute import Lanes
from harness.store.database import short_id
from harness.targets import Target, end_all_guests
from harness.vocabulary import Finding, HarnessError, TargetInfo, UsageError, Verdict
from reference_model.profiles import Environment, SemanticsProfile, profile_for_release


class TargetPlan(Struct, frozen=True):
    """A target that is yet to be opened.

    ``label`` names it before it can name itself; ``options`` are the command-line options that
    make this plan again.
    """

    label: str
    open: Callable[[], Target]
    options: tuple[str, ...] = ()
    #: Path of the white-box module built for the target's kernel; NoModuleError says why not.
    module: Callable[[TargetInfo], str] | None = None
    #: Which of several targets of that name it is: from 2 on, part of the name.
    number: int = 1
    #: Equal guests that share the scenarios.
    guests: int = 1
    #: Programs at once on each of them.
    lanes: int = 1


def run_on_target(
    plan: TargetPlan,
    workload: Workload,
    settings: Settings,
    listener: Listener,
    stop: threading.Event,
) -> None:
    """Run every scenario on one target; each gets a verdict unless ``stop`` is set meanwhile.

    A target that does not come up, and a build that fails, make their scenarios INFRA.
    UsageError for what is wrong with the command, not with the machine.
    """
    workload.prepare()
    try:
        target = plan.open()
    except UsageError:
        raise
    except HarnessError as error:
        if stop.is_set():
            return  # its guest was ended on purpose
        listener.on_note(f"{plan.label}: {error}")
        _all_infra(plan, workload, settings, listener, str(error))
        return
    try:
        name = target.info.name if plan.number == 1 else f"{target.info.name} #{plan.number}"
        info = msgspec.structs.replace(target.info, name=name, opened_with=plan.options)
        more = (partial(_opened, plan.open),) * (plan.guests - 1)
        run_open(
            target,
            info,
            workload,
            settings,
            listener,
            stop,
            module=plan.module,
            more=more,
            lanes=plan.lanes,
        )
    finally:
        target.close()


def run_open(
    target: Target,
    info: TargetInfo,
    workload: Workload,
    settings: Settings,
    listener: Listener,
    stop: threading.Event,
    *,
    module: Callable[[TargetInfo], str] | None = None,
    more: Sequence[Callable[[], AbstractContextManager[Target]]] = (),
    lanes: int = 1,
) -> None:
    """Run every scenario on an open target, which stays open.

    ``more`` give others like it, that take a part of the scenarios; ``lanes`` run at once on each.
    """
    profile, note = _profile(info, settings)
    facts = info.env | dict(settings.env)
    try:
        env = Environment.parse(facts.items())
    except ValueError as error:
        raise UsageError(f"--env: {error}") from None
    listener.on_target(info, profile, note)
    bench = Bench(info, profile, settings, listener, env)
    coming = Coming(workload.batches(profile, env, 1 + len(more)), bench)

    def other(opened: Callable[[], AbstractContextManager[Target]]) -> None:
        with ExitStack() as stack:
            try:
                target = stack.enter_context(opened())
            except HarnessError as error:
                listener.on_note(f"{info.name}: one guest less: {error}")
                return
            _work(target, coming, WhiteBox(info, module), bench, stop, lanes)

    with ThreadPoolExecutor(max(len(more), 1), thread_name_prefix="guest") as others:
        futures = [others.submit(other, opened) for opened in more]
        try:
            _work(target, coming, WhiteBox(info, module), bench, stop, lanes)
            for future in futures:
                future.result()
        except KeyboardInterrupt:
            stop.set()
            end_all_guests()
            raise
        except BaseException:
            stop.set()
            raise


@contextmanager
def _opened(opener: Callable[[], Target]) -> Iterator[Target]:
    target = opener()
    try:
        yield target
    finally:
        target.close()


def _work(
    target: Target,
    coming: Coming,
    white_box: WhiteBox,
    bench: Bench,
    stop: threading.Event,
    lanes: int,
) -> None:
    """Run what is coming until there is no more."""
    side_by_side = Lanes(lanes)
    # To generate and to predict is one core's work while the target is another's.
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as ahead:
        future = ahead.submit(coming.take)
        while (chunk := future.result()) is not None and not stop.is_set():
            future = ahead.submit(coming.take)
            run_chunk(target, chunk, white_box, bench, stop, side_by_side)


def _profile(info: TargetInfo, settings: Settings) -> tuple[SemanticsProfile, str]:
    if settings.profile is not None:
        return settings.profile, f"profile {settings.profile.name} is forced by --profile"
    try:
        choice = profile_for_release(info.release)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return choice.profile, choice.note


def _all_infra(
    plan: TargetPlan, workload: Workload, settings: Settings, listener: Listener, reason: str
) -> None:
    name = plan.label if plan.number == 1 else f"{plan.label} #{plan.number}"
    info = TargetInfo(name=name, kind="none", release="", opened_with=plan.options)
    for scenario in workload.named():
        if is_judged(settings, name, scenario):
            continue
        listener.on_finding(
            Finding(
                scenario=scenario,
                target=info,
                profile=settings.profile.name if settings.profile else "",
                verdict=Verdict.INFRA,
                reason=reason,
                short_id=short_id(settings.run_id, scenario.id, info.name),
            )
        )
