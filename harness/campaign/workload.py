# SPDX-License-Identifier: GPL-2.0-only
"""What a campaign runs: scenarios given and generated, in chunks that are built once for all."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from msgspec import Struct

from harness.generate import generate
from harness.render import render_batch
from harness.toolchain import build_batch
from harness.vocabulary import BatchProgram
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import Scenario

BATCH_SIZE = 250


class Batches:
    """The scenarios in chunks, each built once and shared by all targets."""

    def __init__(self, scenarios: Sequence[Scenario], size: int = BATCH_SIZE) -> None:
        self.chunks = [scenarios[at : at + size] for at in range(0, len(scenarios), size)]
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="build")
        self._built: dict[int, Future[BatchProgram]] = {}

    def prepare(self, index: int) -> Future[BatchProgram]:
        """The build of a chunk, started on first asking; past the end, an idle future."""
        with self._lock:
            if index not in self._built and index < len(self.chunks):
                self._built[index] = self._pool.submit(build, self.chunks[index])
            return self._built.get(index, Future())

    def program(self, index: int, wanted: Sequence[int]) -> BatchProgram:
        """The program of a chunk's ``wanted`` scenarios (places in the chunk); waits for it."""
        chunk = self.chunks[index]
        if len(wanted) == len(chunk):
            return self.prepare(index).result()
        return build([chunk[at] for at in wanted])

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
        size: int = BATCH_SIZE,
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

    def batches(self, profile: SemanticsProfile | None, env: Environment | None) -> Batches:
        """The scenarios for a target, in chunks; made once for equal targets."""
        wanted = self._generated
        dependent = wanted is not None and wanted.by_profile
        key = (profile.name, env) if dependent and profile is not None and env is not None else None
        with self._lock:
            if key not in self._made:
                scenarios = self._fixed
                if wanted is not None:
                    scenarios += tuple(wanted.scenarios(profile, env))
                self._made[key] = Batches(scenarios, self._size)
            return self._made[key]

    def named(self) -> tuple[Scenario, ...]:
        """Scenarios that can be named without a target, for reports of one that did not open."""
        return tuple(scenario for chunk in self.batches(None, None).chunks for scenario in chunk)

    def close(self) -> None:
        """Stop building."""
        for batches in self._made.values():
            batches.close()


class Generated(Struct, frozen=True, kw_only=True):
    """A suite, a count and a seed: scenarios that are yet to be generated."""

    suite: str
    count: int
    seed: int

    @property
    def by_profile(self) -> bool:
        """True where the scenarios depend on the target's profile."""
        return self.suite == "pgtable"

    def scenarios(
        self, profile: SemanticsProfile | None, env: Environment | None
    ) -> Iterator[Scenario]:
        """The scenarios, for a profile and environment where the suite asks for them."""
        return generate(self.suite, self.count, self.seed, profile, env)


def build(chunk: Sequence[Scenario]) -> BatchProgram:
    """The program of some scenarios; from the cache where it was built before."""
    return build_batch(render_batch(chunk), tuple(scenario.id for scenario in chunk))
