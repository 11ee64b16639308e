# SPDX-License-Identifier: GPL-2.0-only
"""The command line: one small module per command, loaded when it is called."""

from harness.cli.main import main

__all__ = ["main"]
