# SPDX-License-Identifier: GPL-2.0-only
"""Text to plain data that remembers its lines: YAML and JSON, before anything is asked of it.

Nothing in a scenario file is code: YAML tags other than the plain ones are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

_SUFFIX = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_NUMBER = re.compile(r"^(-?)(0[xX][0-9a-fA-F_]+|[0-9][0-9_]*)([KMGTkmgt]?)$")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ScenarioError(ValueError):
    """Bad scenario text: one line that names what, where and the mend."""


class Node(dict[str, Any]):
    """A mapping that remembers its line."""

    line: int = 0


def parse_number(text: str) -> int:
    """``0x80002000``, ``2M`` or ``17`` as an int; ValueError where it is none of these."""
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError(f"'{text}' is no number")
    sign, digits, suffix = match.groups()
    value = int(digits.replace("_", ""), 0) * _SUFFIX.get(suffix.upper(), 1)
    return -value if sign else value


def documents(text: str, name: str) -> Iterator[Node]:
    """The mappings of a YAML or JSON stream, or of the lists in it; ``name`` is the file's.

    ScenarioError on what is no mapping, not YAML, or more than data.
    """
    if text.lstrip()[:1] in ("{", "["):
        try:
            data = json.loads(text, object_pairs_hook=_unique_pairs)
        except json.JSONDecodeError as error:
            # Flow style YAML begins like JSON too; a file that says it is JSON does not.
            if name.endswith(".json"):
                raise ScenarioError(
                    f"{name}:{error.lineno}: not JSON: {error.msg}; mend the syntax there"
                ) from None
        except _DuplicateKeyError as error:
            raise ScenarioError(
                f"{name}: key '{error}' stands twice in one object; drop one"
            ) from None
        except RecursionError:
            raise ScenarioError(f"{name}: nested too deep to be a scenario; flatten it") from None
        else:
            yield from _flatten(data, name, 0)
            return
    try:
        for root in yaml.compose_all(text, Loader=_LOADER):
            if root is None or (isinstance(root, yaml.ScalarNode) and root.value == ""):
                continue
            built = _build(root, name)
            yield from _flatten(built, name, root.start_mark.line + 1)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ScenarioError(f"{name}{line}: not YAML: {problem}; mend the syntax there") from None
    except RecursionError:
        raise ScenarioError(f"{name}: nested too deep to be a scenario; flatten it") from None


class _DuplicateKeyError(ValueError):
    pass


def _unique_pairs(pairs: list[tuple[str, Any]]) -> Node:
    node = Node(pairs)
    if len(node) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(next(key for key in keys if keys.count(key) > 1))
    return node


def _flatten(data: Any, name: str, line: int) -> Iterator[Node]:
    for item in data if isinstance(data, list) else [data]:
        if not isinstance(item, Node):
            at = f":{line}" if line else ""
            raise ScenarioError(
                f"{name}{at}: a scenario is a mapping with 'schema', 'id', 'suite' and 'steps', "
                f"here stands {kind_of(item)}"
            )
        yield item


def _build(node: yaml.Node, name: str) -> Any:
    """A YAML node as plain data; mappings remember their line, aliases and odd tags are errors."""
    if isinstance(node, yaml.MappingNode):
        out = Node()
        out.line = node.start_mark.line + 1
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            line = key_node.start_mark.line + 1
            if key is None:
                raise ScenarioError(f"{name}:{line}: a key must be a plain word")
            if key in out:
                raise ScenarioError(f"{name}:{line}: key '{key}' stands twice; drop one")
            out[key] = _build(value_node, name)
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, name) for item in node.value]
    return _scalar(node, name)


def _scalar(node: yaml.Node, name: str) -> Any:
    tag = node.tag.rpartition(":")[2]
    value = node.value
    if tag == "null":
        return None
    if tag == "bool":
        return value.lower() in ("true", "yes", "on", "y")
    if tag in ("int", "str", "float", "timestamp"):
        if tag == "int":
            try:
                return parse_number(value)
            except ValueError:
                return value
        return value
    raise ScenarioError(
        f"{name}:{node.start_mark.line + 1}: YAML tag '{node.tag}' is not data; write it plainly"
    )


def at_line(node: Any) -> str:
    """``:17`` of what remembers its line, "" else: behind a file's name."""
    line = getattr(node, "line", 0)
    return f":{line}" if line else ""


def kind_of(value: Any) -> str:
    """What stands there, in words."""
    names = {list: "a list", dict: "a mapping", Node: "a mapping", str: "text", type(None): "null"}
    return names.get(type(value), f"{value!r}")
