# SPDX-License-Identifier: GPL-2.0-only
"""Knobs of the fault path and the memslot ioctls: what differs by kernel, with its source."""

from __future__ import annotations

from msgspec import Struct


class FaultKnobs(Struct, frozen=True, kw_only=True):
    """How one kernel generation turns a guest abort into its effect."""

    #: A translation fault at or above the VM's IPA size injects an external abort without a
    #: kvm_guest_fault event; else it goes through the memslot lookup like any hole.
    oob_injects: bool


FAULT_KNOBS: dict[str, FaultKnobs] = {
    "v5.10": FaultKnobs(oob_injects=False),
    "seed-2021": FaultKnobs(oob_injects=False),
    "v6.1": FaultKnobs(oob_injects=True),
    "v6.12": FaultKnobs(oob_injects=True),
    "v7.2": FaultKnobs(oob_injects=True),
}
