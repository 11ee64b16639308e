# SPDX-License-Identifier: GPL-2.0-only
"""Where a campaign of suite guest looks closely: other weights for what is drawn.

What takes three rare steps on one huge page is met once in thousands of ordinary scenarios. And
what one step undoes is seldom seen where all steps are drawn: a swarm leaves some out, others in
each scenario.
"""

from __future__ import annotations

from random import Random

from msgspec import Struct
from msgspec.structs import replace

from harness.vocabulary import UsageError


class Focus(Struct, frozen=True, kw_only=True):
    """Factors of the ordinary weights, by the names of the actions; 1 where none is given.

    ``about``: in words. ``actions`` of the walk, ``host`` those on ranges of memory. ``huge``,
    ``hugetlb`` and ``file``: how many of the new slots have huge pages, hugetlb pages or a file
    behind them beside those that have it anyway. ``ring`` and ``eager``: how many of the VMs have
    a dirty ring, and split blocks eagerly; ``wp``: how much of userfaultfd is for write protection.
    ``parts``: how many ranges begin at any page and end at any; ``reads``: how many
    of the changes of a range have the guest look at its edges next. ``length``: steps, at least and
    at most.
    """

    about: str
    actions: dict[str, float] = {}
    host: dict[str, float] = {}
    huge: float = 0.0
    hugetlb: float = 0.0
    file: float = 0.0
    ring: float = 0.14
    eager: float = 0.1
    wp: float = 0.15
    parts: float = 0.0
    reads: float = 0.0
    length: tuple[int, int] = (5, 24)
    #: Drawn anew for each scenario (:func:`drawn`).
    swarm: bool = False


#: An ordinary campaign.
NONE = Focus(about="everything, as it comes")

FOCI: dict[str, Focus] = {
    "host": Focus(
        about="what the host does to memory",
        actions={"on_range": 7, "host_write": 2, "host_read": 2, "dirty": 0.5, "hole": 0.3},
        length=(8, 28),
    ),
    "huge": Focus(
        about="huge pages in parts: reclaim, protection, fork, collapse",
        actions={"on_range": 6, "host_write": 2, "dirty": 0.5, "hole": 0.2, "slot_add": 0.5},
        host={"free": 3, "reclaim": 4, "mprotect": 3, "fork": 3, "collapse": 1.5, "age": 0.5},
        huge=0.85,
        length=(6, 22),
    ),
    "parts": Focus(
        about="odd ranges of huge pages, and the guest at their edges next",
        actions={"on_range": 8, "host_write": 1.5, "dirty": 0.5, "hole": 0.2, "slot_add": 0.4},
        host={"free": 2, "reclaim": 2, "mprotect": 3, "fork": 3, "remap": 1.5, "age": 0.5},
        huge=0.85,
        parts=0.7,
        reads=0.6,
        length=(8, 26),
    ),
    "log": Focus(
        about="dirty logs and rings, and huge pages that they split",
        actions={"dirty": 4, "dirty_clear": 5, "slot_flags": 2, "slot_move": 2, "round": 4},
        huge=0.3,
        ring=0.35,
        eager=0.3,
    ),
    "slots": Focus(
        about="memslots that come, change, move and go",
        actions={"slot_add": 6, "slot_flags": 3, "slot_move": 5, "slot_delete": 6, "hole": 2},
        length=(8, 28),
    ),
    "uffd": Focus(
        about="userfaultfd and files",
        actions={"on_range": 6, "host_write": 2, "host_read": 2, "round": 2, "hole": 0.3},
        host={"userfaultfd": 8, "punch_hole": 2},
        file=0.5,
        wp=0.4,
        parts=0.3,
        reads=0.4,
        length=(6, 22),
    ),
    "hugetlb": Focus(
        about="hugetlb pages",
        actions={"on_range": 7, "host_write": 2, "round": 1.5, "slot_add": 0.5, "hole": 0.3},
        host={"free": 0.1, "pageout": 0.1, "reclaim": 0.1, "mprotect": 3},
        hugetlb=0.85,
        reads=0.4,
        length=(6, 22),
    ),
    "tables": Focus(
        about="stage-1 tables of the guest's own",
        actions={"tables": 8, "exec": 2, "cas": 2, "on_range": 2, "slot_flags": 2},
    ),
    "swarm": Focus(about="a few things at a time, others in each scenario", swarm=True),
}

#: What a swarm leaves in, leaves out, or has much of.
_SWARM_ACTIONS = (
    *("exec", "cas", "dc_zva", "dc_civac", "tables", "dirty", "dirty_clear", "slot_flags"),
    *("slot_add", "slot_move", "slot_delete", "host_write", "host_read", "on_range", "round"),
)
_SWARM_HOST = (
    *("dontneed", "pageout", "mprotect", "remap", "fork", "free", "reclaim", "age", "advice"),
    *("punch_hole", "collapse", "userfaultfd"),
)
_SWARM_FACTORS = (0.0, 0.0, 0.3, 1.0, 3.0, 8.0)


def focus_named(name: str) -> Focus:
    """The focus of that name, "" for none; UsageError where there is no such."""
    if not name:
        return NONE
    if name not in FOCI:
        raise UsageError(f"--focus {name}: this version has: {', '.join(FOCI)}")
    return FOCI[name]


def drawn(focus: Focus, random: Random) -> Focus:
    """The focus of one scenario: itself, or for a swarm one that is drawn."""
    if not focus.swarm:
        return focus
    actions = {name: random.choice(_SWARM_FACTORS) for name in _SWARM_ACTIONS}
    # Most that there is to find is about what the host does to what the guest has mapped.
    actions["on_range"] = random.choice((0.5, 2, 6, 12))
    host = {name: random.choice(_SWARM_FACTORS) for name in _SWARM_HOST}
    host["dontneed"] = max(host["dontneed"], 0.1)
    return replace(
        focus,
        actions={**actions, "hole": 0.1, "beyond": 0.1},
        host=host,
        huge=random.choice((0.0, 0.0, 0.9)),
        hugetlb=random.choice((0.0, 0.0, 0.0, 0.5)),
        file=random.choice((0.0, 0.0, 0.7)),
        ring=random.choice((0.0, 0.0, 0.5)),
        eager=random.choice((0.0, 0.0, 0.5)),
        wp=random.choice((0.0, 0.2, 0.8)),
        parts=random.choice((0.0, 0.3, 0.9)),
        reads=random.choice((0.0, 0.3, 0.8)),
        length=(8, 26),
    )
