# SPDX-License-Identifier: GPL-2.0-only
"""Profiles and environments: what differs between kernels and hosts, as data.

A profile is a set of knobs, never an ``if version`` in the model; the knobs of each room stand in
:mod:`reference_model.stage2_knobs` and :mod:`reference_model.fault_knobs`, and where they were read
in ``stage2_sources`` and ``fault_sources`` beside these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from reference_model.fault_knobs import FAULT_KNOBS, FaultKnobs
from reference_model.stage2_knobs import STAGE2_KNOBS, Stage2Knobs


class SemanticsProfile(Struct, frozen=True, kw_only=True):
    """The semantics of one kernel generation."""

    name: str
    #: (major, minor) of the first release that behaves so; None: no released kernel does.
    since: tuple[int, int] | None
    stage2: Stage2Knobs
    fault: FaultKnobs


def _profile(name: str, since: tuple[int, int] | None) -> SemanticsProfile:
    return SemanticsProfile(
        name=name, since=since, stage2=STAGE2_KNOBS[name], fault=FAULT_KNOBS[name]
    )


PROFILES: dict[str, SemanticsProfile] = {
    profile.name: profile
    for profile in (
        _profile("v5.10", (5, 10)),
        _profile("seed-2021", None),
        _profile("v6.1", (6, 1)),
        _profile("v6.12", (6, 12)),
        _profile("v7.2", (7, 2)),
        _profile("v7.3", (7, 3)),
    )
}


class ProfileChoice(Struct, frozen=True):
    """The profile for a running kernel; ``note`` says where the choice is a stretch."""

    profile: SemanticsProfile
    note: str


def profile_named(name: str) -> SemanticsProfile:
    """The profile of that name; ValueError that lists the names where there is none."""
    if name not in PROFILES:
        raise ValueError(f"no profile '{name}'; known: {', '.join(PROFILES)}")
    return PROFILES[name]


def profile_for_release(release: str) -> ProfileChoice:
    """The newest profile not newer than the kernel (``uname -r``).

    ValueError where the release has no version in it or is older than every profile.
    """
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None:
        raise ValueError(f"kernel release '{release}' has no version in it; give --profile")
    version = (int(match[1]), int(match[2]))
    dated = sorted(
        ((p.since, p) for p in PROFILES.values() if p.since is not None), key=lambda pair: pair[0]
    )
    fitting = [profile for since, profile in dated if since <= version]
    if not fitting:
        raise ValueError(
            f"kernel {release} is older than every profile ({dated[0][1].name}); give --profile"
        )
    profile = fitting[-1]
    note = ""
    if version != profile.since:
        what = "newer than every profile" if profile is dated[-1][1] else "between two profiles"
        note = f"kernel {release} is {what}: judged by {profile.name}, the newest not newer"
    return ProfileChoice(profile, note)


_SWITCHES = ("fwb", "dic", "tlb_range", "haf", "xnx", "lpa2", "pa_52", "zva_keeps_code")
_PAGE_SHIFT = {"4K": 12, "16K": 14, "64K": 16}


class Environment(Struct, frozen=True, kw_only=True):
    """Host facts that change what is right but are no kernel version.

    The defaults are those of QEMU's ``neoverse-n1`` under a VHE kernel with 4K pages.
    """

    page_shift: int = 12
    ipa_limit: int = 48
    fwb: bool = False
    dic: bool = False
    tlb_range: bool = False
    haf: bool = True
    xnx: bool = True
    lpa2: bool = False
    #: CONFIG_ARM64_PA_BITS_52, which only kernels with 64K pages ask for without LPA2.
    pa_52: bool = True
    #: QEMU before 8.2 runs translated code of a page again that DC ZVA has cleared, unless it began
    #: where a block of DC ZVA does ("accel/tcg: Forward probe size on to notdirty_write"). Kernels
    #: clear pages by DC ZVA.
    zva_keeps_code: bool = False
    #: "vhe", "nvhe", "hvhe" or "protected".
    mode: str = "vhe"

    @property
    def page_size(self) -> int:
        """PAGE_SIZE in bytes."""
        return 1 << self.page_shift

    @property
    def granule(self) -> str:
        """PAGE_SIZE as the language writes it: 4K, 16K or 64K."""
        return {shift: name for name, shift in _PAGE_SHIFT.items()}[self.page_shift]

    @classmethod
    def parse(cls, items: Iterable[tuple[str, str]]) -> Environment:
        """From (key, value) text such as ("fwb", "on"); ValueError names a bad one."""
        values: dict[str, object] = {}
        for key, text in items:
            if key == "granule":
                if text.upper() not in _PAGE_SHIFT:
                    raise ValueError(f"granule '{text}' is none of {', '.join(_PAGE_SHIFT)}")
                values["page_shift"] = _PAGE_SHIFT[text.upper()]
            elif key == "ipa_limit":
                if not text.isdigit() or not 32 <= int(text) <= 52:
                    raise ValueError(f"ipa_limit '{text}' is not a number of bits in 32..52")
                values[key] = int(text)
            elif key == "mode":
                if text not in ("vhe", "nvhe", "hvhe", "protected"):
                    raise ValueError(f"mode '{text}' is none of vhe, nvhe, hvhe, protected")
                values[key] = text
            elif key in _SWITCHES:
                values[key] = _switch(key, text)
            else:
                known = ", ".join(("granule", "ipa_limit", "mode", *_SWITCHES))
                raise ValueError(f"no environment fact '{key}'; known: {known}")
        return cls(**values)  # type: ignore[arg-type]

    def facts(self) -> dict[str, str]:
        """The environment as the text that :meth:`parse` takes."""
        out = {"granule": self.granule, "ipa_limit": str(self.ipa_limit), "mode": self.mode}
        for key in _SWITCHES:
            out[key] = "on" if getattr(self, key) else "off"
        return out

    def unmet(self, required: dict[str, str | bool | int]) -> str:
        """Why this environment does not meet a scenario's ``env``, or ""."""
        facts = self.facts()
        for key, value in required.items():
            text = ("on" if value else "off") if isinstance(value, bool) else str(value)
            if key not in facts:
                return f"needs {key}={text}, which is no environment fact"
            # "!protected": anything but.
            met = facts[key].lower() == text.removeprefix("!").lower()
            if met == text.startswith("!"):
                return f"needs {key}={text}, the target has {facts[key]}"
        return ""


def _switch(key: str, text: str) -> bool:
    if text in ("on", "true", "1", "yes"):
        return True
    if text in ("off", "false", "0", "no"):
        return False
    raise ValueError(f"{key} '{text}' is neither on nor off")
