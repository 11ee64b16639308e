# SPDX-License-Identifier: GPL-2.0-only
"""How the model says that nothing defines an outcome."""

from __future__ import annotations


class UnpredictableError(ValueError):
    """A step that no kernel defines the outcome of; ``step`` is its number."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


class UndefinedError(ValueError):
    """The same, raised where the step's number is not known."""
