# SPDX-License-Identifier: GPL-2.0-only
"""What the model allows for a step, in the few words of a comment."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

from reference_model.describe import size_text
from reference_model.outcome import Observation, Prediction

_MOST_ALTERNATIVES = 3
_MOST_RUNS = 6


def expectation(prediction: Prediction | None, step: int) -> str:
    """``ret 0, 1 fault: map 4K``; "" where the model says nothing of the step."""
    if prediction is None or step >= len(prediction.steps):
        return ""
    allowed = prediction.steps[step].allowed
    told = list(dict.fromkeys(observation_words(one) for one in allowed))
    more = f" or {len(told) - _MOST_ALTERNATIVES} more" if len(told) > _MOST_ALTERNATIVES else ""
    return " or ".join(told[:_MOST_ALTERNATIVES]) + more


def observation_words(seen: Observation) -> str:
    """One observation of a guest step in words, the telling parts first."""
    words = []
    if seen.ret is not UNSET:
        words.append(f"ret {errno_name(seen.ret)}")
    if isinstance(seen.data, int):
        words.append(f"data {seen.data:#x}")
    if isinstance(seen.exit, dict):
        words.append(_exit(seen.exit))
    if isinstance(seen.injected, dict):
        words.append(_injected(seen.injected))
    if seen.dirty is not UNSET:
        words.append(f"dirty {page_set(seen.dirty)}")
    if seen.faults is not UNSET and seen.faults:
        words.append(f"{seen.faults} fault{'s' if seen.faults > 1 else ''}")
    if seen.maps is not UNSET and seen.maps:
        words.append(" and ".join(_map_call(call) for call in seen.maps))
    return ", ".join(words)


def errno_name(ret: int) -> str:
    """-22 as -EINVAL; what is no errno as a number."""
    name = errno.errorcode.get(-ret) if ret < 0 else None
    return f"-{name}" if name else str(ret)


def page_set(pages: Iterable[int]) -> str:
    """Page offsets as ``{ 0-3, 7 }``; long ones are cut."""
    runs: list[list[int]] = []
    for page in pages:
        if runs and page == runs[-1][1] + 1:
            runs[-1][1] = page
        else:
            runs.append([page, page])
    told = [str(low) if low == high else f"{low}-{high}" for low, high in runs[:_MOST_RUNS]]
    if len(runs) > _MOST_RUNS:
        told.append("...")
    return f"{{ {', '.join(told)} }}" if told else "{ }"


def _exit(leaving: dict[str, Any]) -> str:
    if leaving.get("reason") != "mmio":
        return f"exit {leaving.get('reason')}"
    kind = "write" if leaving.get("write") else "read"
    return f"MMIO {kind}"


def _injected(abort: dict[str, Any]) -> str:
    fsc = f" fsc {abort['fsc']:#x}" if isinstance(abort.get("fsc"), int) else ""
    return f"guest takes {abort.get('ec')}{fsc}"


def _map_call(call: tuple[Any, ...]) -> str:
    ret = call[-1]
    size = f" {size_text(call[2])}" if call[0] == "map" else ""
    return f"{call[0]}{size}" + (f" {errno_name(ret)}" if ret else "")
