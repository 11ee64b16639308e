# SPDX-License-Identifier: GPL-2.0-only
"""From a VM's state and a block of operations to what the search of interleavings needs, and back.

``build`` numbers the pages, words and slots that the block touches. ``settle`` puts one end of the
block into a VM's state, for the steps behind it. Their leaves are left out there: which vCPU
faulted last shows in nothing but the number of faults, and a leaf that is writable has its page
marked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reference_model import scenario as sc
from reference_model.fault import GuestMemory
from reference_model.guest_machine import GuestMachine
from reference_model.interleave import EndState
from reference_model.interleave_block import (
    EXECUTABLE,
    HOST_ANON,
    HOST_MASK,
    HOST_NONE,
    HOST_ZERO,
    NO_ACCESS,
    NO_WRITE,
    PRESENT,
    WRITABLE,
    ZAPPED,
    Access,
    Block,
    BranchOp,
    ClearLog,
    Evict,
    Fixed,
    GetLog,
    PageRef,
    Protect,
    SetLogging,
    SlotRef,
    WordRef,
    Zap,
)
from reference_model.interleave_knobs import RaceKnobs
from reference_model.interleave_log import bits_of
from reference_model.memory import HostPage, HostProt
from reference_model.outcome import Observation
from reference_model.scenario import Parallel
from reference_model.slot_ioctls import EINVAL, ENOENT
from reference_model.slots import WORD, Slot
from reference_model.unpredictable import UndefinedError

_HOST = {
    HostPage.NONE: HOST_NONE,
    HostPage.ZERO: HOST_ZERO,
    HostPage.ANON: HOST_ANON,
    HostPage.FILE: HOST_ANON,
}
_WORD_BYTES = 8


def build(machine: GuestMachine, block: Parallel, vm: sc.VmConfig, knobs: RaceKnobs) -> Block:
    """The block over numbered pages; UndefinedError for what the model does not follow at once."""
    return _Builder(machine, vm).build(block, knobs)


class _Builder:
    """Numbers the pages and words of a block, and compiles its operations over them."""

    def __init__(self, machine: GuestMachine, vm: sc.VmConfig) -> None:
        self._machine = machine
        self._memory: GuestMemory = machine.memory
        self._env = self._memory.env
        self._vm = vm
        self._slots: dict[int, int] = {}
        self._pages: dict[PageRef, int] = {}
        self._words: dict[WordRef, int] = {}
        self._compilers: dict[type[Any], Callable[[Any], BranchOp]] = {
            sc.Read: self._guest_access,
            sc.Write: self._guest_access,
            sc.Exec: self._guest_access,
            sc.HostRead: self._host_access,
            sc.HostWrite: self._host_access,
            sc.DirtyGet: self._dirty_get,
            sc.DirtyClear: self._dirty_clear,
            sc.SlotFlags: self._slot_flags,
            sc.Madvise: self._madvise,
            sc.Mprotect: self._mprotect,
            sc.Age: self._age,
        }

    def build(self, block: Parallel, knobs: RaceKnobs) -> Block:
        """See :func:`build`; to be called once."""
        if any(slot.memory.is_device for slot in self._memory.slots.values()):
            raise UndefinedError("the model does not follow device memory beside a block")
        if self._vm.dirty_ring:
            raise UndefinedError("the model does not follow dirty rings in a block yet")
        for gpa in block.hold:
            self._page(gpa)
        # Pages that branches touch get their numbers first; a range names the ones in it.
        ranges = (sc.Madvise, sc.Mprotect)
        for branch in block.parallel:
            for op in branch:
                if not isinstance(op, ranges):
                    self._compiled(op)
        lanes = tuple(tuple(self._compiled(op) for op in branch) for branch in block.parallel)
        self._check_code(lanes)
        held = {gpa >> self._env.page_shift for gpa in block.hold}
        return Block(
            knobs=knobs,
            dic=self._env.dic,
            pages=tuple(self._pages),
            words=tuple(self._words),
            slots=tuple(self._slot_refs()),
            lanes=lanes,
            start=(
                tuple(self._page_state(page, held) for page in self._pages),
                tuple(self._memory.load(word.gpa, _WORD_BYTES) for word in self._words),
                tuple(_bitmap(self._memory.slots[ident]) for ident in self._slots),
            ),
        )

    def _compiled(self, op: sc.GuestOp) -> BranchOp:
        compiler = self._compilers.get(type(op))
        if compiler is None:
            raise UndefinedError(f"the model does not follow {op.name} in a block yet")
        return compiler(op)

    def _check_code(self, lanes: tuple[tuple[BranchOp, ...], ...]) -> None:
        """A fetch that races with a store to the same code is not predictable (B2.2.5)."""
        accesses = [op for lane in lanes for op in lane if isinstance(op, Access)]
        called = {op.word for op in accesses if op.kind == "x"}
        if any(op.word in called for op in accesses if op.kind in ("w", "c")):
            raise UndefinedError("a block both writes and calls the same code; drop one")

    # --- numbers -----------------------------------------------------------------------------

    def _slot_number(self, slot: Slot) -> int:
        return self._slots.setdefault(slot.ident, len(self._slots))

    def _slot_refs(self) -> list[SlotRef]:
        manual = self._vm.manual_protect
        return [
            SlotRef(ident, self._memory.slots[ident].pages, bool(manual), manual == "init_set")
            for ident in self._slots
        ]

    def _page(self, gpa: int) -> int:
        slot, offset = self._memory.backing(gpa)
        page = offset >> self._env.page_shift
        state, prot = slot.memory.state(page), slot.memory.prot(page)
        if state not in _HOST or prot is not HostProt.RW:
            raise UndefinedError(
                f"the host memory at {gpa:#x} ({state.name}, {prot.name}) is none that the model "
                "follows in a block; use plain memory"
            )
        ref = PageRef(self._slot_number(slot), page)
        return self._pages.setdefault(ref, len(self._pages))

    def _word(self, gpa: int, size: int) -> tuple[int, int, int]:
        """Word number, shift and mask of an access."""
        if gpa % size:
            raise UndefinedError(f"the access at {gpa:#x} is not aligned, and so not one step")
        base = gpa & -_WORD_BYTES
        ref = WordRef(base, self._page(base))
        number = self._words.setdefault(ref, len(self._words))
        return number, (gpa - base) * 8, (1 << 8 * size) - 1

    def _page_state(self, ref: PageRef, held: set[int]) -> int:
        slot = self._memory.slots[list(self._slots)[ref.slot]]
        gfn = slot.gfn + ref.offset
        state = _HOST[slot.memory.state(ref.offset)]
        found = self._memory.stage2.find(gfn)
        if found is None or gfn in held:
            return state
        leaf = found[1]
        return state | PRESENT | (WRITABLE if leaf.w else 0) | (EXECUTABLE if leaf.x else 0)

    # --- operations --------------------------------------------------------------------------

    def _guest_access(self, op: sc.Read | sc.Write | sc.Exec) -> BranchOp:
        gfn = op.gpa >> self._env.page_shift
        slot = self._memory.slot_at(gfn)
        beyond = bool(op.gpa >> self._memory.ipa_bits)
        if slot is None or beyond or (isinstance(op, sc.Write) and slot.readonly):
            seen = self._machine.step(0, op)
            return Fixed(_black_box(seen))
        if op.tables is not None or getattr(op, "form", "plain") != "plain" or not self._vm.stage1:
            raise UndefinedError("the model does not follow this kind of access in a block yet")
        size = 4 if isinstance(op, sc.Exec) else op.size
        word, shift, mask = self._word(op.gpa, size)
        page = self._page(op.gpa)
        kind = {"read": "r", "write": "w", "exec": "x"}[op.name]
        value = op.value if isinstance(op, sc.Write) else 0
        return Access(kind, page, word, shift, mask, value)

    def _host_access(self, op: sc.HostRead | sc.HostWrite) -> BranchOp:
        word, shift, mask = self._word(op.gpa, op.size)
        page = self._page(op.gpa)
        if isinstance(op, sc.HostRead):
            return Access("r", page, word, shift, mask, host=True)
        return Access("w", page, word, shift, mask, op.value, host=True)

    def _dirty_get(self, op: sc.DirtyGet) -> BranchOp:
        slot = self._memory.slots.get(op.slot)
        if slot is None:
            return Fixed(Observation(ret=ENOENT))
        number = self._slot_number(slot)
        words = {ref.offset // WORD for ref in self._pages if ref.slot == number}
        return GetLog(number, tuple(sorted(words)) or (0,))

    def _dirty_clear(self, op: sc.DirtyClear) -> BranchOp:
        slot = self._memory.slots.get(op.slot)
        if op.first_page % WORD:
            return Fixed(Observation(ret=EINVAL))
        if slot is None:
            return Fixed(Observation(ret=ENOENT))
        rest = slot.pages - op.first_page
        count = op.num_pages if op.num_pages is not None else max(rest, 0)
        if rest < 0 or count > rest or (count < rest and count % WORD):
            raise UndefinedError("a dirty_clear that the kernel refuses has no place in a block")
        stop = op.first_page + -(-count // WORD) * WORD
        asked = range(op.first_page, op.first_page + count)
        if op.pages is not None:
            mask = sum(1 << page for page in set(op.pages) if op.first_page <= page < stop)
        else:
            mask = ((1 << len(asked)) - 1) << op.first_page
        return ClearLog(self._slot_number(slot), mask)

    def _slot_flags(self, op: sc.SlotFlags) -> BranchOp:
        slot = self._memory.slots.get(op.slot)
        if slot is None:
            return Fixed(Observation(ret=ENOENT))
        if slot.readonly != ("readonly" in op.flags):
            return Fixed(Observation(ret=EINVAL))
        return SetLogging(self._slot_number(slot), "log_dirty" in op.flags)

    def _madvise(self, op: sc.Madvise) -> BranchOp:
        found = self._range(op.gpa, op.size)
        if found is None:
            return Fixed(Observation(ret=EINVAL))
        slot, pages = found
        if slot.memory.is_hugetlb or op.advice not in ("dontneed", "pageout"):
            raise UndefinedError(f"the model does not follow madvise {op.advice} here in a block")
        if op.advice == "pageout" or slot.memory.is_file:
            return Evict(pages)
        return Zap(pages)

    def _mprotect(self, op: sc.Mprotect) -> BranchOp:
        found = self._range(op.gpa, op.size)
        if found is None:
            return Fixed(Observation(ret=EINVAL))
        slot, pages = found
        if slot.memory.is_hugetlb:
            raise UndefinedError("the model does not follow mprotect of hugetlb memory in a block")
        return Protect(pages, {"none": NO_ACCESS, "r": NO_WRITE, "rw": 0}[op.prot])

    def _age(self, op: sc.Age) -> BranchOp:
        """The access flag shows in nothing but faults."""
        if self._range(op.gpa, op.size) is None:
            raise UndefinedError("ageing takes whole pages; align gpa to them")
        return Fixed(Observation(ret=0))

    def _range(self, gpa: int, size: int) -> tuple[Slot, tuple[int, ...]] | None:
        """Slot and numbers of the pages that branches touch; None: it begins inside a page."""
        slot, offset = self._memory.backing(gpa)
        if offset % self._env.page_size:
            return None
        if offset + size > slot.pages << self._env.page_shift:
            raise UndefinedError("the range leaves its slot; make size smaller")
        number = self._slot_number(slot)
        first = offset >> self._env.page_shift
        stop = first + -(-size // self._env.page_size)
        return slot, tuple(
            at
            for ref, at in self._pages.items()
            if ref.slot == number and first <= ref.offset < stop
        )


def _bitmap(slot: Slot) -> int:
    if slot.dirty is None:
        return -1
    return sum(1 << page for page in slot.dirty)


def _black_box(seen: Observation) -> Observation:
    """What a branch's operation shows: nothing of the trace, nothing of the tables."""
    return Observation(
        ret=seen.ret, exit=seen.exit, injected=seen.injected, data=seen.data, dirty=seen.dirty
    )


# --- and back ------------------------------------------------------------------------------------


def settle(memory: GuestMemory, built: Block, block: Parallel, end: EndState) -> None:
    """Puts one end of a block into a VM that is in the state the block began in."""
    pages, words, dirty = end
    for ref, bits in zip(built.slots, dirty, strict=True):
        slot = memory.slots[ref.ident]
        slot.log = bits >= 0
        slot.dirty = set(bits_of(bits)) if bits >= 0 else None
        memory.stage2.unmap(slot.gfn, slot.pages)
    _settle_ranges(memory, block)
    for page_ref, page in zip(built.pages, pages, strict=True):
        slot = memory.slots[built.slots[page_ref.slot].ident]
        if page & ZAPPED and not slot.memory.is_file:
            slot.memory.drop(page_ref.offset, 1)
        host = page & HOST_MASK
        if host != HOST_NONE:
            slot.memory.touch(page_ref.offset, write=host == HOST_ANON)
    for word_ref, word in zip(built.words, words, strict=True):
        slot, offset = memory.backing(word_ref.gpa)
        if slot.memory.read(offset, _WORD_BYTES) != word:
            slot.memory.write(offset, _WORD_BYTES, word)


def protections(block: Parallel) -> tuple[sc.Mprotect, ...]:
    """What a block does to the protection of memory, for the steps behind it.

    UndefinedError where that depends on the order of its branches.
    """
    found = [
        (number, op)
        for number, branch in enumerate(block.parallel)
        for op in branch
        if isinstance(op, sc.Mprotect)
    ]
    if len({number for number, _ in found}) > 1:
        raise UndefinedError("mprotect in several branches leaves one of several states behind")
    return tuple(op for _, op in found)


def _settle_ranges(memory: GuestMemory, block: Parallel) -> None:
    """Pages of zapped ranges that no branch touches otherwise."""
    for op in (op for branch in block.parallel for op in branch):
        if isinstance(op, sc.Madvise) and op.advice == "dontneed":
            slot, offset = memory.backing(op.gpa)
            size = memory.env.page_size
            if offset % size == 0:
                slot.memory.drop(offset // size, -(-op.size // size))
