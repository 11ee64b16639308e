# SPDX-License-Identifier: GPL-2.0-only
"""Templates of C files; what is put in is made safe in :mod:`harness.render.text`."""

from __future__ import annotations

import functools

import jinja2

from harness.resources import resource_dir


@functools.cache
def c_template(name: str) -> jinja2.Template:
    """The template of that path below ``templates/``; a value that is not given is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource_dir("templates")),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - this is C
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
