# SPDX-License-Identifier: GPL-2.0-only
"""What operations of every suite are made of: the base type and the scalars of their keys."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

U64: TypeAlias = Annotated[int, Meta(ge=0)]
SlotId: TypeAlias = Annotated[int, Meta(ge=0, le=400)]
VcpuId: TypeAlias = Annotated[int, Meta(ge=0, le=63)]
AccessSize: TypeAlias = Literal[1, 2, 4, 8]


class Op(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    """One operation of a scenario; the struct's tag is the ``op`` of the language."""

    @property
    def name(self) -> str:
        """The operation's name in the language, e.g. ``map``."""
        return str(self.__struct_config__.tag)
