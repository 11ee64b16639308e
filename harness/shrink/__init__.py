# SPDX-License-Identifier: GPL-2.0-only
"""A scenario that shows something and a way to ask whether another shows the same come in; the
smallest scenario that still shows it goes out.

A loop around the line of ``harness.campaign``: it adds no second line, and must never know how a
candidate is built, sent or compared.
"""

from harness.shrink.edits import cost, to_scenario
from harness.shrink.oracles import KernelOracle, ModelOracle, PairOracle
from harness.shrink.reduce import Reduction, reduce_scenario
from harness.shrink.signature import Signature, signature_of
from harness.shrink.statistics import Plan, StatisticalOracle, interval, plan_for

__all__ = [
    "KernelOracle",
    "ModelOracle",
    "PairOracle",
    "Plan",
    "Reduction",
    "Signature",
    "StatisticalOracle",
    "cost",
    "interval",
    "plan_for",
    "reduce_scenario",
    "signature_of",
    "to_scenario",
]
