# SPDX-License-Identifier: GPL-2.0-only
"""A finding comes in; one C file goes out that shows it without this project.

The prediction of the model becomes assertions; the comment on top says what was expected, what was
seen, on which kernel, and why the model says so.
"""

from harness.render.repro.door import FLAVOURS, render_repro

__all__ = ["FLAVOURS", "render_repro"]
