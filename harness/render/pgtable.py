# SPDX-License-Identifier: GPL-2.0-only
"""The pgtable suite in C: the runtime is kselftests/pgtable.h."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from harness.render.expectation import errno_name
from harness.render.layout import Call, Suite
from harness.render.text import WIDTH, columns, number, size
from harness.vocabulary import UsageError
from reference_model import scenario as sc
from reference_model.describe import size_text
from reference_model.outcome import LeafRun, Observation, Prediction

_GRANULES = {"4K": "SZ_4K", "16K": "SZ_16K", "64K": "SZ_64K"}
_FLAGS = {"shared": "SHARED", "handle_fault": "HANDLE_FAULT", "ignore_eagain": "IGNORE_EAGAIN"}
_TYPES = {"": "", "device": " | DEVICE", "nc": " | NC"}
_MOST_RUNS = 2

Arguments = tuple[str, ...]


def _opening(scenario: sc.PgtableScenario) -> list[str]:
    fields = [f".ipa_bits = {scenario.ipa_bits}", f".memcache = {_cache(scenario.memcache)}"]
    if scenario.granule is not None:
        fields.insert(0, f".granule = {_GRANULES[scenario.granule]}")
    listed = ", ".join(fields)
    lines = [f"\tstatic const struct table table = {{ {listed} }};"]
    if columns(lines[0]) > WIDTH:
        lines = ["\tstatic const struct table table = {", f"\t\t{listed},", "\t};"]
    return [*lines, "\tstatic const struct step steps[] = {"]


def _closing(_scenario: sc.PgtableScenario) -> list[str]:
    return ["\t};", "", "\trun(&table, steps, ARRAY_SIZE(steps));"]


def _calls(scenario: sc.PgtableScenario, prediction: Prediction | None) -> list[Call]:
    calls = []
    for index, step in enumerate(scenario.steps):
        try:
            arguments = _ARGUMENTS[type(step)](step)
        except UsageError as error:
            message = f"scenario '{scenario.id}': step {index} ({step.name}): {error}"
            raise UsageError(message) from None
        expected = _expectation(prediction, index)
        comment = f"{index}: {expected}" if expected else f"{index}"
        calls.append(Call(step.name, arguments, comment, indent=2, end=","))
    return calls


# --- arguments -----------------------------------------------------------------------------------


def _address(value: int, what: str) -> str:
    number(value, what)
    return f"{value:#x}"


def _prot(text: str) -> str:
    letters, _, memory = text.partition("-")
    name = "".join(letter for letter in "rwx" if letter in letters).upper() or "NO_ACCESS"
    return name + _TYPES[memory]


def _cache(pages: int | None) -> str:
    return "NO_CACHE" if pages is None else f"CACHE({number(pages, 'memcache')})"


def _options(sw: int, flags: Sequence[sc.WalkFlag], memcache: int | UnsetType | None) -> Arguments:
    options = []
    if sw:
        options.append(f".sw = {sw:#x}")
    if flags:
        names = dict.fromkeys(_FLAGS[flag] for flag in flags)
        options.append(f".flags = {' | '.join(names)}")
    if memcache is not UNSET:
        options.append(f".memcache = {_cache(memcache)}")
    return tuple(options)


def _range(op: Any) -> Arguments:
    return _address(op.ipa, "ipa"), size(op.size, "size")


def _map(op: sc.Map) -> Arguments:
    pa = _address(op.pa, "pa")
    return *_range(op), pa, _prot(op.prot), *_options(op.sw, op.flags, op.memcache)


def _relax_perms(op: sc.RelaxPerms) -> Arguments:
    return _address(op.ipa, "ipa"), _prot(op.prot), *_options(0, op.flags, UNSET)


def _annotate(op: sc.Annotate) -> Arguments:
    return *_range(op), number(op.owner, "owner")


def _split(op: sc.Split) -> Arguments:
    return *_range(op), *_options(0, (), op.memcache)


def _get_leaf(op: sc.GetLeaf) -> Arguments:
    return (_address(op.ipa, "ipa"),)


def _destroy(_op: sc.Destroy) -> Arguments:
    return ()


_ARGUMENTS: dict[type[Any], Callable[[Any], Arguments]] = {
    sc.Map: _map,
    sc.Unmap: _range,
    sc.WrProtect: _range,
    sc.RelaxPerms: _relax_perms,
    sc.MkYoung: _range,
    sc.MkOld: _range,
    sc.IsYoung: _range,
    sc.Flush: _range,
    sc.Annotate: _annotate,
    sc.Split: _split,
    sc.GetLeaf: _get_leaf,
    sc.Destroy: _destroy,
}


# --- comments ------------------------------------------------------------------------------------


def _expectation(prediction: Prediction | None, step: int) -> str:
    """``ret -EAGAIN; 0x80000000 3 x 4K rw``: what is returned, and the leaves then."""
    if prediction is None or step >= len(prediction.steps):
        return ""
    return " or ".join(dict.fromkeys(_words(one) for one in prediction.steps[step].allowed))


def _words(seen: Observation) -> str:
    words = []
    if seen.ret is not UNSET:
        words.append(f"ret {errno_name(seen.ret)}")
    if seen.leaves is not UNSET:
        words.append(_leaves(seen.leaves))
    return "; ".join(words)


def _leaves(runs: Sequence[LeafRun]) -> str:
    if not runs:
        return "no leaf"
    told = [_run(run) for run in runs[:_MOST_RUNS]]
    more = len(runs) - len(told)
    return ", ".join(told) + (f", {more} more" if more else "")


def _run(run: LeafRun) -> str:
    ipa, leaf, _pa, prot, sw, young, attr, count = run
    words = [f"{ipa:#x}", f"{count} x {size_text(leaf)}" if count > 1 else size_text(leaf)]
    words.append(prot or "no access")
    words += [f"sw={sw:#x}"] if sw else []
    words += [attr] if attr != "normal" else []
    words += [] if young else ["old"]
    return " ".join(words)


PGTABLE = Suite(
    header="pgtable.h",
    variable="pgtable_suite",
    opening=_opening,
    calls=_calls,
    closing=_closing,
)
