# SPDX-License-Identifier: GPL-2.0-only
"""Documents to scenarios and back: one schema, errors that say where and how to mend.

Every error names the file, the line (YAML), the scenario, the step and the mend.
"""

from __future__ import annotations

import difflib
import errno
import types
import typing
from typing import Any

import msgspec
import yaml

from reference_model import scenario as sc
from reference_model.documents import Node, ScenarioError, at_line, documents, kind_of, parse_number
from reference_model.scenario import Scenario
from reference_model.validate import check

#: Suites of the language that this version has no model for.
_LATER_SUITES = ("pkvm",)


def load_text(text: str, name: str) -> list[Scenario]:
    """All scenarios of one YAML or JSON document stream; ``name`` is the file's, for messages.

    Raises ScenarioError on the first thing wrong.
    """
    scenarios: list[Scenario] = []
    seen: dict[str, str] = {}
    for document in documents(text, name):
        scenario = _scenario(document, name)
        where = f"{name}{at_line(document)}"
        if scenario.id in seen:
            raise ScenarioError(
                f"{where}: scenario id '{scenario.id}' is already used at {seen[scenario.id]}; "
                "ids are unique: rename one"
            )
        seen[scenario.id] = where
        scenarios.append(scenario)
    if not scenarios:
        raise ScenarioError(f"{name}: holds no scenario; see docs/scenarios.md for an example")
    return scenarios


def dump_yaml(scenario: Scenario) -> str:
    """One YAML document that loads back into an equal scenario; one line a step."""
    plain = to_builtins(scenario)
    plain["steps"] = [
        _readable(step) if "parallel" in step else _Flow(_readable(step)) for step in plain["steps"]
    ]
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


class _Flow(dict[str, Any]):
    """A mapping written on one line."""


class _Hex(int):
    """A number written in hex."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Flow, lambda d, v: d.represent_mapping("tag:yaml.org,2002:map", v, flow_style=True)
)
_Dumper.add_representer(_Hex, lambda d, v: d.represent_scalar("tag:yaml.org,2002:int", hex(v)))


def _readable(step: dict[str, Any]) -> dict[str, Any]:
    if "parallel" in step:
        branches = [[_Flow(_readable(one)) for one in branch] for branch in step["parallel"]]
        return step | {"parallel": branches}
    return {
        key: _Hex(value) if key in _HEX_KEYS and type(value) is int else value
        for key, value in step.items()
    }


_HEX_KEYS = frozenset({"ipa", "pa", "gpa", "size", "value"})


def to_builtins(scenario: Scenario) -> dict[str, Any]:
    """The scenario as plain data, defaults left out; ``suite``, ``id`` and ``steps`` in order."""
    plain: dict[str, Any] = {"schema": 1, "id": scenario.id, "suite": scenario.suite}
    rest = _sparse(scenario)
    steps = rest.pop("steps")
    plain.update(rest)
    plain["steps"] = steps
    return plain


def _sparse(value: Any) -> Any:
    """A struct as a dict without the fields that hold their default."""
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        out: dict[str, Any] = {}
        if config.tag_field == "op" and not isinstance(value, sc.Parallel):
            out["op"] = config.tag
        for field in msgspec.structs.fields(value):
            item = getattr(value, field.name)
            if item is msgspec.UNSET or item == field.default:
                continue
            if field.default_factory is not msgspec.NODEFAULT and item == field.default_factory():
                continue
            out[field.name] = _sparse(item)
        return out
    if isinstance(value, (tuple, list)):
        return [_sparse(item) for item in value]
    if isinstance(value, dict):
        return {key: _sparse(item) for key, item in value.items()}
    return value


# --- documents to types ----------------------------------------------------------------------


def _scenario(document: Node, name: str) -> Scenario:
    where = f"{name}{at_line(document)}"
    ident = document.get("id")
    who = f"scenario '{ident}'" if isinstance(ident, str) else "scenario without id"
    suite = document.get("suite")
    cls = sc.SCENARIO_TYPES.get(suite) if isinstance(suite, str) else None
    if cls is None:
        raise ScenarioError(f"{where}: {who}: {_suite_problem(suite)}")
    if document.get("schema") != 1:
        raise ScenarioError(
            f"{where}: {who}: 'schema' must be 1, here stands {document.get('schema')!r}"
        )
    _check_keys(document, cls, f"{where}: {who}")
    steps = document.get("steps")
    if not isinstance(steps, list) or not steps:
        raise ScenarioError(f"{where}: {who}: 'steps' must be a list of at least one operation")
    ops = _ops(cls)
    plain = {key: _numbers(value, key) for key, value in document.items() if key != "steps"}
    plain["steps"] = [
        _step(step, index, ops, f"{name}{at_line(step) or at_line(document)}: {who}", str(suite))
        for index, step in enumerate(steps)
    ]
    if "expect" in plain:
        plain["expect"] = _expect(plain["expect"])
    if isinstance(vm := plain.get("vm"), dict):
        _check_keys(vm, sc.VmConfig, f"{where}: {who}: vm")
    try:
        scenario: Scenario = msgspec.convert(plain, cls)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{where}: {who}: {_explain(error)}") from None
    problem = check(scenario)
    if problem is not None:
        step, message = problem
        node = steps[step] if step is not None else document
        op = node.get("op", "parallel")
        place = f"step {step} ({op}): " if step is not None else ""
        raise ScenarioError(f"{name}{at_line(node) or at_line(document)}: {who}: {place}{message}")
    return scenario


def _step(step: Any, index: int | str, ops: dict[str, type[sc.Op]], where: str, suite: str) -> Any:
    if isinstance(step, dict) and "parallel" in step:
        return _parallel(step, index, ops, where, suite)
    if not isinstance(step, dict) or "op" not in step:
        raise ScenarioError(
            f"{where}: step {index}: a step is a mapping with 'op', here stands {kind_of(step)}"
        )
    op = step["op"]
    cls = ops.get(op) if isinstance(op, str) else None
    if cls is None:
        raise ScenarioError(
            f"{where}: step {index}: unknown op '{op}'{_nearest(str(op), ops)}; "
            f"suite '{suite}' has: {', '.join(sorted(ops))}"
        )
    _check_keys(step, cls, f"{where}: step {index} ({op})")
    if isinstance(backing := step.get("backing"), dict):
        _check_keys(backing, sc.Backing, f"{where}: step {index} ({op}): backing")
    plain = _numbers(step)
    try:
        msgspec.convert(plain, cls)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{where}: step {index} ({op}): {_explain(error)}") from None
    return plain


def _parallel(
    step: dict[str, Any], index: int | str, ops: dict[str, type[sc.Op]], where: str, suite: str
) -> Any:
    """``{parallel: [[…], […]], repeat: N}``: operations of the suite, but no block in a block."""
    if suite != "race":
        raise ScenarioError(
            f"{where}: step {index}: 'parallel' belongs to suite 'race', this is '{suite}'"
        )
    if "parallel" not in ops:
        raise ScenarioError(f"{where}: step {index}: a parallel block holds no other; flatten it")
    _check_keys(step, sc.Parallel, f"{where}: step {index} (parallel)")
    branches = step["parallel"]
    if not isinstance(branches, list) or not all(isinstance(one, list) for one in branches):
        raise ScenarioError(
            f"{where}: step {index}: 'parallel' must be a list of lists of operations, "
            "e.g. [[{op: write, …}], [{op: read, …}]]"
        )
    inner = {name: cls for name, cls in ops.items() if name != "parallel"}
    plain: dict[str, Any] = {key: _numbers(value, key) for key, value in step.items()}
    plain["op"] = "parallel"
    plain["parallel"] = [
        [
            _step(one, f"{index}, branch {number}, operation {at}", inner, where, suite)
            for at, one in enumerate(branch)
        ]
        for number, branch in enumerate(branches)
    ]
    try:
        msgspec.convert(plain, sc.Parallel)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{where}: step {index} (parallel): {_explain(error)}") from None
    return plain


def _expect(value: Any) -> Any:
    """One pinned outcome or a list of them, with errno names as numbers."""
    pins = value if isinstance(value, list) else [value]
    return [_errnos(pin) for pin in pins]


def _errnos(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item if key == "why" else _errnos(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_errnos(item) for item in value]
    if isinstance(value, str) and value[:2] == "-E" and hasattr(errno, value[1:]):
        return -int(getattr(errno, value[1:]))
    return value


_TEXT_KEYS = frozenset({"id", "title", "why", "suite", "op", "prot", "granule", "env", "profile"})


def _numbers(value: Any, key: str = "") -> Any:
    """Number-like text as ints, except under keys that hold text."""
    if key in _TEXT_KEYS:
        return value
    if isinstance(value, str):
        try:
            return parse_number(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        return {name: _numbers(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return value


def _ops(cls: type[Any]) -> dict[str, type[sc.Op]]:
    return _OPS[cls]


def _members(alias: Any) -> dict[str, type[sc.Op]]:
    members = typing.get_args(alias)
    return {str(member.__struct_config__.tag): member for member in members}


_OPS: dict[Any, dict[str, type[sc.Op]]] = {
    sc.PgtableScenario: _members(sc.PgtableOp),
    sc.GuestScenario: _members(sc.GuestOp),
    sc.RaceScenario: _members(sc.GuestOp | sc.Parallel),
}
assert isinstance(sc.PgtableOp, types.UnionType)


def _check_keys(node: dict[str, Any], cls: type[msgspec.Struct], where: str) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(cls)}
    tag = cls.__struct_config__.tag_field
    for key in node:
        if key not in fields and key != tag:
            raise ScenarioError(
                f"{where}: unknown key '{key}'{_nearest(key, fields)}; "
                f"known: {', '.join(sorted(fields))}"
            )
    for field in fields.values():
        if field.required and field.name not in node:
            raise ScenarioError(f"{where}: key '{field.name}' is missing; add it")


def _nearest(word: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _suite_problem(suite: Any) -> str:
    known = ", ".join(sorted(sc.SCENARIO_TYPES))
    if suite in _LATER_SUITES:
        return f"suite '{suite}' is not in this version; it has: {known}"
    if suite is None:
        return f"key 'suite' is missing; add one of: {known}"
    return f"unknown suite {suite!r}{_nearest(str(suite), sc.SCENARIO_TYPES)}; known: {known}"


_MENDS = {
    "prot": "letters of rwx, each at most once, then optionally -device or -nc",
    "flags": "see docs/scenarios.md for the flags of each operation",
    "id": "lower-case letters, digits, '.', '_' and '-'",
}


def _explain(error: msgspec.ValidationError) -> str:
    """msgspec's words with the path in front: ``ipa: Expected `int` >= 0``, and the mend."""
    message, _, path = str(error).partition(" - at ")
    path = path.strip("`").removeprefix("$").removeprefix(".")
    mend = _MENDS.get(path.partition("[")[0])
    if mend is not None:
        message = f"{message.partition(' matching regex')[0]}: {mend}"
    return f"{path}: {message}" if path else message
