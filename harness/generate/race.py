# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the race suite: a few hot pages, and everybody at once on them.

One slot, one or two hot pages, steps that bring them into one of the states in which a fault can
meet them, then a block: two to four vCPUs, and often the host's dirty log, flags or memory
management beside them. Blocks are small enough that the model knows every outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from reference_model import scenario as sc
from reference_model.machine import predict
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import GuestOp, Parallel, RaceScenario
from reference_model.unpredictable import UnpredictableError

_BASE = 0x8000_0000
_SIZE = 0x1_0000
_PAGE = 0x1000
_SLOT = 1
#: Pages of the slot that are fought over: neighbours, so that they share a word of the dirty log.
_HOT = (3, 4)
_MOST_OUTCOMES = 300
_REPEATS = 200
_DRAWS = 50


def generate_race(seed: int, index: int, repeat: int = _REPEATS) -> RaceScenario:
    """Scenario number ``index`` of a seed, its block ``repeat`` times."""
    ident = f"race-s{seed}-{index:05d}"
    for draw in range(_DRAWS):
        # String seeds are hashed with SHA-512 by random.seed: the same on every Python.
        random = Random(f"race:{seed}:{index}:{draw}")  # noqa: S311 - repeatable, not secret
        scenario = _Draw(random, repeat).scenario(ident)
        if _is_small(scenario):
            return scenario
    raise AssertionError(f"{ident}: no block is small enough")


def _is_small(scenario: RaceScenario) -> bool:
    """Whether the model finds every outcome, and there are not too many to be seen."""
    try:
        for name in ("v5.10", "v6.12"):
            prediction = predict(scenario, PROFILES[name], Environment())
            if any(len(step.allowed) > _MOST_OUTCOMES for step in prediction.steps):
                return False
    except UnpredictableError:
        return False
    return True


class _Draw:
    """One scenario, drawn."""

    def __init__(self, random: Random, repeat: int) -> None:
        self.random = random
        self.repeat = repeat
        self.vcpus = random.choices((2, 3, 4), (60, 25, 15))[0]
        self.manual: bool | str = random.choices((False, True, "init_set"), (70, 20, 10))[0]
        self.logged = random.random() < 0.75
        self.prefill = random.random() < 0.8
        self.pages = _HOT[: random.choices((1, 2), (65, 35))[0]]
        self.value = 0

    def scenario(self, ident: str) -> RaceScenario:
        """A slot, what leaves its pages as drawn, the block, and what looks at them after it."""
        vm = sc.VmConfig(
            vcpus=self.vcpus,
            manual_protect="init_set" if self.manual == "init_set" else bool(self.manual),
        )
        before = [self._slot(), *self._before()]
        return RaceScenario(
            schema=1, id=ident, vm=vm, steps=(*before, self._block(), *self._behind())
        )

    def _slot(self) -> GuestOp:
        return sc.SlotAdd(
            slot=_SLOT,
            gpa=_BASE,
            size=_SIZE,
            backing=sc.Backing(prefill=self.prefill),
            flags=("log_dirty",) if self.logged else (),
        )

    # --- in front and behind -----------------------------------------------------------------

    def _before(self) -> list[GuestOp]:
        """Steps that leave the hot pages absent, read-only, writable or write-protected."""
        steps: list[GuestOp] = []
        for page in self.pages:
            state = self.random.choice(("absent", "absent", "read", "written", "protected"))
            if state == "read":
                steps.append(sc.Read(gpa=self._gpa(page)))
            elif state != "absent":
                steps.append(sc.Write(gpa=self._gpa(page), value=self._fresh()))
            if state == "protected" and self.logged:
                steps.append(self._clear() if self.manual else sc.DirtyGet(slot=_SLOT))
        return steps

    def _behind(self) -> list[GuestOp]:
        if self.random.random() < 0.5:
            return []
        steps: list[GuestOp] = [sc.DirtyGet(slot=_SLOT)]
        if self.random.random() < 0.5:
            steps.append(sc.Read(gpa=self._gpa(self.random.choice(self.pages))))
        return steps

    # --- the block ---------------------------------------------------------------------------

    def _block(self) -> Parallel:
        host = self._host_branch() if self.random.random() < 0.65 else []
        branches = [self._guest_branch(vcpu, crowded=bool(host)) for vcpu in range(self.vcpus)]
        if host:
            branches.append(tuple(host))
        hold: tuple[int, ...] = ()
        thrown = any(isinstance(op, sc.Madvise) for op in host)
        if self.prefill and not thrown and self.random.random() < 0.25:
            hold = (_BASE + self.pages[0] * _PAGE,)
        return Parallel(parallel=tuple(branches), repeat=self.repeat, hold=hold)

    def _guest_branch(self, vcpu: int, *, crowded: bool) -> tuple[GuestOp, ...]:
        most = 3 if self.vcpus == 2 else 2
        if crowded and self.vcpus > 2:
            most = 1
        return tuple(self._access(vcpu) for _ in range(self.random.randint(1, most)))

    def _access(self, vcpu: int) -> GuestOp:
        gpa = self._gpa(self.random.choice(self.pages))
        kind = self.random.choices(("write", "read", "exec"), (55, 33, 12))[0]
        if kind == "write":
            return sc.Write(gpa=gpa, value=self._fresh(), vcpu=vcpu)
        if kind == "read":
            return sc.Read(gpa=gpa, vcpu=vcpu)
        # Code that no branch writes. QEMU 7.2 keeps translated code of a page that a kernel
        # clears with DC ZVA, but for what begins at a block of 64 bytes.
        return sc.Exec(gpa=gpa // _PAGE * _PAGE + _PAGE - 64, vcpu=vcpu)

    def _host_branch(self) -> list[GuestOp]:
        choices: list[tuple[int, Callable[[], GuestOp]]] = [
            (30, lambda: sc.DirtyGet(slot=_SLOT)),
            (14, self._clear),
            (14, self._flags),
            (22, self._dontneed),
            (10, self._host_write),
            (10, lambda: sc.HostRead(gpa=self._gpa(self.pages[0]))),
        ]
        weights = [weight for weight, _ in choices]
        draws = [draw for _, draw in choices]
        count = self.random.choices((1, 2, 3), (50, 40, 10))[0]
        branch = [self.random.choices(draws, weights)[0]() for _ in range(count)]
        if isinstance(branch[-1], (sc.DirtyGet, sc.DirtyClear)) and self.random.random() < 0.5:
            # Says whether a store came after what the log reported.
            branch.append(sc.HostRead(gpa=self._gpa(self.pages[0])))
        return branch

    def _clear(self) -> GuestOp:
        some = self.random.random() < 0.4
        return sc.DirtyClear(slot=_SLOT, pages=(self.pages[0],) if some else None)

    def _flags(self) -> GuestOp:
        log = self.random.random() < 0.5
        return sc.SlotFlags(slot=_SLOT, flags=("log_dirty",) if log else ())

    def _dontneed(self) -> GuestOp:
        pages = self.random.choice((1, 1, len(self.pages)))
        # Pages of 64K are whole pages of every granule.
        return sc.Madvise(gpa=_BASE + self.pages[0] * _PAGE, size=pages * _PAGE)

    def _host_write(self) -> GuestOp:
        return sc.HostWrite(gpa=self._gpa(self.random.choice(self.pages)), value=self._fresh())

    def _gpa(self, page: int) -> int:
        """A word of a hot page: mostly the one that all use."""
        return _BASE + page * _PAGE + self.random.choice((0, 0, 0, 8))

    def _fresh(self) -> int:
        """A value that no other store of the scenario has."""
        self.value += 1
        return 0x100 + self.value
