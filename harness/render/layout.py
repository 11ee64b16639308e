# SPDX-License-Identifier: GPL-2.0-only
"""How a function's lines are set: one call a step, what the model expects beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from harness.render.text import WIDTH, columns, comment_text
from reference_model.outcome import Prediction

_COMMENT_COLUMN = 56
_TAB = 8


class Call(Struct, frozen=True):
    """One step as a call of the runtime, and what is expected of it.

    A suite whose steps are the elements of an array has them ``indent`` 2 tabs deep and ends each
    with a comma.
    """

    function: str
    arguments: tuple[str, ...]
    comment: str
    indent: int = 1
    end: str = ";"


class Suite(Struct, frozen=True):
    """What a suite contributes to the C.

    ``header`` declares its runtime; ``variable`` is its ``struct suite`` there. ``opening`` gives
    the lines before the first step, ``calls`` one call a step, ``closing`` the lines after the
    last. A suite with another shape gives ``compose`` instead: from a scenario, what the model
    says of it and its function's name to functions in front of that one, and its body.
    """

    header: str
    variable: str
    opening: Callable[[Any], list[str]]
    calls: Callable[[Any, Prediction | None], list[Call]]
    closing: Callable[[Any], list[str]] | None = None
    compose: Callable[[Any, Prediction | None, str], tuple[list[str], list[str]]] | None = None


def call_lines(call: Call) -> list[str]:
    """The call with its comment behind it, or above it where the line would grow too long."""
    lines = _wrapped(call)
    if not call.comment:
        return lines
    comment = f"/* {comment_text(call.comment)} */"
    width = columns(lines[-1])
    if len(lines) == 1:
        tabs = max(1, -(-(_COMMENT_COLUMN - width) // _TAB))
        beside = lines[0] + "\t" * tabs + comment
        if columns(beside) <= WIDTH:
            return [beside]
    return [f"{_tabs(call.indent)}{comment}", *lines]


def _wrapped(call: Call) -> list[str]:
    line = f"{_tabs(call.indent)}{call.function}("
    lines = []
    for index, argument in enumerate(call.arguments):
        last = index == len(call.arguments) - 1
        piece = argument + (f"){call.end}" if last else ",")
        space = "" if line.endswith(("(", "\t")) else " "
        if columns(line + space + piece) > WIDTH and not line.endswith("("):
            lines.append(line)
            line, space = _tabs(call.indent + 1), ""
        line += space + piece
    if not call.arguments:
        line += f"){call.end}"
    return [*lines, line]


def _tabs(count: int) -> str:
    return "\t" * count
