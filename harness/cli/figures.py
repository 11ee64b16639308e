# SPDX-License-Identifier: GPL-2.0-only
"""A measured figure, as ``harness bench`` shows it."""

from __future__ import annotations

from msgspec import Struct


class Figure(Struct, frozen=True):
    """One measured ratio or rate; ``goal`` is text for the reader, never a test."""

    name: str
    value: float
    goal: str
    detail: str = ""

    def lines(self, width: int) -> list[tuple[str, str]]:
        """Lines with their styles; ``width`` of the names' column, in characters."""
        goal = f"   goal {self.goal}" if self.goal else ""
        text = f"{self.name:<{width}}  {self.value:>10,.2f}{goal}"
        return [("", text), *([("dim", f"    {self.detail}")] if self.detail else [])]
