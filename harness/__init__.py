# SPDX-License-Identifier: GPL-2.0-only
"""Everything with I/O: kernels, targets, toolchain, runs, comparison and reports."""

__version__ = "0.1.0"
