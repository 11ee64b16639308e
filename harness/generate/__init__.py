# SPDX-License-Identifier: GPL-2.0-only
"""A suite, a seed and a count come in; scenarios go out, the same ones for the same seed.

This room may use the model's state to aim; it must never know a target or a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness.generate.guest import generate_guest
from harness.vocabulary import UsageError
from reference_model.scenario import Scenario

_GENERATORS: dict[str, Callable[[int, int], Scenario]] = {"guest": generate_guest}

__all__ = ["generate"]


def generate(suite: str, count: int, seed: int) -> Iterator[Scenario]:
    """``count`` scenarios of a suite; number i depends on (suite, seed, i) alone."""
    generator = _GENERATORS.get(suite)
    if generator is None:
        known = ", ".join(sorted(_GENERATORS))
        raise UsageError(f"no generator for suite '{suite}'; this version has: {known}")
    for index in range(count):
        yield generator(seed, index)
