# SPDX-License-Identifier: GPL-2.0-only
"""Styled lines for a reader: colour where there is a terminal, plain text where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console

from harness.report.data import printable
from harness.report.diff import STYLES, Line


def print_lines(lines: Iterable[Line], *, err: bool = False) -> None:
    """Styled lines; colour only where the stream is a terminal; control characters are shown."""
    stream = sys.stderr if err else sys.stdout
    console = Console(file=stream, soft_wrap=True, highlight=False, markup=False, emoji=False)
    for style, text in lines:
        console.print(printable(text), style=STYLES.get(style, ""))
