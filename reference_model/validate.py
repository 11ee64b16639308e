# SPDX-License-Identifier: GPL-2.0-only
"""What no kernel need be asked: scenarios that are wrong by themselves.

What depends on the kernel (an unaligned slot, a flag it lacks, an IPA out of range) is not judged
here: the kernel answers it with an errno, and the model predicts that.
"""

from __future__ import annotations

from typing import TypeAlias

from reference_model import scenario as sc
from reference_model.outcome import CHANNELS
from reference_model.profiles import PROFILES
from reference_model.scenario import Expect, PgtableScenario, RaceScenario, Scenario
from reference_model.validate_guest import check_guest
from reference_model.validate_race import check_race

MAX_STEPS = 20_000
MAX_MEMCACHE = 1 << 20
#: The largest physical address a scenario may name: 64 bits hold it, and so does the module.
MAX_ADDRESS = (1 << 64) - 1

Problem: TypeAlias = tuple[int | None, str]


def check(scenario: Scenario) -> Problem | None:
    """The first thing wrong as (step or None, message with the mend), or None."""
    if len(scenario.steps) > MAX_STEPS:
        return None, f"{len(scenario.steps)} steps; at most {MAX_STEPS}: split the scenario"
    for pin in scenario.expect:
        if problem := _pinned_profiles(pin):
            return None, problem
        if len(pin.steps) > len(scenario.steps):
            return None, f"'expect' pins {len(pin.steps)} steps of {len(scenario.steps)}; drop some"
        for index, channels in enumerate(pin.steps):
            for channel in channels:
                if channel not in CHANNELS:
                    known = ", ".join(CHANNELS)
                    return index, f"'expect' names unknown channel '{channel}'; known: {known}"
    if isinstance(scenario, PgtableScenario):
        return _pgtable(scenario)
    if isinstance(scenario, RaceScenario):
        return check_race(scenario)
    return check_guest(scenario)


def _pinned_profiles(pin: Expect) -> str:
    """What is wrong with the profiles of a pin, or "": it would be held against no kernel."""
    if pin.profile == ():
        return "'expect' names no profile; leave 'profile' out to pin every one"
    for name in pin.profiles:
        if name not in PROFILES:
            return f"'expect' names unknown profile '{name}'; known: {', '.join(PROFILES)}"
    return ""


def _pgtable(scenario: PgtableScenario) -> Problem | None:
    if scenario.memcache is not None and scenario.memcache > MAX_MEMCACHE:
        return None, f"memcache {scenario.memcache} is out of range; at most {MAX_MEMCACHE}"
    last = len(scenario.steps) - 1
    for index, step in enumerate(scenario.steps):
        if isinstance(step, sc.Destroy) and index != last:
            return index, "destroy is the last step only; move it to the end"
        for key in ("ipa", "size", "pa", "owner"):
            value = getattr(step, key, 0)
            if value > MAX_ADDRESS:
                return index, f"{key} {value:#x} does not fit in 64 bits"
        if getattr(step, "ipa", 0) + getattr(step, "size", 0) > MAX_ADDRESS:
            return index, "ipa + size wraps around 64 bits; make size smaller"
        memcache = getattr(step, "memcache", None)
        if isinstance(memcache, int) and memcache > MAX_MEMCACHE:
            return index, f"memcache {memcache} is out of range; at most {MAX_MEMCACHE}"
    return None
