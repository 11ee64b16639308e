# SPDX-License-Identifier: GPL-2.0-only
"""Just enough of C's lexical rules to see what a compiler would see."""

from __future__ import annotations

import re

_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"|.', re.DOTALL)


def without_comments(source: str) -> list[str]:
    """The source's words with every comment taken out, as a compiler does it."""
    out = []
    for match in _TOKEN.finditer(source.replace("\\\n", "")):
        text = match[0]
        out.append(" " if text.startswith(("/*", "//")) else text)
    return "".join(out).split()


def comments(source: str) -> list[str]:
    """Every comment of the source."""
    return [m[0] for m in _TOKEN.finditer(source) if m[0].startswith(("/*", "//"))]
