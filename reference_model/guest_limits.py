# SPDX-License-Identifier: GPL-2.0-only
"""What a profile's kernel or an environment cannot do of a guest scenario: the reason of a skip."""

from __future__ import annotations

from reference_model import scenario as sc
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import GuestScenario
from reference_model.slots import RING_ENTRY_BYTES

_K, _M, _G = 1 << 10, 1 << 20, 1 << 30
#: Sizes of hugetlb pages and of stage-2 leaves, by granule.
_HUGETLB = {
    12: (64 * _K, 2 * _M, 32 * _M, _G),
    14: (2 * _M, 32 * _M, _G),
    16: (2 * _M, 512 * _M),
}
_LEAVES = {12: (4 * _K, 2 * _M, _G), 14: (16 * _K, 32 * _M), 16: (64 * _K, 512 * _M)}


def unsupported(scenario: GuestScenario, profile: SemanticsProfile, env: Environment) -> str:
    """Why the scenario cannot run there, or ""."""
    vm = scenario.vm
    if vm.ipa_bits > env.ipa_limit:
        return f"vm.ipa_bits {vm.ipa_bits} is over the host's limit of {env.ipa_limit}"
    beyond = [s for s in scenario.steps if getattr(s, "gpa", 0) >> env.ipa_limit]
    if beyond:
        return f"gpa {getattr(beyond[0], 'gpa', 0):#x} is over the host's {env.ipa_limit}-bit limit"
    return (
        _ring(vm, profile, env)
        or _split(vm, profile, env)
        or _backings(scenario, profile, env)
        or _steps(scenario, profile, env)
    )


def _ring(vm: sc.VmConfig, profile: SemanticsProfile, env: Environment) -> str:
    if not vm.dirty_ring:
        return ""
    if not profile.fault.dirty_ring:
        return f"the kernel of profile {profile.name} has no dirty ring"
    least = env.page_size // RING_ENTRY_BYTES
    if vm.dirty_ring < least:
        return f"dirty_ring {vm.dirty_ring} is less than a page of entries ({least})"
    return ""


def _split(vm: sc.VmConfig, profile: SemanticsProfile, env: Environment) -> str:
    if not vm.eager_split:
        return ""
    if not profile.fault.eager_split:
        return f"the kernel of profile {profile.name} has no eager splitting"
    if env.mode == "protected" and profile.fault.protected_calls_hyp:
        return "there is no eager splitting in protected mode"
    if vm.eager_split not in _LEAVES[env.page_shift]:
        return f"eager_split {vm.eager_split:#x} is no leaf size with {env.granule} pages"
    return ""


def _backings(scenario: GuestScenario, profile: SemanticsProfile, env: Environment) -> str:
    for step in scenario.steps:
        if not isinstance(step, sc.SlotAdd):
            continue
        backing = step.backing
        if backing.page_size is not None and backing.page_size not in _HUGETLB[env.page_shift]:
            return f"no hugetlb pages of {backing.page_size:#x} with {env.granule} pages"
        reason = _device(step, profile, env) if backing.kind == "device" else ""
        if reason:
            return reason
        if backing.offset % env.page_size:
            return f"backing offset {backing.offset:#x} is no multiple of {env.granule}"
    return ""


def _device(step: sc.SlotAdd, profile: SemanticsProfile, env: Environment) -> str:
    if env.mode == "protected" and profile.fault.protected_calls_hyp:
        return "the hypervisor shares no memory of devices with a guest in protected mode"
    if profile.fault.device_blocks and step.size >= _LEAVES[env.page_shift][1]:
        return (
            f"the kernel of profile {profile.name} gives device memory blocks by its physical "
            "address, which is the device's affair"
        )
    return ""


def _steps(scenario: GuestScenario, profile: SemanticsProfile, env: Environment) -> str:
    for step in scenario.steps:
        if isinstance(step, sc.UffdRegister):
            for mode, known in (("wp", profile.fault.uffd_wp), ("minor", profile.fault.uffd_minor)):
                if mode in step.mode and not known:
                    return f"the kernel of profile {profile.name} has no userfaultfd {mode} mode"
        if isinstance(step, sc.UffdContinue) and not profile.fault.uffd_minor:
            return f"the kernel of profile {profile.name} has no UFFDIO_CONTINUE"
        if isinstance(step, sc.Stage1Tables) and not step.af and not env.haf:
            return "the CPU does not set access flags (haf is off)"
    return ""
