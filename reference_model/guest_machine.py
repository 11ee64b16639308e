# SPDX-License-Identifier: GPL-2.0-only
"""Runs the steps of a guest scenario over memory and fault path: one observation a step.

The ioctls are ``__kvm_set_memory_region``, ``kvm_get_dirty_log_protect`` and
``kvm_clear_dirty_log_protect`` of virt/kvm/kvm_main.c with arm64's ``kvm_arch_…`` hooks; the order
of their checks is the same from 5.10 to 7.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import UNSET

from reference_model import scenario as sc
from reference_model.fault import MMIO_FILL, Effect, GuestMemory
from reference_model.memory import HostMemory, Slot
from reference_model.outcome import Observation, Prediction, StepPrediction
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import RESERVED_GPA, GuestScenario

EINVAL, EEXIST, EFAULT, ENOENT = -22, -17, -14, -2
#: BITS_PER_LONG: the dirty bitmap is handled a word at a time.
_WORD = 64
_UDF = 0
_RET = 0xD65F_03C0


class UnpredictableError(ValueError):
    """A step that no kernel defines the outcome of; ``step`` is its number."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


def predict_guest(
    scenario: GuestScenario, profile: SemanticsProfile, env: Environment
) -> Prediction:
    """What the profile allows for each step; a skip where the environment lacks something.

    Raises UnpredictableError for a step whose outcome nothing defines.
    """
    skip = env.unmet(scenario.env) or _unsupported(scenario, env)
    if skip:
        return Prediction(id=scenario.id, profile=profile.name, skip=skip)
    _refuse_what_is_not_modelled(scenario)
    machine = _GuestMachine(scenario, profile, env)
    steps = tuple(
        StepPrediction((machine.step(index, step),)) for index, step in enumerate(scenario.steps)
    )
    return Prediction(id=scenario.id, profile=profile.name, steps=steps)


def _refuse_what_is_not_modelled(scenario: GuestScenario) -> None:
    """UnpredictableError for parts of the language that the model lacks."""
    plain = sc.VmConfig(
        vcpus=scenario.vm.vcpus,
        ipa_bits=scenario.vm.ipa_bits,
        manual_protect=scenario.vm.manual_protect,
    )
    if scenario.vm != plain:
        raise UnpredictableError(0, "the model does not know these vm options yet")
    for index, step in enumerate(scenario.steps):
        if isinstance(step, sc.SlotAdd) and step.backing not in _BACKINGS:
            raise UnpredictableError(index, f"the model does not know {step.backing} yet")
        if isinstance(step, sc.Madvise) and step.advice != "dontneed":
            raise UnpredictableError(index, f"the model does not know {step.advice} yet")
        if getattr(step, "form", "plain") != "plain" or getattr(step, "tables", None) is not None:
            raise UnpredictableError(index, "the model does not know this kind of access yet")


_BACKINGS = (sc.Backing(), sc.Backing(prefill=True))


def _unsupported(scenario: GuestScenario, env: Environment) -> str:
    if scenario.vm.ipa_bits > env.ipa_limit:
        return f"vm.ipa_bits {scenario.vm.ipa_bits} is over the host's limit of {env.ipa_limit}"
    beyond = [s for s in scenario.steps if getattr(s, "gpa", 0) >> env.ipa_limit]
    if beyond:
        return f"gpa {getattr(beyond[0], 'gpa', 0):#x} is over the host's {env.ipa_limit}-bit limit"
    return ""


class _GuestMachine:
    def __init__(
        self, scenario: GuestScenario, profile: SemanticsProfile, env: Environment
    ) -> None:
        self._env = env
        protected = env.mode == "protected"
        self._ipa_bits = scenario.vm.ipa_bits
        if protected and profile.fault.protected_ipa_is_limit:
            self._ipa_bits = env.ipa_limit
        self._hides_maps = protected and profile.fault.protected_calls_hyp
        self._memory = GuestMemory(self._ipa_bits, profile.fault, env)
        self._manual = bool(scenario.vm.manual_protect)
        self._init_set = scenario.vm.manual_protect == "init_set"
        self._index = 0
        self._handlers: dict[type[Any], Callable[[Any], Observation]] = {
            sc.Read: self._read,
            sc.Write: self._write,
            sc.Exec: self._exec,
            sc.SlotAdd: self._slot_add,
            sc.SlotFlags: self._slot_flags,
            sc.SlotMove: self._slot_move,
            sc.SlotDelete: self._slot_delete,
            sc.DirtyGet: self._dirty_get,
            sc.DirtyClear: self._dirty_clear,
            sc.HostRead: self._host_read,
            sc.HostWrite: self._host_write,
            sc.Madvise: self._madvise,
        }

    def step(self, index: int, op: sc.GuestOp) -> Observation:
        """Run one operation on the state and tell what it shows."""
        self._index = index
        handler = self._handlers.get(type(op))
        if handler is None:
            raise UnpredictableError(index, f"the model does not know {op.name} yet")
        seen = handler(op)
        return msgspec.structs.replace(seen, maps=UNSET) if self._hides_maps else seen

    # --- the guest's side --------------------------------------------------------------------

    def _read(self, op: sc.Read) -> Observation:
        effect = self._memory.access(op.gpa, "r")
        data = None
        if effect.completed:
            data = self._load(op.gpa, op.size)
        elif effect.exit is not None:
            data = MMIO_FILL & ((1 << 8 * op.size) - 1)
        return self._vcpu(effect, op.gpa, op.size, data=data, is_load=True)

    def _write(self, op: sc.Write) -> Observation:
        effect = self._memory.access(op.gpa, "w")
        if effect.completed:
            slot, offset = self._backing(op.gpa)
            slot.memory.write(offset, op.size, op.value)
        return self._vcpu(effect, op.gpa, op.size, data=op.value, is_load=False)

    def _exec(self, op: sc.Exec) -> Observation:
        effect = self._memory.access(op.gpa, "x")
        injected, data = effect.injected, None
        if effect.completed:
            data = self._call(op.gpa)
            if data is None:
                injected = {"ec": "undef"}
        return Observation(
            ret=0, exit=None, injected=injected, data=data, faults=effect.faults, maps=effect.maps
        )

    def _call(self, gpa: int) -> int | None:
        """w0 after a call to gpa, None for an undefined instruction (a zero word)."""
        page_size = self._env.page_size
        first = self._load(gpa, 4)
        if first == _UDF:
            return None
        if first == _RET:
            return 0
        movz = first & ~(0xFFFF << 5) == 0x5280_0000
        if movz and gpa % page_size + 4 < page_size and self._load(gpa + 4, 4) == _RET:
            return (first >> 5) & 0xFFFF
        raise UnpredictableError(
            self._index,
            f"the code at {gpa:#x} ({first:#010x} …) is none the model follows; "
            "exec what prefill left there, 'movz w0, #n; ret', 'ret' or zeroes",
        )

    def _vcpu(
        self, effect: Effect, gpa: int, size: int, *, data: int | None, is_load: bool
    ) -> Observation:
        reason: dict[str, Any] | None = None
        if effect.exit is not None:
            reason = {"reason": effect.exit, "gpa": gpa, "len": size, "write": not is_load}
            if not is_load:
                reason["data"] = data
        seen = Observation(
            ret=0, exit=reason, injected=effect.injected, faults=effect.faults, maps=effect.maps
        )
        if not is_load:
            return seen
        return Observation(
            ret=0,
            exit=reason,
            injected=effect.injected,
            data=data,
            faults=effect.faults,
            maps=effect.maps,
        )

    def _load(self, gpa: int, size: int) -> int:
        slot, offset = self._backing(gpa)
        return slot.memory.read(offset, size)

    def _backing(self, gpa: int) -> tuple[Slot, int]:
        """Slot and byte offset behind a gpa; UnpredictableError where no slot is."""
        slot = self._memory.slot_at(gpa >> self._env.page_shift)
        if slot is None:
            raise UnpredictableError(self._index, f"no slot holds gpa {gpa:#x}; add one before")
        return slot, gpa - (slot.gfn << self._env.page_shift)

    # --- memslots ----------------------------------------------------------------------------

    def _slot_add(self, op: sc.SlotAdd) -> Observation:
        page_size = self._env.page_size
        if op.size % page_size or op.gpa % page_size:
            return _ioctl(EINVAL)
        if op.slot in self._memory.slots:
            # The new memory has another userspace_addr than the slot.
            return _ioctl(EINVAL)
        gfn, pages = op.gpa // page_size, op.size // page_size
        error = self._placement(op.slot, gfn, pages)
        if error:
            return _ioctl(error)
        slot = Slot(
            gfn,
            HostMemory(op.size, page_size, op.backing),
            readonly="readonly" in op.flags,
        )
        self._memory.slots[op.slot] = slot
        self._set_logging(slot, "log_dirty" in op.flags)
        return _ioctl(0)

    def _slot_flags(self, op: sc.SlotFlags) -> Observation:
        slot = self._memory.slots.get(op.slot)
        if slot is None:
            return _ioctl(ENOENT)
        if slot.readonly != ("readonly" in op.flags):
            return _ioctl(EINVAL)
        log = "log_dirty" in op.flags
        if log != (slot.dirty is not None):
            self._set_logging(slot, log)
        return _ioctl(0)

    def _slot_move(self, op: sc.SlotMove) -> Observation:
        slot = self._memory.slots.get(op.slot)
        if slot is None:
            return _ioctl(ENOENT)
        page_size = self._env.page_size
        if op.gpa % page_size:
            return _ioctl(EINVAL)
        gfn = op.gpa // page_size
        if gfn == slot.gfn:
            return _ioctl(0)
        if op.gpa < RESERVED_GPA.stop and op.gpa + slot.pages * page_size > RESERVED_GPA.start:
            raise UnpredictableError(
                self._index, f"the slot would meet the runtime's own at {RESERVED_GPA.start:#x}"
            )
        error = self._placement(op.slot, gfn, slot.pages)
        if error == EEXIST:
            return _ioctl(error)
        # kvm_set_memslot invalidates the old slot before kvm_arch_prepare_memory_region may
        # refuse the new place: its stage 2 is gone either way.
        self._memory.stage2.unmap(slot.gfn, slot.pages)
        if not error:
            slot.gfn = gfn
        return _ioctl(error)

    def _slot_delete(self, op: sc.SlotDelete) -> Observation:
        slot = self._memory.slots.pop(op.slot, None)
        if slot is None:
            return _ioctl(EINVAL)
        self._memory.stage2.unmap(slot.gfn, slot.pages)
        return _ioctl(0)

    def _placement(self, ident: int, gfn: int, pages: int) -> int:
        """Overlap is asked before the IPA size (kvm_arch_prepare_memory_region)."""
        for other, slot in self._memory.slots.items():
            if other != ident and gfn < slot.gfn + slot.pages and slot.gfn < gfn + pages:
                return EEXIST
        if gfn + pages > 1 << (self._ipa_bits - self._env.page_shift):
            return EFAULT
        return 0

    def _set_logging(self, slot: Slot, log: bool) -> None:
        """The bitmap and kvm_arch_commit_memory_region; stage 2 stays as it is on switching off."""
        if not log:
            slot.dirty = None
            return
        slot.dirty = set(range(slot.pages)) if self._init_set else set()
        if not self._init_set:
            self._memory.stage2.wrprotect(slot.gfn, slot.pages)

    # --- the dirty log -----------------------------------------------------------------------

    def _dirty_get(self, op: sc.DirtyGet) -> Observation:
        slot = self._memory.slots.get(op.slot)
        if slot is None or slot.dirty is None:
            return _ioctl(ENOENT)
        dirty = tuple(sorted(slot.dirty))
        if not self._manual:
            slot.dirty.clear()
            self._protect_spans(slot, dirty)
        return Observation(ret=0, dirty=dirty, faults=0, maps=())

    def _dirty_clear(self, op: sc.DirtyClear) -> Observation:
        slot = self._memory.slots.get(op.slot)
        if op.first_page % _WORD:
            return _ioctl(EINVAL)
        if slot is None or slot.dirty is None:
            return _ioctl(ENOENT)
        count = op.num_pages
        if count is None:
            count = max(slot.pages - op.first_page, 0)
        rest = slot.pages - op.first_page
        if rest < 0 or count > rest or (count < rest and count % _WORD):
            return _ioctl(EINVAL)
        # A whole word of the argument is looked at even where num_pages ends inside it.
        stop = op.first_page + -(-count // _WORD) * _WORD
        asked: Iterable[int] = range(op.first_page, op.first_page + count)
        if op.pages is not None:
            asked = [page for page in op.pages if op.first_page <= page < stop]
        cleared = sorted(slot.dirty.intersection(asked))
        slot.dirty.difference_update(cleared)
        self._protect_spans(slot, cleared)
        return _ioctl(0)

    def _protect_spans(self, slot: Slot, pages: Iterable[int]) -> None:
        """kvm_mmu_write_protect_pt_masked: per word, lowest to highest set bit inclusive."""
        spans: dict[int, tuple[int, int]] = {}
        for page in pages:
            low, high = spans.get(page // _WORD, (page, page))
            spans[page // _WORD] = (min(low, page), max(high, page))
        for low, high in spans.values():
            self._memory.stage2.wrprotect(slot.gfn + low, high - low + 1)

    # --- the host's side ---------------------------------------------------------------------

    def _host_read(self, op: sc.HostRead) -> Observation:
        slot, offset = self._backing(op.gpa)
        slot.memory.fault_in(offset // self._env.page_size, write=False)
        return Observation(ret=0, data=slot.memory.read(offset, op.size), faults=0, maps=())

    def _host_write(self, op: sc.HostWrite) -> Observation:
        slot, offset = self._backing(op.gpa)
        calls = self._memory.host_write(slot, offset // self._env.page_size)
        slot.memory.write(offset, op.size, op.value)
        return Observation(ret=0, faults=0, maps=calls)

    def _madvise(self, op: sc.Madvise) -> Observation:
        slot, offset = self._backing(op.gpa)
        page_size = self._env.page_size
        if offset % page_size:
            return _ioctl(EINVAL)
        pages = -(-op.size // page_size)
        first = offset // page_size
        if first + pages > slot.pages:
            raise UnpredictableError(self._index, "the range leaves its slot; make size smaller")
        self._memory.stage2.unmap(slot.gfn + first, pages)
        for page in range(first, first + pages):
            slot.memory.drop(page)
        return _ioctl(0)


def _ioctl(ret: int) -> Observation:
    """A host step that shows its return value and touches no page."""
    return Observation(ret=ret, faults=0, maps=())
