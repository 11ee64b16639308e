# SPDX-License-Identifier: GPL-2.0-only
"""The module's reading of tables, compiled for this machine and driven through ctypes."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

from harness.resources import resource_dir

HERE = Path(__file__).parent
KERNEL_HEADERS = (
    *("linux/bitfield.h", "linux/bits.h", "linux/ioctl.h", "linux/kvm_host.h", "linux/mm.h"),
    *("linux/mutex.h", "linux/sched.h", "linux/slab.h", "linux/string.h", "linux/types.h"),
    "asm/kvm_pgtable.h",
)
FWB, LPA2 = 1 << 1, 1 << 5

LeafRun = tuple[int, int, int, str, int, bool, str, int]
AnnotationRun = tuple[int, int, int, int]


class _Leaf(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("ipa", "pa", "bits")),
        ("count", ctypes.c_uint32),
        *((name, ctypes.c_uint8) for name in ("shift", "prot", "sw", "attr")),
    )


class _Annotation(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("ipa", "value")),
        *((name, ctypes.c_uint32) for name in ("count", "shift")),
    )


class _Bad(ctypes.Structure):
    _fields_ = (
        ("ipa", ctypes.c_uint64),
        *((name, ctypes.c_int32) for name in ("level", "count", "expected", "reserved")),
    )


class _Delta(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint32) for name in ("keep_head", "keep_tail", "nr_runs", "reserved")
    )


def build(folder: Path, page_shift: int, *, mm_ops: bool = True) -> Scanner:
    """The library for one page size; without ``mm_ops``, as on a kernel that has none."""
    for name in KERNEL_HEADERS:
        header = folder / "include" / name
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text('#include "shim.h"\n')
    module = resource_dir("kselftests") / "module"
    library = folder / f"scan{page_shift}{'' if mm_ops else 'old'}.so"
    units = [HERE / "scan_host.c", *(module / f"{name}.c" for name in ("scan", "reader", "runs"))]
    defines = [f"-DPAGE_SHIFT={page_shift}", *(["-DHX_HAS_MM_OPS=1"] if mm_ops else [])]
    includes = [f"-I{folder / 'include'}", f"-I{HERE}", f"-I{module}"]
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-sign-compare", "-Wno-unused-parameter"]
    flags = ["-std=gnu11", "-O1", "-fPIC", "-shared", "-fsanitize=undefined"]
    argv = ["gcc", *flags, "-fno-sanitize-recover", *warnings, *defines, *includes]
    argv += [*map(str, units), "-o", str(library)]
    subprocess.run(argv, check=True, timeout=60)
    return Scanner(library, page_shift)


class Scanner:
    """One table in this process's memory, and what the module says stands in it."""

    def __init__(self, library: Path, page_shift: int) -> None:
        self._lib = ctypes.CDLL(str(library))
        for name, kind in (("leaves", _Leaf), ("annotations", _Annotation), ("bad", _Bad)):
            getattr(self._lib, f"host_{name}").restype = ctypes.POINTER(kind)
        self._lib.host_deltas.restype = ctypes.POINTER(_Delta)
        self.page_shift = page_shift
        self.entries = (1 << page_shift) // 8
        self._memory: list[object] = []

    def pages(self, count: int) -> tuple[ctypes.Array[ctypes.c_uint64], int]:
        """Fresh zeroed table pages, contiguous and aligned, and their address."""
        size = count << self.page_shift
        raw = (ctypes.c_uint8 * (size + (1 << self.page_shift)))()
        self._memory.append(raw)
        start = -(-ctypes.addressof(raw) >> self.page_shift) << self.page_shift
        array = (ctypes.c_uint64 * (self.entries * count)).from_address(start)
        self._lib.host_add(array, count)
        return array, start

    def refs(self, address: int, count: int) -> None:
        """Set the reference count of the table page at an address."""
        self._lib.host_refs(ctypes.c_uint64(address), count)

    def begin(self, root: int, ia_bits: int, start_level: int, host: int) -> None:
        """A table with this root; the first step comes next."""
        assert self._lib.host_begin(ctypes.c_uint64(root), ia_bits, start_level, host) == 0

    def step(self, ipa: int, size: int, *, everything: bool) -> None:
        """What a step on a range leaves to be read."""
        error = self._lib.host_step(ctypes.c_uint64(ipa), ctypes.c_uint64(size), everything)
        assert error == 0

    def end(self) -> None:
        """Forget the table."""
        self._lib.host_end()
        self._memory.clear()

    def leaves(self) -> list[LeafRun]:
        """The leaf runs in the form of an observation."""
        return [
            (
                run.ipa,
                1 << run.shift,
                run.pa,
                "".join(letter for bit, letter in enumerate("rwx") if run.prot >> bit & 1),
                run.sw,
                bool(run.attr & 0x80),
                ("normal", "nc", "device", "other")[run.attr & 0xF],
                run.count,
            )
            for run in self._items("leaves")
        ]

    def annotations(self) -> list[AnnotationRun]:
        """The annotation runs in the form of an observation."""
        return [
            (run.ipa, 1 << run.shift, run.value, run.count) for run in self._items("annotations")
        ]

    def bad(self) -> list[tuple[int, int, int, int]]:
        """Tables with a wrong count."""
        return [(bad.ipa, bad.level, bad.count, bad.expected) for bad in self._items("bad")]

    def deltas(self) -> list[tuple[int, int, int]]:
        """Of leaves and annotations: head, tail, and the number of runs between."""
        found = self._lib.host_deltas()
        return [(found[i].keep_head, found[i].keep_tail, found[i].nr_runs) for i in range(2)]

    def tables(self) -> int:
        """Table pages below the root."""
        return int(self._lib.host_tables())

    def _items(self, name: str) -> list[ctypes.Structure]:
        count = ctypes.c_uint32()
        items = getattr(self._lib, f"host_{name}")(ctypes.byref(count))
        return [items[i] for i in range(count.value)]
