# SPDX-License-Identifier: GPL-2.0-only
"""Where kernels come from: in goes a SPEC text, out comes an Image that QEMU boots.

This room must never know targets, scenarios or profiles.
"""

from harness.kernels.headers import fetch_headers
from harness.kernels.own import build_of, installed_build, kernel_build
from harness.kernels.resolve import CachedKernel, list_cached, resolve
from harness.kernels.spec import KernelSpec, SpecKind, parse_spec

__all__ = [
    "CachedKernel",
    "KernelSpec",
    "SpecKind",
    "build_of",
    "fetch_headers",
    "installed_build",
    "kernel_build",
    "list_cached",
    "parse_spec",
    "resolve",
]
