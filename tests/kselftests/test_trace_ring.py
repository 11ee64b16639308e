# SPDX-License-Identifier: GPL-2.0-only
"""The ring buffer's pages, as kernels gave them and as they should never be.

``rings/`` holds what tracefs of two kernels said of one scenario: pages of trace_pipe_raw, the
formats of their events, and the same events as text.
"""

from __future__ import annotations

import errno
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.resources import resource_dir

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc for this machine")

RINGS = Path(__file__).parent / "rings"
KERNELS = sorted(path.name for path in RINGS.iterdir())
PATIENCE = 60.0
COMMIT_MISSED = 1 << 31

Event = dict[str, int | str]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = resource_dir("kselftests")
    output = tmp_path_factory.mktemp("ring") / "ring"
    units = [Path(__file__).with_name("ring.c"), folder / "trace_ring.c"]
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fsanitize=address,undefined"]
    subprocess.run(
        ["gcc", *flags, f"-I{folder}", *units, "-o", output], check=True, timeout=PATIENCE
    )
    return output


def _run(program: Path, *arguments: str | Path) -> list[str]:
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.splitlines()


# --- real pages ------------------------------------------------------------------------------


def _field(program: Path, folder: Path, event: str, name: str) -> tuple[int, int] | None:
    words = _run(program, folder, folder / "events" / event / "format", name)[0].split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else None


def _value(data: bytes, field: tuple[int, int]) -> int:
    offset, size = field
    return int.from_bytes(data[offset : offset + size], "little")


def _from_text(folder: Path) -> list[Event]:
    events: list[Event] = []
    for line in (folder / "text").read_text().splitlines():
        match = re.match(r"\s*\S+-(\d+) +\[\d+\] \S+ +[\d.]+: (\w+): (.*)", line)
        if match is None:
            continue
        event: Event = {"pid": int(match[1]), "event": match[2]}
        for name in ("ipa", "size", "prot", "ret"):
            value = re.search(rf"\b{name}[= ](0x[0-9a-f]+|\d+)", match[3])
            if value is not None:
                event[name] = int(value[1], 0)
        events.append(event)
    return events


@pytest.mark.parametrize("kernel", KERNELS)
def test_pages_say_what_the_text_says(program: Path, kernel: str) -> None:
    folder = RINGS / kernel
    layouts = {}
    for event in ("cap/map", "cap/map_ret", "cap/relax", "cap/relax_ret", "kvm/kvm_guest_fault"):
        fields = {name: _field(program, folder, event, name) for name in ("ipa", "size", "prot",
                  "ret")}  # fmt: skip
        ident = int((folder / "events" / event / "id").read_text())
        layouts[ident] = (event.partition("/")[2], fields)
    lines = _run(program, folder)
    assert lines.pop() == "complete"
    read: list[Event] = []
    for line in lines:
        data = bytes.fromhex(line.removeprefix("event "))
        kind, pid = struct.unpack_from("<H2xi", data)
        name, fields = layouts[kind]
        event_read: Event = {"pid": pid, "event": name}
        event_read |= {
            key: _value(data, field) for key, field in fields.items() if field is not None
        }
        read.append(event_read)
    assert read == _from_text(folder)
    assert len(read) > 20


@pytest.mark.parametrize("kernel", KERNELS)
def test_fields_of_real_formats(program: Path, kernel: str) -> None:
    folder = RINGS / kernel
    assert _field(program, folder, "cap/map", "prot") == (32, 8)
    assert _field(program, folder, "cap/map", "common_pid") == (4, 4)
    assert _field(program, folder, "cap/map_ret", "ret") == (24, 4)
    assert _field(program, folder, "cap/map", "pro") is None
    assert _field(program, folder, "kvm/kvm_guest_fault", "size") is None


# --- pages made by hand ----------------------------------------------------------------------


def _header(kind: int, delta: int = 1) -> bytes:
    return struct.pack("<I", kind | delta << 5)


def _event(data: bytes) -> bytes:
    assert len(data) % 4 == 0
    if len(data) <= 28 * 4:
        return _header(len(data) // 4) + data
    return _header(0) + struct.pack("<I", len(data) + 4) + data


def _instance(folder: Path, *pages: bytes, flags: int = 0) -> Path:
    (folder / "events").mkdir()
    (folder / "per_cpu" / "cpu0").mkdir(parents=True)
    shutil.copy(RINGS / KERNELS[0] / "events" / "header_page", folder / "events")
    raw = b"".join(
        struct.pack("<QQ", 1, len(page) | flags) + page.ljust(4080, b"\0") for page in pages
    )
    (folder / "per_cpu" / "cpu0" / "trace_pipe_raw").write_bytes(raw)
    return folder


def _events(*data: bytes) -> list[str]:
    return [f"event {one.hex()}" for one in data]


def test_no_page(program: Path, tmp_path: Path) -> None:
    assert _run(program, _instance(tmp_path)) == ["complete"]


def test_pages_one_after_the_other(program: Path, tmp_path: Path) -> None:
    one, two, three = b"abcd", b"12345678", b"x" * 200
    folder = _instance(tmp_path, _event(one) + _event(two), _event(three))
    assert _run(program, folder) == [*_events(one, two, three), "complete"]


def test_time_and_padding_are_no_events(program: Path, tmp_path: Path) -> None:
    page = (
        _header(30) + b"TIME"
        + _event(b"abcd")
        + _header(29) + struct.pack("<I", 8) + b"gone"
        + _header(31) + b"TIME"
        + _event(b"efgh")
        + _header(29, delta=0) + _event(b"none")
    )  # fmt: skip
    # The length of padding includes its own word.
    assert _run(program, _instance(tmp_path, page)) == [*_events(b"abcd", b"efgh"), "complete"]


def test_lost_events_are_told(program: Path, tmp_path: Path) -> None:
    folder = _instance(tmp_path, _event(b"abcd"), flags=COMMIT_MISSED)
    assert _run(program, folder) == [*_events(b"abcd"), "lost"]


def test_no_such_instance(program: Path, tmp_path: Path) -> None:
    assert _run(program, tmp_path / "none") == [str(-errno.ENOENT)]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=4096 * 2))
def test_any_bytes_are_survived(
    program: Path, tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    """Under the address sanitizer: nothing is read beyond a page."""
    folder = _instance(tmp_path_factory.mktemp("any"))
    (folder / "per_cpu" / "cpu0" / "trace_pipe_raw").write_bytes(raw)
    assert _run(program, folder)[-1] in ("complete", "lost")
