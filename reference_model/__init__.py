# SPDX-License-Identifier: GPL-2.0-only
"""The reference model: a scenario, a profile and an environment in; what KVM may do, out.

Pure: no I/O, no clock, no randomness, and no knowledge of the harness or of any run it judges.
"""

from reference_model.machine import predict

__all__ = ["predict"]
