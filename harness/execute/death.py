# SPDX-License-Identifier: GPL-2.0-only
"""What a session that did not end well says of the scenario that ran: a pure judgement.

The kernel's failures and the machine's are never mixed: without a word from the kernel, a guest
that reset itself is a CRASH, silence is a HANG, and all else is INFRA.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from harness.execute.session import End, Ended
from harness.targets import Condition, Health, Splat, SplatKind, signal_name, worst
from harness.vocabulary import RunStatus


class Death(Struct, frozen=True):
    """What to say of the scenario that ran.

    ``replace``: the target cannot go on as it is. ``doubtful``: the last records may have been
    lost with the kernel, so the scenario that ran may be a later one; only a repeat can tell.
    """

    status: RunStatus
    detail: str
    replace: bool
    doubtful: bool


def judge(ended: Ended, condition: Condition, splats: Sequence[Splat]) -> Death:
    """From how the session ended, how the target is now, and what the kernel logged."""
    splat = worst(splats)
    health = condition.health
    replace = health is not Health.ALIVE or ended.end in (End.SILENT, End.LOST)
    hangs = health is Health.HUNG or (health is Health.ALIVE and ended.end is End.SILENT)
    if splat is not None and not (hangs and splat.kind is SplatKind.STALL):
        return Death(RunStatus.CRASH, splat.title, replace or splat.kind.fatal, splat.kind.fatal)
    if health is Health.RESET:
        detail = f"the kernel ended with no message: {condition.detail}"
        return Death(RunStatus.CRASH, detail, True, True)
    if health is Health.GONE:
        # A power cut would look the same; only a second time is evidence against the kernel.
        return Death(RunStatus.INFRA, _machine(ended, condition), True, True)
    if hangs:
        # A lockup or an RCU stall that the kernel reports is its own word for the hang.
        parts = [splat.title if splat else "", ended.detail, condition.detail]
        parts = [part for part in parts if part]
        return Death(RunStatus.HANG, "; ".join(parts), True, health is Health.HUNG)
    return Death(RunStatus.INFRA, _machine(ended, condition), replace, False)


def with_output(found: Death, stray: Sequence[str]) -> Death:
    """The same, with the last thing the program said: "not found", "Exec format error"."""
    return msgspec.structs.replace(found, detail=f"{found.detail}; it said: {stray[-1]}")


def _machine(ended: Ended, condition: Condition) -> str:
    if ended.end is End.EXIT:
        how = "status unknown" if ended.status is None else signal_name(ended.status)
        said = f"the batch program ended early ({how})"
    else:
        said = ended.detail
    return "; ".join(part for part in (said, condition.detail) if part)
