# SPDX-License-Identifier: GPL-2.0-only
"""All transitions that the recipes reach under a profile, each with the recipe that reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec import Struct

from reference_model.geometry import geometry, unsupported_ipa
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.transition_kitchen import PLENTY, Kitchen, Place, scenario_cache
from reference_model.transition_recipes import Recipe, recipes
from reference_model.transitions import Transition, Watcher

#: IPA sizes with roots of level 1, 2 and 0, as far as granule and host have them.
_SIZES = {12: (40, 48, 33), 14: (47, 40, 52), 16: (47, 40)}


class Aim(Struct, frozen=True, gc=False):
    """How a transition is reached: a recipe, in a table with its root at ``start_level``.

    ``exactly``: no other root will do; else one above it does as well.
    """

    recipe: Recipe
    start_level: int
    exactly: bool


@lru_cache(maxsize=64)
def universe(profile: SemanticsProfile, env: Environment) -> dict[Transition, Aim]:
    """Every transition, with the first recipe that ends in it; the same order every time.

    Not among them: what differs only in what comes third or later in a range.
    """
    found: dict[Transition, Aim] = {}
    lpa2 = env.lpa2 and profile.stage2.lpa2
    roots: set[int] = set()
    for bits in _SIZES[env.page_shift]:
        shape = geometry(env.page_shift, min(bits, env.ipa_limit), lpa2)
        unsupported = unsupported_ipa(env.page_shift, shape.ipa_bits, env.ipa_limit, lpa2)
        if unsupported or shape.start_level in roots:
            continue
        bench = _Bench(shape.ipa_bits, profile, env)
        for recipe in recipes(shape, profile.stage2):
            if roots and (len(recipe.cells) > 1 or recipe.twist):
                continue  # the same under every root
            aim = Aim(recipe, shape.start_level, exactly=bool(roots))
            found.setdefault(bench.outcome(recipe), aim)
        roots.add(shape.start_level)
    return found


def reached(
    counts: Mapping[Transition, int], profile: SemanticsProfile, env: Environment
) -> tuple[int, int]:
    """(reached, all): how many of the transitions there are have come up in a campaign.

    ``counts`` from :func:`reference_model.transitions.covered`.
    """
    known = universe(profile, env)
    return sum(1 for transition in known if counts.get(transition)), len(known)


class _Bench:
    """Runs recipes, each alone in a table; one that changes nothing leaves it to the next."""

    def __init__(self, ipa_bits: int, profile: SemanticsProfile, env: Environment) -> None:
        self.ipa_bits = ipa_bits
        self.profile = profile
        self.env = env
        self.watcher: Watcher | None = None
        self.prepared: tuple[object, ...] = ()

    def outcome(self, recipe: Recipe) -> Transition:
        """The transition that a recipe ends in."""
        cache = scenario_cache(recipe)
        wanted = (recipe.cells, recipe.tabled, "pa edge" in recipe.twist, cache)
        watcher = self.watcher if wanted == self.prepared else None
        if watcher is None:
            pages = PLENTY if cache is msgspec.UNSET else cache
            watcher = Watcher(self.ipa_bits, pages, self.profile, self.env)
            for op in self._kitchen(recipe, watcher).setup():
                watcher.advance(op)
        before = watcher.last
        after, transition = watcher.step(self._kitchen(recipe, watcher).request())
        unchanged = (before.leaves, before.annotations, before.tables) == (
            after.leaves, after.annotations, after.tables,
        )  # fmt: skip
        self.watcher, self.prepared = (watcher, wanted) if unchanged else (None, ())
        return transition

    @staticmethod
    def _kitchen(recipe: Recipe, watcher: Watcher) -> Kitchen:
        shape = watcher.state.geometry
        largest = shape.size(max(shape.block_level, shape.start_level))
        return Kitchen(recipe, watcher.state, Place(2 * largest, 4 * largest))
