# SPDX-License-Identifier: GPL-2.0-only
"""The command line: one small module per command, loaded when it is called."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Entry point. Interrupted while its modules still load, it ends as quietly as later."""
    try:
        from harness.cli.root import run  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.stderr.write("harness: interrupted\n")
        sys.exit(130)
    run(argv)
