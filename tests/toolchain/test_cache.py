# SPDX-License-Identifier: GPL-2.0-only
"""Entries appear whole or not at all, once, and the oldest go."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.toolchain.cache import Cache, digest
from harness.vocabulary import BuildError, InfraError


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cache:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    return Cache("kind", 3)


def _write(text: str) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        path.write_text(text)

    return build


def _no_build(path: Path) -> None:
    pytest.fail(f"built {path} again")


def _entries(tmp_path: Path) -> set[str]:
    folder = tmp_path / "toolchain" / "kind"
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_built_once(cache: Cache) -> None:
    first = cache.get("ab", _write("made"))
    assert first.read_text() == "made"
    assert cache.get("ab", _no_build) == first


def test_a_failed_build_leaves_nothing(cache: Cache, tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise BuildError("no")

    with pytest.raises(BuildError):
        cache.get("ab", fail)
    assert _entries(tmp_path) == set()
    assert cache.get("ab", _write("whole")).read_text() == "whole"


def test_two_at_once_build_once(cache: Cache) -> None:
    built = []
    both = threading.Barrier(2, timeout=30)

    def build(path: Path) -> None:
        built.append(path)
        path.write_text("made")

    def ask() -> None:
        both.wait()
        cache.get("ab", build)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(built) == 1


def test_the_longest_unused_goes(cache: Cache, tmp_path: Path) -> None:
    for age, key in enumerate(("a1", "b2", "c3")):
        entry = cache.get(key, lambda path: path.touch())
        os.utime(entry, (1000 + age, 1000 + age))
    cache.get("a1", _no_build)  # used now: no longer the oldest
    cache.get("d4", lambda path: path.touch())
    assert _entries(tmp_path) == {"a1", "c3", "d4"}


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("HARNESS_CACHE", str(blocked))
    with pytest.raises(InfraError, match="HARNESS_CACHE"):
        Cache("kind", 3).get("ab", _no_build)


@given(st.lists(st.text()), st.lists(st.text()))
def test_digest_tells_lists_apart(left: list[str], right: list[str]) -> None:
    assert (digest(left) == digest(right)) == (left == right)
