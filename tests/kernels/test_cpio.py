# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import stat
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from harness.kernels import cpio


def members(data: bytes) -> Iterator[tuple[str, dict[str, int], bytes]]:
    """A reader of newc, by the kernel's buffer-format document."""
    names = ["ino", "mode", "uid", "gid", "nlink", "mtime", "filesize"]
    names += ["major", "minor", "rmajor", "rminor", "namesize", "chk"]
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        assert at % 4 == 0
        values = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        fields = dict(zip(names, values, strict=True))
        name = data[at + 110 : at + 110 + fields["namesize"]]
        assert name.endswith(b"\0")
        body = (at + 110 + fields["namesize"] + 3) & ~3
        at = (body + fields["filesize"] + 3) & ~3
        if name == b"TRAILER!!!\0":
            assert at == len(data)
            return
        yield name[:-1].decode(), fields, data[body : body + fields["filesize"]]


_name = st.from_regex(r"[a-z]{1,6}", fullmatch=True)
_paths = st.lists(_name, min_size=1, max_size=4).map("/".join)


@given(files=st.dictionaries(_paths, st.binary(max_size=40), max_size=12))
def test_every_file_is_there_after_its_directories(files: dict[str, bytes]) -> None:
    leaves = {
        path: data
        for path, data in files.items()
        if not any(other.startswith(f"{path}/") for other in files)
    }
    entries = {path: cpio.regular(data) for path, data in leaves.items()}
    archive = cpio.archive(entries)
    seen: dict[str, bytes] = {}
    for path, fields, data in members(archive):
        parent = path.rpartition("/")[0]
        assert not parent or parent in seen
        assert fields["mtime"] == fields["uid"] == fields["gid"] == 0
        assert stat.S_ISREG(fields["mode"]) == (path in leaves)
        seen[path] = data
    assert {path: seen[path] for path in leaves} == leaves
    assert archive == cpio.archive(dict(reversed(list(entries.items()))))


def test_kinds_of_entries() -> None:
    archive = cpio.archive(
        {
            "dev/console": cpio.character_device(5, 1),
            "bin/sh": cpio.symlink("busybox"),
            "root": cpio.directory(0o700),
        }
    )
    found = {path: (fields, data) for path, fields, data in members(archive)}
    console, _ = found["dev/console"]
    assert stat.S_ISCHR(console["mode"])
    assert (console["rmajor"], console["rminor"]) == (5, 1)
    link, target = found["bin/sh"]
    assert stat.S_ISLNK(link["mode"])
    assert target == b"busybox"
    assert stat.S_IMODE(found["root"][0]["mode"]) == 0o700
    assert stat.S_IMODE(found["dev"][0]["mode"]) == 0o755
