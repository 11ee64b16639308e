# SPDX-License-Identifier: GPL-2.0-only
"""A kernel file made bootable: whatever wrapping it comes in, the plain arm64 Image in it.

QEMU's ``-kernel`` takes a plain Image in every version; gzip only up to a size, and EFI zboot
only from QEMU 8 on. So everything is unwrapped here, once.

Sources: Documentation/arch/arm64/booting.rst (the Image header, magic at 56) and
drivers/firmware/efi/libstub/zboot-header.S (zboot: "zimg" at 4, payload offset and size at 8
and 12, compression type at 24).
"""

from __future__ import annotations

import lzma
import re
import struct
import zlib

from harness.kernels.command import complaint_of, run
from harness.vocabulary import UsageError

_IMAGE_MAGIC = (56, b"ARM\x64")
_ZBOOT_MAGIC = (4, b"zimg")
_ELF_MAGIC = (0, b"\x7fELF")
_MAX_WRAPPINGS = 3
_BANNER = re.compile(rb"Linux version (\d[^\s\0]*) \(")
_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def plain_image(data: bytes, where: str) -> bytes:
    """The uncompressed arm64 Image in ``data``; ``where`` names the file in messages.

    Raises:
        UsageError: no arm64 kernel Image, or damaged.
        ToolMissingError: compressed with zstd, and zstd is not installed.
    """
    for _ in range(_MAX_WRAPPINGS):
        if _has(data, _IMAGE_MAGIC):
            return data
        if _has(data, _ZBOOT_MAGIC):
            offset, size = struct.unpack_from("<II", data, 8)
            compression = data[24:56].split(b"\0")[0].decode(errors="replace")
            data = decompress(data[offset : offset + size], compression, where)
            continue
        compression = next(
            (name for magic, name in _COMPRESSIONS.items() if data[:6].startswith(magic)), ""
        )
        if not compression:
            break
        data = decompress(data, compression, where)
    if _has(data, _ELF_MAGIC):
        raise UsageError(f"kernel {where}: an ELF file; name arch/arm64/boot/Image instead")
    raise UsageError(f"kernel {where}: no arm64 Image in it; name an Image, Image.gz or vmlinuz")


def release_of(image: bytes) -> str:
    """``uname -r`` as the Image's own banner says it, "" where it has none."""
    match = _BANNER.search(image)
    return match[1].decode() if match else ""


def decompress(data: bytes, compression: str, where: str) -> bytes:
    """Undo gzip, xz, lzma or zstd (``22`` for zstd at that level); bytes after the end are left.

    Raises:
        UsageError: damaged data, or a compression that nothing here can undo.
        ToolMissingError: zstd is not installed.
    """
    if compression in {"zstd", "zstd22"}:
        return _unzstd(data, where)
    if compression not in {"gzip", "xz", "lzma"}:
        raise UsageError(
            f"{where}: compressed with {compression!r}, which is not supported; "
            "use an uncompressed, gzip, xz or zstd one"
        )
    stream = zlib.decompressobj(wbits=31) if compression == "gzip" else lzma.LZMADecompressor()
    try:
        plain = stream.decompress(data)
    except (zlib.error, lzma.LZMAError) as error:
        raise UsageError(_damaged(where, compression, str(error))) from error
    if not stream.eof:
        raise UsageError(_damaged(where, compression, "cut short"))
    return plain


def _unzstd(data: bytes, where: str) -> bytes:
    done = run(["zstd", "-dcq"], limit=60, stdin=data)
    if done.status != 0:
        raise UsageError(_damaged(where, "zstd", complaint_of(done.stderr)))
    return done.stdout


def _damaged(where: str, compression: str, problem: str) -> str:
    return f"{where}: damaged {compression} data ({problem}); fetch it again"


def _has(data: bytes, magic: tuple[int, bytes]) -> bool:
    offset, value = magic
    return data[offset : offset + len(value)] == value
