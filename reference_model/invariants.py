# SPDX-License-Identifier: GPL-2.0-only
"""What must hold on every kernel: an oracle beside the prediction, that knows no profile.

Each rule looks at one step: the operation, what was observed before it and after it. A channel
that was not observed is not judged. The ids are those of the project's semantics: I6 alignment,
I7 reference counts, I8 unmap, I9 what destroy and a full unmap leave, I10 a repeated map, I11 and
I12 what map installs and where it stops, I14 -EAGAIN of one page, I15 wrprotect, I16 relax_perms,
I17 ageing, I18 split, I19 to I22 TLB and cache maintenance; and three without a number: ``range``
(an operation that was refused changed nothing), ``cache`` (no more pages than the memcache held)
and ``still`` (an operation that only looks changed nothing).

Not here, because a kernel is right without it: "map never reduces permissions" (v5.10 replaces,
and a change of software bits replaces the permissions with it on every later kernel).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from reference_model import scenario as sc
from reference_model.geometry import Geometry, geometry
from reference_model.leafview import Piece, annotated, leaf_bounds, output, pieces, run_end
from reference_model.outcome import AnnotationRun, LeafRun, Observation
from reference_model.profiles import Environment
from reference_model.pte import permissions
from reference_model.scenario import PgtableOp, PgtableScenario

_U64 = (1 << 64) - 1
_SURE_PA_BITS = 48
_BEFORE_ALL = Observation(ret=0, leaves=(), annotations=(), tables=0)
_REFUSED = (-errno.EINVAL, -errno.ERANGE)


class Violation(Struct, frozen=True):
    """One invariant that one step broke; ``text`` says what, with addresses."""

    step: int
    invariant: str
    text: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.invariant}: {self.text}"


def violations(
    scenario: PgtableScenario, observations: Sequence[Observation], env: Environment
) -> list[Violation]:
    """All violations in a run of a scenario; ``observations`` are of its first steps, in order."""
    shape = geometry(env.page_shift, scenario.ipa_bits, lpa2=env.lpa2)
    found = []
    before = _BEFORE_ALL
    earlier: PgtableOp | None = None
    for index, (op, after) in enumerate(zip(scenario.steps, observations, strict=False)):
        step = _Step(op, earlier, before, after, shape, scenario.memcache)
        found += [Violation(index, name, text) for name, text in step.violations()]
        before, earlier = after, op
    return found


class _Step:
    """One operation between two observations."""

    def __init__(
        self,
        op: PgtableOp,
        earlier: PgtableOp | None,
        before: Observation,
        after: Observation,
        shape: Geometry,
        memcache: int | None,
    ) -> None:
        self.op = op
        self.earlier = earlier
        self.before = before
        self.after = after
        self.shape = shape
        own = getattr(op, "memcache", msgspec.UNSET)
        self.memcache = memcache if own is msgspec.UNSET else own
        mask = shape.page_size - 1
        #: The pages that the operation was asked about.
        self.start = getattr(op, "ipa", 0) & ~mask
        self.stop = (self.start + getattr(op, "size", 0) + mask) & ~mask & _U64
        self.was: Sequence[LeafRun] = _known(before.leaves)
        self.now: Sequence[LeafRun] = _known(after.leaves)
        self.was_notes: Sequence[AnnotationRun] = _known(before.annotations)
        self.now_notes: Sequence[AnnotationRun] = _known(after.annotations)

    def violations(self) -> Iterator[tuple[str, str]]:
        """(id, text) of what this step broke."""
        yield from self._counts()
        if self.after.leaves is msgspec.UNSET or self.before.leaves is msgspec.UNSET:
            return
        yield from self._shape()
        if self.after.ret in _REFUSED:
            yield from self._unchanged("range", 0, 1 << self.shape.ipa_bits)
            return
        match self.op:
            case sc.Map():
                yield from self._map(self.op)
            case sc.Annotate():
                yield from self._annotate()
            case sc.Unmap():
                yield from self._unmap()
            case sc.WrProtect():
                yield from self._wrprotect()
            case sc.RelaxPerms():
                yield from self._relax(self.op)
            case sc.MkYoung() | sc.MkOld():
                yield from self._age(self.op)
            case sc.Split():
                yield from self._split()
            case sc.Destroy():
                if self.now or self.now_notes or self.after.tables:
                    yield "I9", f"destroy leaves {len(self.now)} runs, {self.after.tables} tables"
            case sc.IsYoung() | sc.Flush() | sc.GetLeaf():
                yield from self._unchanged("still", 0, 1 << self.shape.ipa_bits)

    # --- of every operation -----------------------------------------------------------------

    def _counts(self) -> Iterator[tuple[str, str]]:
        after, before = self.after, self.before
        if after.refcounts is not msgspec.UNSET and after.refcounts != "ok":
            yield "I7", f"reference counts are not 1 + counted entries: {after.refcounts}"
        if after.alloc is msgspec.UNSET:
            return
        if after.alloc > (self.memcache or 0):
            yield "cache", f"{after.alloc} pages from a memcache of {self.memcache or 0}"
        if after.alloc and not isinstance(self.op, (sc.Map, sc.Annotate, sc.Split)):
            yield "cache", f"{self.op.name} allocated {after.alloc} pages"
        if after.tables is msgspec.UNSET or before.tables is msgspec.UNSET:
            return
        if after.tables > before.tables + after.alloc:
            yield (
                "I9",
                f"{after.tables} tables after {before.tables} and {after.alloc} allocations",
            )

    def _shape(self) -> Iterator[tuple[str, str]]:
        shape = self.shape
        sizes = {shape.size(level) for level in range(max(shape.block_level, shape.start_level), 4)}
        last = 0
        for run in self.now:
            where = f"leaf run {run[0]:#x} of {run[7]} x {run[1]:#x}"
            if run[1] not in sizes:
                yield "I6", f"{where}: no leaf has that size"
            elif run[0] % run[1] or run[2] % run[1]:
                yield "I6", f"{where} -> {run[2]:#x} is not aligned to its size"
            if run[0] < last or run_end(run) > 1 << shape.ipa_bits:
                yield "I6", f"{where} overlaps another or leaves the IPA space"
            last = run_end(run)

    def _pieces(self, start: int, stop: int) -> Iterator[Piece]:
        return pieces(self.was, self.now, start, min(stop, 1 << self.shape.ipa_bits))

    def _unchanged(self, name: str, start: int, stop: int) -> Iterator[tuple[str, str]]:
        """[start, stop) holds the same leaves and owners as before."""
        for piece in self._pieces(start, stop):
            if not piece.same:
                yield name, f"{self.op.name} changed {_at(piece)}, which was not its to change"
        if annotated(self.was_notes, start, stop) != annotated(self.now_notes, start, stop):
            yield name, f"{self.op.name} changed owners in {start:#x}..{stop:#x}"

    def _outside(self, name: str, start: int, stop: int) -> Iterator[tuple[str, str]]:
        """All but [start, stop) holds the same leaves and owners as before."""
        yield from self._unchanged(name, 0, start)
        yield from self._unchanged(name, stop, 1 << self.shape.ipa_bits)

    def _beside(self, name: str) -> Iterator[tuple[str, str]]:
        """Outside the range: as before, or gone where a block that met the range was broken."""
        low, high = leaf_bounds(self.was, self.start, self.stop)
        yield from self._outside(name, low, high)
        for start, stop in ((low, self.start), (self.stop, high)):
            for piece in self._pieces(start, stop):
                if not piece.same and piece.after is not None:
                    yield name, f"{self.op.name} put {_at(piece)}, which nobody asked for"

    def _tlbi(self) -> int | None:
        """TLB invalidations of the step, of any kind; None: not seen."""
        return None if self.after.tlbi is msgspec.UNSET else sum(self.after.tlbi.values())

    def _cmo(self, kind: str) -> int | None:
        return None if self.after.cmo is msgspec.UNSET else self.after.cmo[kind]

    # --- operation by operation ---------------------------------------------------------------

    def _map(self, op: sc.Map) -> Iterator[tuple[str, str]]:
        yield from self._beside("I11")
        if (op.pa + op.size) >> _SURE_PA_BITS:
            return  # cut to the descriptor, or cleared: the kernel's choice
        letters, kind = permissions(op.prot)
        base = op.pa & ~(self.shape.page_size - 1)
        fresh = executable = replaced = False
        for piece in self._pieces(self.start, self.stop):
            before, after = piece.before, piece.after
            wanted = after is not None and (
                output(after, piece.start) == base + piece.start - self.start
                and after[4:7] == (op.sw, True, kind)
                and (set(after[3]) == set(letters) or piece.same_output)
            )
            broken = after is None and before is not None and before[1] > self.shape.page_size
            if self.after.ret == 0 and not wanted:
                yield "I11", f"map returned 0, but {_at(piece)} is not what was asked for"
            elif not wanted and not piece.same and not broken:
                yield "I12", f"map failed, but {_at(piece)} is neither old nor new"
            fresh |= wanted and before is None
            executable |= wanted and before is None and "x" in letters
            replaced |= before is not None and not piece.same_output
        yield from self._maintenance(kind, fresh=fresh, executable=executable, replaced=replaced)
        single = self.stop - self.start == self.shape.page_size
        if self.after.ret == -errno.EAGAIN and single:
            yield from self._unchanged("I14", 0, 1 << self.shape.ipa_bits)
        repeated = self.earlier == op and self.before.ret in (0, -errno.EAGAIN)
        if repeated:
            yield from self._unchanged("I10", 0, 1 << self.shape.ipa_bits)
            if self.after.ret not in (0, -errno.EAGAIN):
                yield "I10", f"the same map again returned {self.after.ret}"

    def _maintenance(
        self, kind: str, *, fresh: bool, executable: bool, replaced: bool
    ) -> Iterator[tuple[str, str]]:
        if replaced and self._tlbi() == 0:
            yield "I19", "map changed an output address without any TLB invalidation"
        if executable and self._cmo("icache") == 0:
            yield "I21", "map granted execution without instruction-cache maintenance"
        if fresh and kind == "normal" and self._cmo("dcache") == 0:
            yield "I22", "map installed Normal memory without data-cache maintenance"

    def _annotate(self) -> Iterator[tuple[str, str]]:
        yield from self._beside("I11")
        for piece in self._pieces(self.start, self.stop):
            if piece.after is not None and (self.after.ret == 0 or not piece.same):
                yield "I11", f"annotate left {_at(piece)} mapped"
        values = {run[2] for run in annotated(self.now_notes, self.start, self.stop)}
        if self.after.ret == 0 and len(values) > 1:
            yield "I11", f"annotate left the owners {sorted(values)} in its range"

    def _unmap(self) -> Iterator[tuple[str, str]]:
        yield from self._beside("I8")
        removed = False
        for piece in self._pieces(*leaf_bounds(self.was, self.start, self.stop)):
            removed |= piece.before is not None
            if piece.after is not None:
                yield "I8", f"unmap left {_at(piece)}"
        if annotated(self.now_notes, self.start, self.stop):
            yield "I8", "unmap left owners in its range"
        # A size below a page removes a page and, from v6.12 on, invalidates nothing.
        whole_page = getattr(self.op, "size", 0) >= self.shape.page_size
        if removed and whole_page and self._tlbi() == 0:
            yield "I20", "unmap removed a leaf without any TLB invalidation"
        everything = self.start == 0 and self.stop == 1 << self.shape.ipa_bits
        if everything and self.after.tables:
            yield "I9", f"a full unmap leaves {self.after.tables} tables"

    def _wrprotect(self) -> Iterator[tuple[str, str]]:
        low, high = leaf_bounds(self.was, self.start, self.stop)
        yield from self._outside("I15", low, high)
        if self.after.ret != 0:
            yield "I15", f"wrprotect returned {self.after.ret}"
        for piece in self._pieces(low, high):
            was, now = piece.before, piece.after
            if not _only_differs(piece, "prot"):
                yield "I15", f"wrprotect changed more than permissions of {_at(piece)}"
            elif was and now and now[3] != was[3].replace("w", ""):
                yield "I15", f"wrprotect left {_at(piece)}"

    def _relax(self, op: sc.RelaxPerms) -> Iterator[tuple[str, str]]:
        low, high = leaf_bounds(self.was, self.start, self.start + self.shape.page_size)
        yield from self._outside("I16", low, high)
        letters, _ = permissions(op.prot)
        for piece in self._pieces(low, high):
            if not _only_differs(piece, "prot"):
                yield "I16", f"relax_perms changed more than permissions of {_at(piece)}"
            elif piece.before and piece.after:
                expected = set(piece.before[3]) | set(letters)
                if set(piece.after[3]) != expected:
                    yield "I16", f"relax_perms made {_at(piece)}"
                if "x" in expected - set(piece.before[3]) and self._cmo("icache") == 0:
                    yield "I21", "relax_perms granted execution without cache maintenance"

    def _age(self, op: sc.MkYoung | sc.MkOld) -> Iterator[tuple[str, str]]:
        page = self.start + self.shape.page_size
        young = isinstance(op, sc.MkYoung)
        low, high = leaf_bounds(self.was, self.start, page if young else max(page, self.stop))
        yield from self._outside("I17", low, high)
        aged = False
        for piece in self._pieces(low, high):
            aged |= not piece.same
            if not _only_differs(piece, "af"):
                yield "I17", f"{op.name} changed more than the access flag of {_at(piece)}"
            elif not piece.same and piece.after is not None and piece.after[5] is not young:
                yield "I17", f"{op.name} made {_at(piece)}"
        if not young and aged != bool(self.after.ret):
            yield "I17", f"mkold returned {self.after.ret}, but flags were cleared: {aged}"

    def _split(self) -> Iterator[tuple[str, str]]:
        low, high = leaf_bounds(self.was, self.start, self.stop)
        yield from self._outside("I18", low, high)
        for piece in self._pieces(low, high):
            before, after = piece.before, piece.after
            if before is None or after is None:
                if not piece.same:
                    yield "I18", f"split made or lost {_at(piece)}"
            elif not piece.same_output or before[3:5] != after[3:5] or after[1] > before[1]:
                yield "I18", f"split made {_at(piece)}"
            elif after[1] == before[1] and not piece.same:
                yield "I18", f"split changed {_at(piece)}, which it did not split"


_Runs = TypeVar("_Runs")
_FIELDS = {"prot": 3, "af": 5}


def _only_differs(piece: Piece, field: str) -> bool:
    """Both sides translate alike but for one field of the leaf."""
    before, after = piece.before, piece.after
    if before is None or after is None:
        return before is after
    number = _FIELDS[field]
    alike = all(before[n] == after[n] for n in (1, 3, 4, 5, 6) if n != number)
    return alike and piece.same_output


def _known(value: _Runs | msgspec.UnsetType) -> _Runs | tuple[()]:
    return () if value is msgspec.UNSET else value


def _at(piece: Piece) -> str:
    def words(run: LeafRun | None) -> str:
        if run is None:
            return "nothing"
        young = "young" if run[5] else "old"
        where = output(run, piece.start)
        return f"{run[3] or 'no'} access, {run[6]}, sw {run[4]}, {young}, {run[1]:#x} -> {where:#x}"

    return f"{piece.start:#x}..{piece.stop:#x} (was {words(piece.before)}; is {words(piece.after)})"
