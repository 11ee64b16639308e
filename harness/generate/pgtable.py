# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the pgtable suite: steered toward every transition of the model.

Scenario number i takes its turn in a fixed, shuffled list of all transitions
(:func:`reference_model.transition_universe.universe`): it puts up the small cases that end in the
next few of them, each at a place of its own, and between them draws steps that look at the table
as it then stands. So any stretch of numbers covers as much as its length allows, and number i
depends on (seed, i, profile, environment) alone. What no scenario does to a kernel, and why,
stands in :mod:`harness.generate.pgtable_safe`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from random import Random

import msgspec

from harness.generate.pgtable_draw import Draw
from harness.generate.pgtable_safe import harmless, is_cheap
from reference_model.geometry import geometry, unsupported_ipa
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import Destroy, PgtableOp, PgtableScenario, Unmap
from reference_model.transition_kitchen import PLENTY, Kitchen, Place, scenario_cache
from reference_model.transition_sight import Sight, is_empty, sight
from reference_model.transition_universe import Aim, universe
from reference_model.transitions import Watcher

#: Facts that are no part of a seed, so that it gives the same scenarios with and without them:
#: which code a guest runs, and how a kernel with 64K pages was built.
_NO_SEED = frozenset({"zva_keeps_code", "pa_52"})
#: Transitions that one scenario aims at.
_AIMS = 3
_LENGTHS = range(16, 25)
#: Rounds of all turns in which each of the dear aims has one.
_DEAR_ROUNDS = 8
#: Draws among which the one is taken whose kind has come up least in the scenario.
_DRAWS = 2
#: IPA sizes worth a table: the default, the least, roots of 1, 2, 8 and 16 pages, each root level.
_IPA_BITS = (32, 34, 36, 39, 40, 40, 40, 40, 42, 43, 44, 46, 47, 48, 52)


def generate_pgtable(
    seed: int, index: int, profile: SemanticsProfile, env: Environment
) -> PgtableScenario:
    """Scenario number ``index`` of a seed, for a kernel of ``profile`` on a host ``env``."""
    facts = ",".join(
        f"{key}={value}" for key, value in sorted(env.facts().items()) if key not in _NO_SEED
    )
    # String seeds are hashed with SHA-512 by random.seed: the same on every Python.
    random = Random(f"pgtable:{seed}:{index}:{profile.name}:{facts}")  # noqa: S311 - repeatable
    aims = _aims(seed, index, profile, env)
    steps = _Walk(random, aims, profile, env)
    return PgtableScenario(
        schema=1,
        id=f"pgtable-{profile.name}-{env.granule.lower()}-s{seed}-{index:05d}",
        granule=env.granule,  # type: ignore[arg-type]
        ipa_bits=steps.ipa_bits,
        memcache=steps.memcache,
        steps=tuple(steps.steps),
    )


@lru_cache(maxsize=64)
def _turns(profile: SemanticsProfile, env: Environment) -> tuple[tuple[Aim, ...], ...]:
    """The transitions in the order in which scenarios take them, those of one scenario together.

    At most one of a scenario's asks for something of the scenario as a whole.
    """
    aims = [aim for aim in universe(profile, env).values() if not _is_dear(aim)]
    Random(f"turns:{profile.name}").shuffle(aims)  # noqa: S311 - repeatable, not secret
    choosy = [aim for aim in aims if _is_choosy(aim)]
    others = [aim for aim in aims if not _is_choosy(aim)]
    count = max(len(choosy), -(-len(aims) // _AIMS))
    turns: list[list[Aim]] = [choosy[number : number + 1] for number in range(count)]
    places = [turn for _ in range(_AIMS) for turn in turns]
    for turn in places:
        if others and len(turn) < _AIMS:
            turn.append(others.pop())
    return tuple(tuple(turn) for turn in turns)


@lru_cache(maxsize=64)
def _dear(profile: SemanticsProfile, env: Environment) -> tuple[Aim, ...]:
    return tuple(aim for aim in universe(profile, env).values() if _is_dear(aim))


def _is_dear(aim: Aim) -> bool:
    """A GiB in pages: under TCG it takes a kernel as long as hundreds of scenarios."""
    recipe = aim.recipe
    large = any(level < 2 for level, _ in recipe.cells)
    return recipe.op == "split" and recipe.cache == "enough" and large


def _is_choosy(aim: Aim) -> bool:
    cache = scenario_cache(aim.recipe)
    return aim.exactly or aim.recipe.op == "destroy" or cache is not msgspec.UNSET


def _aims(seed: int, index: int, profile: SemanticsProfile, env: Environment) -> tuple[Aim, ...]:
    """What scenario ``index`` aims at; another seed begins elsewhere.

    What costs much has its turn once in some rounds of all the others.
    """
    turns = _turns(profile, env)
    begin = Random(f"begin:{seed}").randrange(len(turns))  # noqa: S311 - repeatable, not secret
    round_, turn = divmod(begin + index, len(turns))
    if turn == 0:
        dear = dict(enumerate(_dear(profile, env), start=1)).get(round_ % _DEAR_ROUNDS)
        if dear is not None:
            return (dear,)
    return turns[turn]


def _sizes_for(aims: Sequence[Aim], profile: SemanticsProfile, env: Environment) -> list[int]:
    """IPA sizes of the host whose root serves the aims, or at least the one that is choosy."""
    lpa2 = env.lpa2 and profile.stage2.lpa2
    levels = {
        bits: geometry(env.page_shift, bits, lpa2).start_level
        for bits in (*_IPA_BITS, env.ipa_limit)
        if not unsupported_ipa(env.page_shift, bits, env.ipa_limit, lpa2)
    }
    wanted = [aim for aim in aims if aim.exactly][:1] or aims
    usable = [bits for bits in _IPA_BITS if bits in levels]
    fitting = [bits for bits in usable if all(_serves(aim, levels[bits]) for aim in wanted)]
    return fitting or usable or list(levels)


def _serves(aim: Aim, level: int) -> bool:
    """A root at ``level`` can show the transition."""
    return level == aim.start_level or (level < aim.start_level and not aim.exactly)


class _Walk:
    """The steps of one scenario."""

    def __init__(
        self, random: Random, aims: Sequence[Aim], profile: SemanticsProfile, env: Environment
    ) -> None:
        self.random = random
        caches = [scenario_cache(aim.recipe) for aim in aims]
        asked = [pages for pages in caches if pages is not msgspec.UNSET]
        self.memcache = asked[0] if asked else PLENTY
        self.ipa_bits = random.choice(_sizes_for(aims, profile, env))
        self.watcher = Watcher(self.ipa_bits, self.memcache, profile, env)
        self.draw = Draw(random, self.watcher, profile, self.memcache)
        self.steps: list[PgtableOp] = []
        self.seen: dict[tuple[str, Sight], int] = {}
        level = self.watcher.state.geometry.start_level
        self._compose([aim for aim in aims if _serves(aim, level)])

    def _compose(self, aims: Sequence[Aim]) -> None:
        length = self.random.choice(_LENGTHS)
        last: Aim | None = None
        for aim in aims:
            if aim.recipe.op == "destroy":
                last = aim
                continue
            self._freely(self.random.randrange(4))
            self._aim(aim)
        self._freely(length - len(self.steps))
        if last is not None or self.random.random() < 0.1:
            self._destroy(last)

    def _step(self, op: PgtableOp) -> None:
        self.watcher.advance(op)
        self.steps.append(op)

    # --- free steps --------------------------------------------------------------------------

    def _freely(self, count: int) -> None:
        for _ in range(count):
            state, leaves = self.watcher.state, self.watcher.last.leaves or ()
            drawn = [self.draw.op() for _ in range(_DRAWS)]
            drawn = [op for op in drawn if harmless(state, op) and is_cheap(leaves, op)]
            looks = [(op.name, sight(state, op)) for op in drawn]
            if drawn:
                least = min(range(len(drawn)), key=lambda n: self.seen.get(looks[n], 0))
                self.seen[looks[least]] = self.seen.get(looks[least], 0) + 1
                self._step(drawn[least])

    # --- aimed steps ---------------------------------------------------------------------------

    def _aim(self, aim: Aim) -> None:
        """The case that ends in the transition, at a place where nothing is."""
        kitchen = Kitchen(aim.recipe, self.watcher.state, self._place())
        for op in kitchen.setup():
            self._step(op)
        op = kitchen.request()
        if harmless(self.watcher.state, op):
            self._step(op)

    def _place(self) -> Place:
        large, limit = self.draw.large, self.draw.limit
        state = self.watcher.state
        place = Place(large, large)
        for _ in range(4):
            ipa = self.random.randrange(1, limit // large - 1) * large
            place = Place(ipa, (ipa + self.draw.offset) % (1 << state.geometry.pa_bits))
            if is_empty(state, ipa - large, ipa + 2 * large):
                return place
        self._step(Unmap(ipa=place.ipa - large, size=3 * large))
        return place

    def _destroy(self, aim: Aim | None) -> None:
        """The last step; aimed at, it comes over what the aim asks for and nothing else."""
        if aim is not None:
            limit = self.draw.limit
            everything = Unmap(ipa=0, size=limit)
            leaves = self.watcher.last.leaves or ()
            if harmless(self.watcher.state, everything) and is_cheap(leaves, everything):
                self._step(everything)
            self._aim(aim)
            return
        self._step(Destroy())
