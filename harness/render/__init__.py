# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios come in; C source goes out, which a person reads top to bottom.

This room must never know a compiler, a target or a result.
"""

from harness.render.batch import render_batch, render_one

__all__ = ["render_batch", "render_one"]
