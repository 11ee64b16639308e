# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from msgspec import Struct

from harness.kernels.store import Store, write_whole
from harness.vocabulary import InfraError


class Note(Struct, frozen=True):
    text: str


def test_blobs_are_named_by_their_content(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    blob = store.put(b"abc", "Image")
    assert blob.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert store.path(blob).read_bytes() == b"abc"
    source = tmp_path / "Image"
    source.write_bytes(b"abc")
    assert store.put_file(source) == blob
    assert [path.name for path in store.path(blob).parent.iterdir()] == ["Image"]


def test_a_truncated_blob_is_not_held_and_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    blob = store.put(b"abc", "Image")
    store.path(blob).write_bytes(b"a")
    assert not store.holds(blob)
    assert store.put(b"abc", "Image") == blob
    assert store.holds(blob)
    assert store.path(blob).read_bytes() == b"abc"


def test_records_come_back_and_foreign_ones_count_as_absent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.read("kernel", "debian:sid", Note) is None
    assert store.all("kernel", Note) == ()
    store.write("kernel", "debian:sid/arm64", Note("a"))
    store.write("kernel", "debian:sid/arm64", Note("b"))
    assert store.read("kernel", "debian:sid/arm64", Note) == Note("b")
    (tmp_path / "records/kernel/older.json").write_text('{"other": 1}')
    assert store.read("kernel", "older", Note) is None
    assert store.all("kernel", Note) == (Note("b"),)


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_whole(target, b"old")
    with pytest.raises(TypeError):
        write_whole(target, "no bytes")  # type: ignore[arg-type]
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_no_directory_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InfraError, match="set HARNESS_CACHE") as caught:
        Store(tmp_path / "file").put(b"x", "y")
    assert "\n" not in str(caught.value)


def test_a_held_lock_is_waited_for_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.kernels.store.LOCK_LIMIT", 0.05)
    with (
        Store(tmp_path).lock("userland"),
        pytest.raises(InfraError, match=r"userland\.lock.*another process"),
        Store(tmp_path).lock("userland"),
    ):
        pytest.fail("two holders of one lock")


def test_the_environment_names_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "there"))
    assert Store.default().root == tmp_path / "there"
    monkeypatch.delenv("HARNESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Store.default().root == tmp_path / "xdg" / "harness"
    assert list(tmp_path.iterdir()) == []
