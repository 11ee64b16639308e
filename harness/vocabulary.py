# SPDX-License-Identifier: GPL-2.0-only
"""The words all rooms share: verdicts, findings, images, targets' facts, and the error tree.

Nothing here does I/O. A word that two rooms need stands here, or in :mod:`harness.runs` if it is
one of a whole run; everything else stays in its room.
"""

from __future__ import annotations

import enum
from typing import Any

from msgspec import Struct

from reference_model.outcome import Observation, Prediction
from reference_model.scenario import Scenario

# --- errors: one tree; the exit status says whose failure it is ------------------------------


class HarnessError(Exception):
    """Root of every expected failure. The message says what, where, and what to do."""

    exit_status = 3


class UsageError(HarnessError):
    """Wrong command line or input: status 2, nothing half-written."""

    exit_status = 2


class InfraError(HarnessError):
    """The machine, the link, the network or a tool failed: never a kernel's result."""


class ToolMissingError(InfraError):
    """A program that is needed is not installed; the message carries the install command."""


class NetworkError(InfraError):
    """The archive cannot be reached and nothing is cached."""


class BuildError(InfraError):
    """The compiler or the module build failed."""


class NoModuleError(InfraError):
    """The white-box module cannot be had for a kernel: its suite is a SKIP with this reason."""


class TargetError(InfraError):
    """A target cannot be used: unreachable, wrong host key, no /dev/kvm."""


class TransportLostError(TargetError):
    """The link to a target broke while something ran on it."""


class BootError(TargetError):
    """A QEMU guest did not come up."""


# --- verdicts ----------------------------------------------------------------------------------


class Verdict(enum.Enum):
    """What is said of one scenario on one target."""

    MATCH = "MATCH"
    DIVERGE = "DIVERGE"
    KNOWN = "KNOWN"
    FLAKY = "FLAKY"
    SKIP = "SKIP"
    CRASH = "CRASH"
    HANG = "HANG"
    INFRA = "INFRA"

    @property
    def is_finding(self) -> bool:
        """True where the run must end with status 1."""
        return self in (Verdict.DIVERGE, Verdict.CRASH, Verdict.HANG)


# --- kernels and targets -----------------------------------------------------------------------


class Image(Struct, frozen=True, kw_only=True):
    """What QEMU boots: kernel + initramfs, and where it came from.

    Paths are absolute text; ``release`` is ``uname -r`` as the package or the file says it, ""
    where only booting can tell. ``key_file`` is the private SSH key whose public half is in the
    initramfs; ``host_key`` is the guest's SSH public host key, ``ssh-ed25519 AAAA…``. ``facts``
    are environment facts that its build settles, whatever the CPU has.
    """

    spec: str
    kernel: str
    initrd: str
    release: str
    origin: str
    key_file: str
    host_key: str
    facts: dict[str, str] = {}


class BuildTree(Struct, frozen=True, kw_only=True):
    """What a module for exactly one kernel is built with.

    ``headers`` is a folder that holds the kernel's header packages as if unpacked at /usr;
    ``source`` and ``output`` are in it, relative: the kernel's source tree as far as modules need
    it, and what its configuration made of it. ``tools`` is the root of a private Debian system
    with the compiler the kernel was built with; ``compiler`` is that program's name there.
    """

    release: str
    version: str
    headers: str
    source: str
    output: str
    tools: str
    compiler: str


#: Where a kernel's build leaves it, in the folder it is built in.
TREE_IMAGE = "arch/arm64/boot/Image"


class KernelBuild(Struct, frozen=True, kw_only=True):
    """A folder on this machine in which the kernel ``release`` was built, or its headers are."""

    release: str
    folder: str


class TargetInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a probe found on a target; part of every result.

    ``env`` holds the environment facts under the model's names (``granule``, ``ipa_limit``,
    ``fwb``, ``dic``, ``tlb_range``, ``haf``, ``xnx``, ``mode``), as text, as
    ``reference_model.profiles.Environment.parse`` takes them. ``missing`` maps a channel or
    ability that the target lacks to the reason.
    """

    name: str
    kind: str
    release: str
    machine: str = ""
    accel: str = ""
    cpu: str = ""
    env: dict[str, str] = {}
    tracefs: bool = False
    modules: bool = False
    hugepages: tuple[str, ...] = ()
    missing: dict[str, str] = {}
    boot_seconds: float = 0.0
    #: Command-line options that open this target again.
    opened_with: tuple[str, ...] = ()
    #: Which build of that release it is: ``uname -v``, and the GNU build ID of vmlinux in hex.
    version: str = ""
    build_id: str = ""

    def describe(self) -> str:
        """One line in the manner of EXPERIENCE: release, machine, mode, granule, IPA limit."""
        where = " ".join(part for part in (self.kind, self.accel, self.cpu) if part)
        facts = " ".join(
            part
            for part in (
                self.env.get("mode", "").upper(),
                self.env.get("granule", ""),
                f"{self.env['ipa_limit']}-bit" if "ipa_limit" in self.env else "",
            )
            if part
        )
        return f"{self.release}  {where}  {facts}"


# --- a batch: what goes to a target, and what comes back -------------------------------------


class BatchProgram(Struct, frozen=True, kw_only=True):
    """One static aarch64 ELF and the scenarios in it, in the ELF's order.

    ``files`` are local paths of what must stand beside the ELF, under their own names.
    """

    elf: str
    ids: tuple[str, ...]
    files: tuple[str, ...] = ()


#: Between two complaints of a kernel in the detail of a CRASH; a note follows in parentheses.
AND_COMPLAINT = "; "


class RunStatus(enum.Enum):
    """How the run of one scenario ended, before anything is compared."""

    DONE = "done"
    SKIP = "skip"
    CRASH = "crash"
    HANG = "hang"
    INFRA = "infra"


class ScenarioRun(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a target reported of one scenario.

    ``steps`` are the observations read so far (all of them where ``status`` is DONE); ``detail``
    is the reason of a SKIP, CRASH, HANG or INFRA; ``log`` the kernel log lines that belong to it;
    ``step`` the step at which it ended early, where that is known. ``micros`` passed in the
    selftest; of them ``module_micros`` in the white-box module, ``api_micros`` in the kernel's own.
    ``warned``: the kernel logged something of level warning or worse meanwhile, from and to when in
    microseconds of its log; None: it did not, or the selftest may not read that log.
    """

    id: str
    status: RunStatus
    steps: tuple[Observation, ...] = ()
    detail: str = ""
    log: tuple[str, ...] = ()
    step: int | None = None
    micros: int = 0
    module_micros: int = 0
    api_micros: int = 0
    warned: tuple[int, int] | None = None


class StepDifference(Struct, frozen=True, kw_only=True):
    """One channel of one step on which model (or pin) and kernel disagree.

    ``against``: "model" or "pinned" for what the kernel differs from, "model-pinned" where the
    model differs from a pinned expectation, "kernel" where one kernel (``expected``) differs from
    another, "invariant" where the kernel broke what must hold in every profile (``expected`` is
    the promise in words).
    """

    step: int
    channel: str
    expected: Any
    observed: Any
    against: str = "model"


_DIED = {RunStatus.CRASH: Verdict.CRASH, RunStatus.HANG: Verdict.HANG}


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One scenario on one target, judged.

    ``again`` are the repeats of the same input on the same target, in their order; ``known`` is
    the title of the listed divergence that it is; ``dropped`` says what of its evidence was too
    large to keep.
    """

    scenario: Scenario
    target: TargetInfo
    profile: str
    verdict: Verdict
    prediction: Prediction | None = None
    run: ScenarioRun | None = None
    differences: tuple[StepDifference, ...] = ()
    reason: str = ""
    compared: tuple[str, ...] = ()
    short_id: str = ""
    #: Channels that only the model or only the kernel had.
    not_compared: tuple[str, ...] = ()
    again: tuple[ScenarioRun, ...] = ()
    known: str = ""
    dropped: str = ""
    #: Facts that ``--env`` put over those of the target.
    env: dict[str, str] = {}
    #: Of the allowed outcomes of its parallel blocks: how many were seen, and how many there are.
    outcomes: tuple[int, int] = (0, 0)

    @property
    def died(self) -> Verdict | None:
        """CRASH or HANG where the kernel ended it so, also where that is KNOWN; else None."""
        if self.verdict is Verdict.KNOWN and self.run is not None:
            return _DIED.get(self.run.status)
        return self.verdict if self.verdict in (Verdict.CRASH, Verdict.HANG) else None

    @property
    def step(self) -> int | None:
        """The first step that differs, or the one at which the run ended early."""
        if self.differences:
            return self.differences[0].step
        return self.run.step if self.run is not None else None


class KnobReason(Struct, frozen=True, kw_only=True):
    """A knob of a profile on which a prediction hangs, and the kernel source it was read in."""

    knob: str
    value: str
    what: str
    source: str


class KnobFlip(Struct, frozen=True, kw_only=True):
    """One knob, set to another value, with which the model says what the kernel did.

    ``profiles`` have that value; ``whole``: all steps agree then, not only the first that differed.
    """

    knob: str
    value: str
    profiles: tuple[str, ...]
    source: str
    whole: bool


class Explanation(Struct, frozen=True, kw_only=True):
    """What the model can say about a difference, by asking it again with other knobs.

    ``because``: the knobs that decide what the model says at ``step``. ``flips``: the single knobs
    that explain the difference, those that explain all of it first. ``profiles``: whole profiles
    under which all steps agree. ``note``: why one of these is empty.
    """

    step: int
    profile: str
    because: tuple[KnobReason, ...] = ()
    flips: tuple[KnobFlip, ...] = ()
    profiles: tuple[str, ...] = ()
    note: str = ""


class KernelPair(Struct, frozen=True, kw_only=True):
    """One scenario on two kernels: what each was judged, and where the two differ.

    ``compared`` channels were read on both; ``reason`` says why nothing was compared.
    """

    base: Finding
    other: Finding
    differences: tuple[StepDifference, ...] = ()
    compared: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    explanation: Explanation | None = None
    reason: str = ""
