# SPDX-License-Identifier: GPL-2.0-only
"""Where the project's C, templates and corpus are: in a checkout, or inside the installed wheel."""

from __future__ import annotations

from pathlib import Path

from harness.vocabulary import InfraError


def resource_dir(name: str) -> Path:
    """The folder ``kselftests``, ``templates`` or ``scenarios``, wherever this code runs from."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "data" / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise InfraError(
        f"{name}/ is neither in the installed package nor beside it; install the wheel again"
    )
