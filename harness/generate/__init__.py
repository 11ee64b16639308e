# SPDX-License-Identifier: GPL-2.0-only
"""A suite, a seed and a count come in; scenarios go out, the same ones for the same seed.

This room may use the model's state to aim; it must never know a target or a result.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.generate.guest import generate_guest
from harness.generate.guest_focus import FOCI
from harness.generate.pgtable import generate_pgtable
from harness.generate.race import generate_race
from harness.vocabulary import UsageError
from reference_model.profiles import PROFILES, Environment, SemanticsProfile
from reference_model.scenario import Scenario

#: Suites that can be generated.
SUITES = ("guest", "pgtable", "race")

__all__ = ["FOCI", "SUITES", "generate"]


def generate(
    suite: str,
    count: int,
    seed: int,
    profile: SemanticsProfile | None = None,
    env: Environment | None = None,
    focus: str = "",
) -> Iterator[Scenario]:
    """``count`` scenarios of a suite; of suite ``guest`` with a ``focus`` of :data:`FOCI`.

    Number i depends on (suite, focus, seed, i) alone, and for suite ``pgtable`` on the profile
    (v6.12 where none is given) and the environment it is generated for. UsageError for a suite that
    cannot be generated, and for a focus that it does not have.
    """
    if suite not in SUITES:
        raise UsageError(f"no generator for suite '{suite}'; this version has: {', '.join(SUITES)}")
    if focus and suite != "guest":
        raise UsageError(f"--focus {focus}: only with --suite guest")
    for index in range(count):
        if suite == "pgtable":
            yield generate_pgtable(seed, index, profile or PROFILES["v6.12"], env or Environment())
        elif suite == "race":
            yield generate_race(seed, index)
        else:
            yield generate_guest(seed, index, focus)
