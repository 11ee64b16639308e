# SPDX-License-Identifier: GPL-2.0-only
"""Kernel log lines to splats: oops, BUG, WARN, lockdep, KASAN and the like. Pure; never raises.

The forms are those of arm64 kernels 5.10 to 7.3 (kernel/panic.c, lib/bug.c, arch/arm64/kernel/
traps.c, arch/arm64/mm/fault.c, kernel/locking/lockdep.c, mm/kasan/report.c).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

from msgspec import Struct

#: A splat without an end of its own is cut after so many lines.
MAX_LINES = 400


class SplatKind(enum.Enum):
    """What the kernel complains of."""

    PANIC = "panic"
    OOPS = "oops"
    BUG = "BUG"
    HYP = "hyp panic"
    WARN = "WARN"
    LOCKDEP = "lockdep"
    RCU = "RCU"
    SANITIZER = "sanitizer"
    STALL = "stall"
    STATE = "bad state"

    @property
    def fatal(self) -> bool:
        """True where the kernel cannot be trusted to go on."""
        return self in (SplatKind.PANIC, SplatKind.OOPS, SplatKind.BUG, SplatKind.HYP)


class Splat(Struct, frozen=True):
    """One complaint: kind, one line to know it by (no addresses, no numbers that vary), its log."""

    kind: SplatKind
    title: str
    lines: tuple[str, ...]


#: "[   12.345678] ", "[   12.345678][   T42] ", "<4>[ 12.345678] ".
_PREFIX = re.compile(r"^(?:<\d+>)?(?:\[\s*\d+\.\d+\](?:\[\s*[TC]\d+\])? )?")

_STAMP = re.compile(r"^(?:<\d+>)?\[\s*(\d+)\.(\d{6})\]")

_HEADLINES: tuple[tuple[SplatKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (SplatKind.PANIC, r"Kernel panic - not syncing: .*"),
        (SplatKind.HYP, r"(?:kvm \[\d+\]: )?(?:nVHE |hVHE )?(?:hyp|HYP) (?:panic|BUG)\b.*"),
        (SplatKind.BUG, r"kernel BUG at .*"),
        (SplatKind.OOPS, r"Unable to handle kernel .*"),
        (SplatKind.OOPS, r"Internal error: .*"),
        (SplatKind.OOPS, r"Unexpected kernel (?:BRK|single-step) exception .*"),
        (SplatKind.OOPS, r"Bad mode in .*"),
        (SplatKind.OOPS, r"Insufficient stack space to handle exception.*"),
        (SplatKind.SANITIZER, r"BUG: (?:KASAN|KFENCE|KCSAN|KMSAN): .*"),
        (SplatKind.SANITIZER, r"UBSAN: .*"),
        (SplatKind.RCU, r"WARNING: suspicious RCU usage.*"),
        (
            SplatKind.LOCKDEP,
            r"WARNING: (?:possible (?:circular|recursive|irq lock|deadlock)|inconsistent lock"
            r"|bad unlock|lock held|held lock|Nested lock|(?:SOFTIRQ|HARDIRQ)-).*",
        ),
        (SplatKind.LOCKDEP, r"BUG: (?:Invalid wait context|MAX_LOCK\w+ too low|\w+ chain).*"),
        (SplatKind.LOCKDEP, r"DEBUG_LOCKS_WARN_ON.*"),
        (SplatKind.STALL, r"(?:watchdog: )?BUG: (?:soft lockup|workqueue lockup) .*"),
        (SplatKind.STALL, r"(?:watchdog: )?Watchdog detected hard LOCKUP.*"),
        (SplatKind.STALL, r"(?:rcu: )?INFO: rcu\w* (?:detected|self-detected) (?:expedited )?s.*"),
        (SplatKind.STALL, r"INFO: task \S+ blocked for more than .*"),
        (SplatKind.WARN, r"WARNING: CPU: \d+ PID: \d+ .*"),
        (SplatKind.WARN, r"WARNING: \S+ at .*"),
        (SplatKind.STATE, r"BUG: (?:sleeping function|scheduling while atomic|Bad |unable to).*"),
        (SplatKind.STATE, r"BUG: .*"),
    )
)

_CUT = "------------[ cut here ]------------"
_TRACE_END = re.compile(r"---\[ end .*\]---")
_RULE = re.compile(r"=={9,}")
_CALL_TRACE = re.compile(r"Call trace:")
_PC = re.compile(r"pc : ([A-Za-z_][\w.]*)\+0x")
#: What the compiler puts behind the name of a clone.
_CLONE = re.compile(r"(?:\.(?:isra|constprop|part|cold|llvm)(?:\.\d+)*)+$")

#: Panics that the kernel was told to make of something else (kernel/panic.c, watchdog.c, …).
_CONSEQUENCE = re.compile(
    r"softlockup|hung_task|hard lockup|Hard LOCKUP|panic_on_warn|RCU Stall|on_oops|panic_on"
)

#: ``WARNING: CPU: 1 PID: 123 at FILE:LINE FUNC+0x…``, and from 6.19 on
#: ``WARNING: FILE:LINE at FUNC+0x…/0x…, CPU#1: COMM/123``.
_WARN_OLD = re.compile(r"WARNING: CPU: \d+ PID: \d+ at (\S+) ([\w.]+)\+0x")
_WARN_NEW = re.compile(r"WARNING: (\S+) at ([\w.]+)\+0x")
#: Parts of a headline that differ from run to run.
_VARYING = (
    (re.compile(r" at virtual address [0-9a-f]+"), ""),
    (re.compile(r"(?:: [0-9a-f]{8,16})? \[#\d+\].*"), ""),
    (re.compile(r"(?<=atomic): \S+$"), ""),
    (re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+"), ""),
    (re.compile(r" (?:by|for) task \S+$"), ""),
    (re.compile(r"CPU#\d+"), "CPU"),
    (re.compile(r" for \d+s! \[.*\]"), ""),
    (re.compile(r"\b[0-9a-f]{16}\b"), "…"),
    (re.compile(r"\s+"), " "),
)


def message(line: str) -> str:
    """A kernel log line without its level, time stamp and caller."""
    return line[_PREFIX.match(line).end() :]  # type: ignore[union-attr]  # it matches ""


def logged_at(line: str) -> int | None:
    """Microseconds at which the kernel logged this line; None where it bears no time stamp."""
    match = _STAMP.match(line)
    return int(match[1]) * 1_000_000 + int(match[2]) if match else None


def find_splats(lines: Iterable[str]) -> tuple[Splat, ...]:
    """All splats in these lines, in order; text of any kind may stand between them."""
    finder = _Finder()
    for line in lines:
        finder.feed(line)
    finder.close()
    return tuple(finder.found)


def worst(splats: Iterable[Splat]) -> Splat | None:
    """The one to name a crash by: the first cause of a death, else the first complaint.

    A panic that says it follows from something is named by what came before it.
    """
    seen = tuple(splats)
    for splat in seen:
        if splat.kind.fatal and splat.kind is not SplatKind.PANIC:
            return splat
    for before, splat in zip((None, *seen), seen, strict=False):
        if splat.kind is SplatKind.PANIC:
            return before if before is not None and _CONSEQUENCE.search(splat.title) else splat
    return seen[0] if seen else None


class _Finder:
    """Lines in, splats out: one open splat at a time."""

    def __init__(self) -> None:
        self.found: list[Splat] = []
        self._kind: SplatKind | None = None
        self._headline = ""
        self._lines: list[str] = []
        self._traced = False
        self._lead: list[str] = []

    def feed(self, line: str) -> None:
        """The next line of the log, as the kernel printed it."""
        text = message(line)
        if text.startswith(_CUT) or (_RULE.match(text) and self._kind is None):
            self.close()
            self._lead = [line]
            return
        kind = _classify(text)
        if kind is not None and not self._continues(kind):
            lead = self._lead
            self.close()
            self._kind, self._headline, self._lines = kind, text, [*lead, line]
            return
        if self._kind is None:
            # a "cut here" or a rule, and at most a line or two, before the headline
            self._lead = [*self._lead, line] if 0 < len(self._lead) < 4 else []
            return
        if self._over(text):
            self.close()
            return
        self._lines.append(line)
        self._traced = self._traced or _CALL_TRACE.match(text) is not None
        if _TRACE_END.match(text) or _RULE.match(text) or len(self._lines) >= MAX_LINES:
            self.close()

    def _continues(self, kind: SplatKind) -> bool:
        """The second headline of one death: "Internal error: Oops" after its cause."""
        return kind is SplatKind.OOPS and self._kind in (SplatKind.OOPS, SplatKind.BUG)

    def _over(self, text: str) -> bool:
        """Whether a line after the call trace belongs to something else (lockdep has no end)."""
        return (
            self._traced
            and bool(text)
            and not text[0].isspace()
            and not text.startswith(
                ("Code:", "---[", "==", "CPU:", "SMP:", "Kernel Offset", "CPU f")
            )
            and self._kind in (SplatKind.LOCKDEP, SplatKind.RCU, SplatKind.STALL, SplatKind.STATE)
        )

    def close(self) -> None:
        """No more lines belong to the splat that is open, if one is: it is found."""
        if self._kind is not None:
            lines = tuple(self._lines)
            self.found.append(Splat(self._kind, _title(self._kind, self._headline, lines), lines))
        self._kind, self._headline, self._lines, self._traced = None, "", [], False
        self._lead = []


def _classify(text: str) -> SplatKind | None:
    if not text or text[0] in " \t#":
        return None
    for kind, pattern in _HEADLINES:
        if pattern.match(text):
            return kind
    return None


def _title(kind: SplatKind, headline: str, lines: tuple[str, ...]) -> str:
    for form in (_WARN_OLD, _WARN_NEW) if kind is SplatKind.WARN else ():
        if match := form.match(headline):
            return f"WARNING at {match[1]} in {_CLONE.sub('', match[2])}"
    title = headline
    for pattern, text in _VARYING:
        title = pattern.sub(text, title)
    title = title.rstrip(" !:")
    if kind in (SplatKind.OOPS, SplatKind.BUG):
        for line in lines:
            if match := _PC.match(message(line)):
                return f"{title} in {_CLONE.sub('', match[1])}"
    return title
