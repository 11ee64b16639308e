# SPDX-License-Identifier: GPL-2.0-only
"""Copying what differs: the pages, and the script that puts them in place."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.targets.copies import PAGE, REPLACE_SCRIPT, Changes, changes


def _replaced(folder: Path, old: bytes, new: bytes, changed: Changes) -> tuple[bytes, str]:
    file = folder / "with 'quote"
    file.write_bytes(old)
    done = subprocess.run(
        ["/bin/sh", "-c", REPLACE_SCRIPT, str(file), str(len(new)), *changed.arguments()],
        input=changed.data,
        capture_output=True,
        timeout=30,
        check=True,
    )
    return file.read_bytes(), done.stdout.decode().strip()


def test_the_script_makes_the_new_file_of_the_old_one(tmp_path: Path) -> None:
    old = bytes(range(256)) * 16 * 64
    new = bytearray(old)
    new[5 * PAGE] ^= 1
    new[30 * PAGE : 32 * PAGE] = b"x" * 2 * PAGE
    new += b"and a tail"
    changed = changes(old, bytes(new))
    assert changed is not None
    assert changed.runs == ((5, 1), (30, 2), (64, 1))
    assert _replaced(tmp_path, old, bytes(new), changed) == (bytes(new), str(len(new)))


def test_the_script_shortens_a_file(tmp_path: Path) -> None:
    old = b"a" * 20 * PAGE
    new = b"a" * 10 * PAGE + b"b"
    changed = changes(old, new)
    assert changed is not None
    assert changed.runs == ((10, 1),)
    assert _replaced(tmp_path, old, new, changed)[0] == new


def test_pages_between_near_changes_are_copied_too() -> None:
    old = bytes(100 * PAGE)
    new = bytearray(old)
    new[10 * PAGE] = new[14 * PAGE] = 1
    changed = changes(old, bytes(new))
    assert changed is not None
    assert changed.runs == ((10, 5),)


def test_what_differs_all_over_is_copied_whole() -> None:
    assert changes(b"", b"abc") is None
    assert changes(b"a" * 100 * PAGE, b"b" * 100 * PAGE) is None
    scattered = bytearray(1000 * PAGE)
    scattered[:: 50 * PAGE] = b"x" * 20
    assert changes(bytes(1000 * PAGE), bytes(scattered)) is None


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_the_pages_of_any_two_files_make_the_second_one(first: bytes, second: bytes) -> None:
    old, new = (
        b"".join(bytes([byte % 3]) * PAGE for byte in text)[:-9] for text in (first, second)
    )
    changed = changes(old, new)
    if changed is None:
        return
    made = bytearray(old.ljust(len(new) + PAGE, b"\0"))
    at = 0
    for page, count in changed.runs:
        made[page * PAGE : (page + count) * PAGE] = changed.data[at : at + count * PAGE]
        at += count * PAGE
    assert at == len(changed.data)
    assert bytes(made[: len(new)]) == new
