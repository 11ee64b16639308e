# SPDX-License-Identifier: GPL-2.0-only
"""What a campaign runs: scenarios given and generated, in chunks that are built once for all."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice

from msgspec import Struct

from harness.generate import generate
from harness.render import render_batch
from harness.toolchain import build_batch
from harness.vocabulary import BatchProgram
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import Scenario

#: Scenarios of the first chunk: nothing runs until it is made and built.
FIRST = 60
#: Of every other, at most: to copy a program, and to load the module, costs as much for one as for
#: many. Fewer where the scenarios take longer than that: what is interrupted is run again.
MOST_IN_BATCH = 1000
_MOST_LONG = 500
#: How much longer the next chunk is: it is made while the one before runs.
_GROWTH = 4
#: Of a chunk where several guests share the scenarios.
_LEAST_SHARE = 25
#: Suites whose scenarios are so short that this counts.
_SHORT = frozenset({"pgtable"})


class Batches:
    """The scenarios in chunks, each made and built once and shared by all targets.

    A chunk is made when it is first asked for, so a generator's work overlaps with running.
    ``size``: scenarios of a chunk, 0: what is best for them, and at most ``most``.
    """

    def __init__(
        self, scenarios: Iterable[Scenario], size: int = 0, most: int = MOST_IN_BATCH
    ) -> None:
        self._source = iter(scenarios)
        self._size = size
        self._most = most
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="build")
        self._chunks: list[tuple[Scenario, ...]] = []
        self._built: dict[tuple[int, tuple[int, ...] | None], Future[BatchProgram]] = {}

    def chunk(self, index: int) -> tuple[Scenario, ...]:
        """A chunk's scenarios; none past the end."""
        with self._lock:
            while len(self._chunks) <= index:
                made = tuple(islice(self._source, self._next_size()))
                if not made:
                    return ()
                self._chunks.append(made)
            return self._chunks[index]

    def _next_size(self) -> int:
        if self._size:
            return self._size
        last = self._chunks[-1] if self._chunks else ()
        short = all(scenario.suite in _SHORT for scenario in last)
        wanted = _GROWTH * len(last) if last else FIRST
        return min(wanted, self._most if short else _MOST_LONG, self._most)

    def all(self) -> Iterator[tuple[Scenario, ...]]:
        """Every chunk, in order."""
        index = 0
        while chunk := self.chunk(index):
            yield chunk
            index += 1

    def prepare(self, index: int, places: Sequence[int] | None = None) -> Future[BatchProgram]:
        """The build of a chunk, or of its scenarios at ``places``; started on first asking."""
        whole = places is None or len(places) == len(self.chunk(index))
        key = (index, None if whole or places is None else tuple(places))
        with self._lock:
            if key not in self._built:
                self._built[key] = self._pool.submit(self._build, *key)
            return self._built[key]

    def _build(self, index: int, places: tuple[int, ...] | None) -> BatchProgram:
        chunk = self.chunk(index)
        return build(chunk if places is None else [chunk[at] for at in places])

    def close(self) -> None:
        """Drop builds that have not begun and wait for the one that has."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Workload:
    """What a campaign runs: given scenarios, and ones generated for each profile it meets.

    Suite ``pgtable`` is generated for the target's own profile and environment, so that nothing
    is a SKIP there; what does not depend on the target is built while it boots.
    """

    def __init__(
        self,
        fixed: Sequence[Scenario] = (),
        *,
        generated: Generated | None = None,
        size: int = 0,
    ) -> None:
        self._fixed = tuple(fixed)
        self._generated = generated
        self._size = size
        self._lock = threading.Lock()
        self._made: dict[tuple[str, Environment] | None, Batches] = {}

    @property
    def total(self) -> int:
        """Scenarios a target runs."""
        return len(self._fixed) + (self._generated.count if self._generated else 0)

    def prepare(self) -> None:
        """Start building what does not depend on the target."""
        if self._generated is None or not self._generated.by_profile:
            self.batches(None, None).prepare(0)

    def batches(
        self, profile: SemanticsProfile | None, env: Environment | None, guests: int = 1
    ) -> Batches:
        """The scenarios for a target, in chunks; made once for equal targets.

        ``guests`` that share them: each is to have some chunks.
        """
        wanted = self._generated
        dependent = wanted is not None and wanted.by_profile
        key = (profile.name, env) if dependent and profile is not None and env is not None else None
        with self._lock:
            if key not in self._made:
                made = wanted.scenarios(profile, env) if wanted is not None else ()
                self._made[key] = Batches(chain(self._fixed, made), self._size, self._most(guests))
            return self._made[key]

    def _most(self, guests: int) -> int:
        if guests == 1:
            return MOST_IN_BATCH
        return min(MOST_IN_BATCH, max(_LEAST_SHARE, self.total // (3 * guests)))

    def named(self) -> tuple[Scenario, ...]:
        """Scenarios that can be named without a target, for reports of one that did not open."""
        return tuple(scenario for chunk in self.batches(None, None).all() for scenario in chunk)

    def close(self) -> None:
        """Stop building."""
        for batches in self._made.values():
            batches.close()


class Generated(Struct, frozen=True, kw_only=True):
    """A suite, a count and a seed: scenarios that are yet to be generated.

    ``focus``: where suite guest looks closely, "" for everywhere.
    """

    suite: str
    count: int
    seed: int
    focus: str = ""

    @property
    def by_profile(self) -> bool:
        """True where the scenarios depend on the target's profile."""
        return self.suite == "pgtable"

    def scenarios(
        self, profile: SemanticsProfile | None, env: Environment | None
    ) -> Iterator[Scenario]:
        """The scenarios, for a profile and environment where the suite asks for them."""
        return generate(self.suite, self.count, self.seed, profile, env, self.focus)


def build(chunk: Sequence[Scenario]) -> BatchProgram:
    """The program of some scenarios; from the cache where it was built before."""
    return build_batch(render_batch(chunk), tuple(scenario.id for scenario in chunk))
