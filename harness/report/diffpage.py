# SPDX-License-Identifier: GPL-2.0-only
"""``harness diff --html``: the lines of the terminal as one page that needs nothing else."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jinja2

from harness.report.diff import Line
from harness.resources import resource_dir


def diff_page(title: str, blocks: Sequence[Sequence[Line]]) -> str:
    """The HTML text; a block is one finding, or one pair of kernels. Everything is escaped."""
    return _template().render(title=title, blocks=blocks)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource_dir("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("diff.html.j2")
