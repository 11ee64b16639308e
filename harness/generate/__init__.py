# SPDX-License-Identifier: GPL-2.0-only
"""A suite, a seed and a count come in; scenarios go out, the same ones for the same seed.

This room may use the model's state to aim; it must never know a target or a result.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.generate.guest import generate_guest
from harness.vocabulary import UsageError
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import Scenario

#: Suites that can be generated.
SUITES = ("guest",)

__all__ = ["SUITES", "generate"]


def generate(
    suite: str,
    count: int,
    seed: int,
    profile: SemanticsProfile | None = None,
    env: Environment | None = None,
) -> Iterator[Scenario]:
    """``count`` scenarios of a suite.

    Number i depends on (suite, seed, i) alone, and for suite ``pgtable`` on the profile and the
    environment it is generated for. UsageError for a suite that cannot be generated.
    """
    if suite not in SUITES:
        raise UsageError(f"no generator for suite '{suite}'; this version has: {', '.join(SUITES)}")
    for index in range(count):
        yield generate_guest(seed, index)
