# SPDX-License-Identifier: GPL-2.0-only
"""What can be made simpler in a scenario, whatever its suite.

The key insight: a scenario as plain data (:func:`reference_model.language.to_builtins`, defaults
left out) is a tree of mappings, lists, numbers and words, and the types of the language say what
is still a scenario. So three edits serve every operation there is or will be: drop an element of a
list, drop a key (its default stands then), put a simpler value. Edits name places of the original
tree, so any number of them can be applied at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from reference_model.language import to_builtins
from reference_model.scenario import SCENARIO_TYPES, Scenario
from reference_model.validate import check

Path: TypeAlias = tuple[str | int, ...]
Tree: TypeAlias = Any


class _Drop:
    """In place of a value: the element or key goes."""


DROP = _Drop()


class Instead(Struct, frozen=True):
    """In place of one element of a list: these."""

    elements: tuple[Any, ...]


#: Places and what is to stand there.
Edit: TypeAlias = tuple[tuple[Path, Any], ...]

#: Keys that say what a scenario or step is, not what is in it.
_FIXED = frozenset({"schema", "id", "suite", "op", "title", "expect"})
_ADDRESSES = ("ipa", "gpa", "pa")
_PAGE = 0x1000
_UNEVEN = 64
_NOTHING = 4
_SHIFTS = (39, 30, 21, 16, 14, 12)
_SIZES = tuple(1 << bits for bits in (0, 1, 2, 3, 12, 14, 16, 21, 25, 29, 30))


def to_tree(scenario: Scenario) -> Tree:
    """The scenario as plain data, without title and pins."""
    tree = to_builtins(msgspec.structs.replace(scenario, title="", expect=()))
    return {key: value for key, value in tree.items() if key not in ("title", "expect")}


def to_scenario(tree: Tree) -> Scenario | None:
    """The scenario that a tree says, or None where it says none."""
    try:
        plain = tree | {"steps": [_tagged(step) for step in tree["steps"]]}
        scenario: Scenario = msgspec.convert(plain, type=SCENARIO_TYPES[tree["suite"]])
    except (msgspec.ValidationError, KeyError, TypeError):
        return None
    return scenario if check(scenario) is None else None


def _tagged(step: Any) -> Any:
    """A block of parallel lists is told by its key; its type is told by its op."""
    if isinstance(step, dict) and "parallel" in step:
        return {"op": "parallel"} | step
    return step


def apply(tree: Tree, edits: Mapping[Path, Any]) -> Tree:
    """A copy of ``tree`` with all edits made; an edit below a dropped place is lost with it."""
    return _apply(tree, edits, ())


def _apply(node: Tree, edits: Mapping[Path, Any], at: Path) -> Tree:
    if at in edits:
        return edits[at]
    if isinstance(node, dict):
        pairs = ((key, _apply(value, edits, (*at, key))) for key, value in node.items())
        return {key: value for key, value in pairs if value is not DROP}
    if isinstance(node, list):
        out: list[Any] = []
        for index, value in enumerate(node):
            made = _apply(value, edits, (*at, index))
            if isinstance(made, Instead):
                out += made.elements
            elif made is not DROP:
                out.append(made)
        return out
    return node


def cost(tree: Tree) -> tuple[int, ...]:
    """How much there is to read: operations, then keys and elements, then what the values are.

    A tuple of numbers that are not negative: what only ever gets cheaper comes to an end.
    """
    steps, nodes, weight = 0, 0, 0
    for path, value in _walk(tree, ()):
        if path and path[-1] in ("id", "title"):
            continue
        nodes += 1
        if isinstance(value, dict):
            steps += "op" in value or "parallel" in value
            weight += _uneven(value)
        elif isinstance(value, bool):
            weight += value
        elif isinstance(value, int):
            weight += _number_cost(value)
        elif isinstance(value, str):
            # "" is no access at all: a word says more for less.
            weight += len(value) or _NOTHING
    return steps, nodes, weight


def _uneven(step: dict[str, Any]) -> int:
    """A range that is not made of pages makes a reader wonder."""
    if "ipa" not in step:
        return 0
    odd = sum(bool(step.get(key, 0) % _PAGE) for key in ("ipa", "size", "pa"))
    return _UNEVEN * (odd + (step.get("size") == 0))


def _number_cost(value: int) -> int:
    """Few digits are cheap, and few ones among them: 0x80000000 reads better than 0x7ffff000."""
    return value.bit_length() + 4 * value.bit_count()


def _walk(node: Tree, at: Path) -> Iterator[tuple[Path, Tree]]:
    yield at, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _walk(value, (*at, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _walk(value, (*at, index))


# --- passes: each gives edits to try ------------------------------------------------------------

Pass: TypeAlias = Callable[[Tree], Iterator[Edit]]


def chunks(tree: Tree) -> Iterator[Edit]:
    """Runs of steps dropped, and all but one run and the last step: few steps left come first."""
    count = len(tree["steps"])
    size = count
    while size > 1:
        size = -(-size // 2)
        for start in range(0, count, size):
            stop = min(start + size, count)
            inside = range(start, stop)
            outside = [at for at in range(count - 1) if at not in inside]
            yield _dropped(outside)
            yield _dropped(list(inside))


def _dropped(indices: list[int]) -> Edit:
    return tuple((("steps", at), DROP) for at in indices)


def elements(tree: Tree) -> Iterator[Edit]:
    """One element of one list dropped: a step, a flag, a page, a list of a parallel block."""
    for path, value in _walk(tree, ()):
        if path and isinstance(path[-1], int) and not _under_fixed(path):
            del value
            yield ((path, DROP),)


def unrolled(tree: Tree) -> Iterator[Edit]:
    """A parallel block replaced by one of its lists, one step after the other."""
    for index, step in enumerate(tree["steps"]):
        branches = step.get("parallel", ()) if isinstance(step, dict) else ()
        for branch in branches:
            yield ((("steps", index), Instead(tuple(branch))),)


def keys(tree: Tree) -> Iterator[Edit]:
    """One key dropped, so that its default stands."""
    for path, _value in _walk(tree, ()):
        if path and isinstance(path[-1], str) and path[-1] not in _FIXED and path != ("steps",):
            yield ((path, DROP),)


def _under_fixed(path: Path) -> bool:
    return bool(path) and path[0] in _FIXED


def together(tree: Tree) -> Iterator[Edit]:
    """What has to change everywhere at once: addresses moved down, vCPUs and slots renumbered."""
    leaves = [(path, value) for path, value in _walk(tree, ()) if type(value) is int]
    for names in (("ipa", "gpa"), ("pa",)):
        found = [(path, value) for path, value in leaves if path[-1] in names]
        for shift in _SHIFTS if found else ():
            base = min(value for _, value in found) >> shift << shift
            if base:
                yield tuple((path, value - base) for path, value in found)
        for bits in _SHIFTS if found else ():
            mask = (1 << bits) - 1
            if any(value & ~mask for _, value in found):
                yield tuple((path, value & mask) for path, value in found)
    for name in ("vcpu", "slot"):
        places = [(path, value) for path, value in leaves if path[-1] == name]
        for value in sorted({value for _, value in places}):
            for lower in (0, 1):
                if lower < value:
                    yield tuple((path, lower) for path, old in places if old == value)
    yield from _moved(tree)
    yield from _alike(tree)
    yield from _fewer_vcpus(tree, leaves)


def _moved(tree: Tree) -> Iterator[Edit]:
    """One step moved to a lower address, its output with it: where both must stay in step."""
    bases = sorted({step["ipa"] for step in tree["steps"] if "ipa" in step})
    for index, step in enumerate(tree["steps"]):
        if "ipa" not in step or "pa" not in step:
            continue
        ipa, pa = step["ipa"], step["pa"]
        floors = (ipa >> shift << shift for shift in _SHIFTS)
        for low in dict.fromkeys((0, *bases, *floors)):
            if low < ipa and ipa - low <= pa:
                yield (
                    (("steps", index, "ipa"), low),
                    (("steps", index, "pa"), pa - (ipa - low)),
                )


def _alike(tree: Tree) -> Iterator[Edit]:
    """A value that stands under one key in several places dropped, or made simpler, in all."""
    places: dict[tuple[str, str], list[tuple[Path, Any]]] = {}
    for path, value in _walk(tree, ()):
        if path and isinstance(path[-1], str) and isinstance(value, (int, str)):
            places.setdefault((path[-1], str(value)), []).append((path, value))
    for (key, _), found in places.items():
        if len(found) < 2 or key in _FIXED:
            continue
        yield tuple((path, DROP) for path, _ in found)
        for simpler in dict.fromkeys(_simpler(key, found[0][1])):
            yield tuple((path, simpler) for path, _ in found)


def _fewer_vcpus(tree: Tree, leaves: list[tuple[Path, int]]) -> Iterator[Edit]:
    vcpus = tree.get("vm", {}).get("vcpus", 1) if isinstance(tree.get("vm"), dict) else 1
    for count in range(1, vcpus):
        high = [(path, 0) for path, value in leaves if path[-1] == "vcpu" and value >= count]
        yield ((("vm", "vcpus"), count), *high)


def values(tree: Tree) -> Iterator[Edit]:
    """One value made simpler: a smaller number, a word with less in it."""
    for path, value in _walk(tree, ()):
        if not path or path[-1] in _FIXED or _under_fixed(path):
            continue
        for one in dict.fromkeys(_simpler(str(path[-1]), value)):
            yield ((path, one),)


def _simpler(key: str, value: Any) -> list[Any]:
    """Values to try in the place of a number or a word."""
    if type(value) is int:
        return _simpler_numbers(key, value)
    if not isinstance(value, str):
        return []
    words = [value[:at] + value[at + 1 :] for at in range(len(value))]
    words += [value.partition("-")[0]] if "-" in value else []
    return [*words, "r"] if key == "prot" else words


def _simpler_numbers(key: str, value: int) -> list[int]:
    candidates = [0, 1, value >> 1, value & (value - 1)]
    if value:
        candidates.append(1 << value.bit_length() - 1)
    if key in ("size", *_ADDRESSES):
        candidates += [value & -_PAGE, -(-value // _PAGE) * _PAGE]
    if key == "size":
        candidates += [size for size in _SIZES if size < value]
        candidates.append(value - 0x1000)
    elif key in _ADDRESSES:
        candidates += [value >> shift << shift for shift in _SHIFTS]
        candidates += [value & (1 << shift) - 1 for shift in _SHIFTS]
        candidates += [1 << shift for shift in _SHIFTS]
    return [one for one in candidates if one >= 0]


#: In the order in which they are tried; the dearest to answer come when little is left.
PASSES: tuple[Pass, ...] = (chunks, elements, unrolled, keys, together, values)
