# SPDX-License-Identifier: GPL-2.0-only
"""Attributes of a stage-2 leaf, at the bits where the kernel has them.

An attribute value is the leaf descriptor without its output address, valid and type bits: bits
11:2 and 63:51 (KVM_PTE_LEAF_ATTR_LO and _HI). The shareability field is left out: it is the same
in every leaf of a table. v7.2's two-bit XN field holds only 0b00 or 0b10 here, since the language
grants execution to both exception levels or to none, so that its bit 54 is XN in every version.
"""

from __future__ import annotations

import errno
from functools import cache

MEMATTR = 0xF << 2
READ = 1 << 6
WRITE = 1 << 7
AF = 1 << 10
XN = 1 << 54
SW_SHIFT = 55
SW = 0xF << SW_SHIFT
#: KVM_PTE_LEAF_ATTR_S2_PERMS: what map leaves to relax_perms.
PERMS = READ | WRITE | XN

#: PAGE_S2_MEMATTR(): the field's value by memory type, without and with FEAT_S2FWB.
_MEMATTR_PLAIN = {"normal": 0xF << 2, "nc": 0x5 << 2, "device": 0x1 << 2}
_MEMATTR_FWB = {"normal": 0x6 << 2, "nc": 0x5 << 2, "device": 0x1 << 2}

#: ``(prot, sw, af, attr)`` of a leaf, as an observation shows them.
Words = tuple[str, int, bool, str]


def memattr(kind: str, fwb: bool) -> int:
    """MemAttr[3:0] in place, of ``normal``, ``nc`` or ``device`` memory."""
    return (_MEMATTR_FWB if fwb else _MEMATTR_PLAIN)[kind]


def permissions(prot: str) -> tuple[str, str]:
    """The language's ``rwx-device`` as its letters and its memory type."""
    letters, _, kind = prot.partition("-")
    return letters, kind or "normal"


@cache
def leaf_attr(prot: str, sw: int, fwb: bool) -> int:
    """The attributes of a new leaf, or -EINVAL (stage2_set_prot_attr, any version).

    The access flag is always set; nothing requires that a leaf be readable.
    """
    letters, kind = permissions(prot)
    executable = "x" in letters
    if executable and kind != "normal":
        return -errno.EINVAL
    attr = memattr(kind, fwb) | AF | sw << SW_SHIFT
    if "r" in letters:
        attr |= READ
    if "w" in letters:
        attr |= WRITE
    if not executable:
        attr |= XN
    return attr


@cache
def words(attr: int, fwb: bool) -> Words:
    """The attributes in the words of an observation's leaf run."""
    prot = "r" * bool(attr & READ) + "w" * bool(attr & WRITE) + "x" * (not attr & XN)
    kinds = {value: kind for kind, value in (_MEMATTR_FWB if fwb else _MEMATTR_PLAIN).items()}
    return prot, (attr & SW) >> SW_SHIFT, bool(attr & AF), kinds[attr & MEMATTR]
