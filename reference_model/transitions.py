# SPDX-License-Identifier: GPL-2.0-only
"""What a step of a pgtable scenario exercised: a transition of the model.

A transition is (operation, what was there, what was asked for, what came of it), coarse enough
that a kernel takes one way through its code for it, and small enough that all of them can be
counted. It is read off the model alone, so that it is known before any kernel has run the
scenario: the generator aims with it, and a campaign reports how many it has covered.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from reference_model import scenario as sc
from reference_model.outcome import Observation
from reference_model.pgtable_state import Stage2
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import PgtableOp, PgtableScenario
from reference_model.stage2_machine import Stage2Machine, skip_reason
from reference_model.transition_sight import Sight, sight

_FRESH = Observation(ret=0, leaves=(), annotations=(), tables=0)


class Transition(Struct, frozen=True, order=True, gc=False):
    """One way through the page-table API; the words are those of :class:`Sight`.

    ``outcome`` is the return value (``-ENOMEM null``: no cache was passed) and what happened to
    the leaves and owners: ``changed`` or ``kept``. Where one thing is done to one thing, the most
    telling word: ``collapsed`` (a block replaced a table), ``freed`` (tables went away), ``broke``
    (a valid entry was replaced with break-before-make), ``alloc`` (tables were added).
    """

    op: str
    found: str
    shape: str
    asked: str
    outcome: str

    def __str__(self) -> str:
        how = f" [{self.asked}]" if self.asked else ""
        return f"{self.op}{how} of {self.shape} over {self.found}: {self.outcome}"


class Watcher:
    """A table under one profile that says of every step what it exercised."""

    def __init__(
        self, ipa_bits: int, memcache: int | None, profile: SemanticsProfile, env: Environment
    ) -> None:
        self.machine = Stage2Machine(ipa_bits, memcache, profile.stage2, env)
        self.last = _FRESH

    @property
    def state(self) -> Stage2:
        """The table, to be looked at."""
        return self.machine.state

    def advance(self, op: PgtableOp) -> None:
        """Performs ``op`` without looking; otherwise as :meth:`step`."""
        self.last = self.machine.step(op)

    def step(self, op: PgtableOp) -> tuple[Observation, Transition]:
        """Performs ``op``, which the profile's kernel has (:func:`skip_reason`)."""
        before = sight(self.state, op)
        seen = self.machine.step(op)
        transition = transition_of(op, before, self.last, seen, self.machine.memcache)
        self.last = seen
        return seen, transition


def transitions(
    scenario: PgtableScenario, profile: SemanticsProfile, env: Environment
) -> tuple[Transition, ...]:
    """The transition of each step; none where the scenario is a skip."""
    if skip_reason(scenario, profile, env):
        return ()
    watcher = Watcher(scenario.ipa_bits, scenario.memcache, profile, env)
    return tuple(watcher.step(op)[1] for op in scenario.steps)


def covered(
    scenarios: Iterable[PgtableScenario], profile: SemanticsProfile, env: Environment
) -> dict[Transition, int]:
    """How often each transition comes up in a campaign of ``scenarios``."""
    counts: dict[Transition, int] = {}
    for scenario in scenarios:
        for transition in transitions(scenario, profile, env):
            counts[transition] = counts.get(transition, 0) + 1
    return counts


def transition_of(
    op: PgtableOp,
    before: Sight,
    earlier: Observation,
    after: Observation,
    memcache: int | None,
) -> Transition:
    """The transition of one step, from what was there and two complete predictions.

    ``memcache`` is the scenario's; a step's own overrides it.
    """
    own = getattr(op, "memcache", msgspec.UNSET)
    null = (memcache if own is msgspec.UNSET else own) is None
    effect = _effect(op, earlier, after) if _is_plain(before) else _change(earlier, after)
    outcome = f"{_ret(after, null=null)} {effect}"
    return Transition(op.name, before.found, before.shape, before.asked, outcome)


def _ret(after: Observation, *, null: bool) -> str:
    if after.ret is msgspec.UNSET or after.ret >= 0:
        return str(after.ret)
    name = f"-{errno.errorcode[-after.ret]}"
    return f"{name} null" if null and after.ret == -errno.ENOMEM else name


def _effect(op: PgtableOp, earlier: Observation, after: Observation) -> str:
    tables, alloc, was = _number(after.tables), _number(after.alloc), _number(earlier.tables)
    if tables < was + alloc:
        return "collapsed" if isinstance(op, sc.Map) else "freed"
    broken = after.tlbi["ipa"] if isinstance(after.tlbi, dict) else 0
    if broken and isinstance(op, (sc.Map, sc.Annotate, sc.Split)):
        return "broke"
    if alloc:
        return "alloc"
    return _change(earlier, after)


def _change(earlier: Observation, after: Observation) -> str:
    same = after.leaves == earlier.leaves and after.annotations == earlier.annotations
    return "kept" if same else "changed"


def _is_plain(before: Sight) -> bool:
    """One thing is met, and nothing about the arguments is odd."""
    odd = before.shape in ("range", "unaligned") or before.asked == "pa beyond"
    return not odd and not before.found.endswith("+more")


def _number(value: int | msgspec.UnsetType) -> int:
    return 0 if value is msgspec.UNSET else value
