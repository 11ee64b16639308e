# SPDX-License-Identifier: GPL-2.0-only
"""Copying what differs: the pages, and the script that puts them in place."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.targets.copies import PAGE, REPLACE_SCRIPT, Changes, changes


class Shell:
    """A shell with the tools of its machine: this one's, or a guest's busybox."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / "with 'quote"
        self._argv = ["/bin/sh"]
        self._tools = os.environ["PATH"]
        if name == "busybox":
            busybox = shutil.which(name)
            if busybox is None:
                pytest.skip("busybox is not installed")
            self._argv, self._tools = [busybox, "sh"], str(folder / "bin")
            (folder / "bin").mkdir()
            for tool in ("dd", "truncate"):
                (folder / "bin" / tool).symlink_to(busybox)

    def replace(self, old: bytes | None, changed: Changes, stdin: bytes) -> tuple[int, str]:
        """Status and output of the script, over a program with the old content (None: gone)."""
        if old is not None:
            self.file.write_bytes(old)
            self.file.chmod(0o700)
        done = subprocess.run(
            [*self._argv, "-c", REPLACE_SCRIPT, str(self.file), *changed.arguments()],
            input=stdin,
            capture_output=True,
            timeout=30,
            check=False,
            env={"PATH": self._tools},
        )
        return done.returncode, done.stdout.decode().strip()


@pytest.fixture(params=["sh", "busybox"])
def shell(tmp_path: Path, request: pytest.FixtureRequest) -> Shell:
    return Shell(tmp_path, request.param)


def _three_runs() -> tuple[bytes, bytes, Changes]:
    old = bytes(range(256)) * 16 * 64
    new = bytearray(old)
    new[5 * PAGE] ^= 1
    new[30 * PAGE : 32 * PAGE] = b"x" * 2 * PAGE
    new += b"and a tail"
    changed = changes(old, bytes(new))
    assert changed is not None
    assert changed.runs == ((5, 1), (30, 2), (64, 1))
    return old, bytes(new), changed


def test_the_script_makes_the_new_file_of_the_old_one(shell: Shell) -> None:
    old, new, changed = _three_runs()
    assert shell.replace(old, changed, changed.stdin()) == (0, str(len(new)))
    assert shell.file.read_bytes() == new


def test_the_script_shortens_a_file(shell: Shell) -> None:
    old = b"a" * 20 * PAGE
    new = b"a" * 10 * PAGE + b"b"
    changed = changes(old, new)
    assert changed is not None
    assert changed.runs == ((10, 1),)
    assert shell.replace(old, changed, changed.stdin()) == (0, str(len(new)))
    assert shell.file.read_bytes() == new


def test_the_same_content_needs_no_pages(shell: Shell) -> None:
    changed = changes(b"a" * PAGE, b"a" * PAGE)
    assert changed is not None
    assert changed.runs == ()
    assert shell.replace(b"a" * PAGE, changed, changed.stdin()) == (0, str(PAGE))


def test_input_that_came_short_is_noticed(shell: Shell) -> None:
    """Its end is missing, or something in between: dd ends well, and no or another size is read."""
    old, _, changed = _three_runs()
    whole = changed.stdin()
    shorter = [whole[:end] for end in (0, PAGE, 3 * PAGE - 1, 4 * PAGE, -2, -1)]
    for stdin in (*shorter, whole[PAGE:], whole[:PAGE] + whole[PAGE + 1 :], whole[1:]):
        assert shell.replace(old, changed, stdin) != (0, str(changed.size)), len(stdin)


def test_a_program_that_is_gone_is_not_made_of_its_changes(shell: Shell) -> None:
    _, _, changed = _three_runs()
    status, _ = shell.replace(None, changed, changed.stdin())
    assert status != 0
    assert not shell.file.exists()


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
