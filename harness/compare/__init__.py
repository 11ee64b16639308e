# SPDX-License-Identifier: GPL-2.0-only
"""A prediction and what a kernel did come in; a verdict with its differences goes out.

This room must never know a target, a transport or a file.
"""

from harness.compare.comeback import comeback
from harness.compare.explain import explain, explain_finding
from harness.compare.judge import Judgement, judge
from harness.compare.known import KnownDivergence, KnownList, parse_known
from harness.compare.pair import pair

__all__ = [
    "Judgement",
    "KnownDivergence",
    "KnownList",
    "comeback",
    "explain",
    "explain_finding",
    "judge",
    "pair",
    "parse_known",
]
