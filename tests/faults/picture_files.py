"""Picture files written byte by byte after their formats' definitions, so that what they show is known without any decoder."""

import struct
import zlib

import numpy as np

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # x, y, step in x, step in y


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples: np.ndarray, *, bits: int = 8, color: int = 2, extra: bytes = b"", interlaced: bool = False, size=None) -> bytes:
    """``samples`` (H, W, channels) of ``bits`` each; ``color``: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. ISO/IEC 15948."""
    height, width = size or samples.shape[:2]
    passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [samples]
    lines = b"".join(b"\0" + _packed(line, bits) for part in passes if part.size for line in part)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    data = chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + data + chunk(b"IEND", b"")


def _packed(line: np.ndarray, bits: int) -> bytes:
    if bits >= 8:
        return line.astype(">u2" if bits == 16 else "u1").tobytes()
    whole = (line.reshape(-1, 1).astype(np.uint8) >> np.arange(bits - 1, -1, -1)) & 1  # each sample's bits, the highest first
    return np.packbits(whole.reshape(-1)).tobytes()


def tiff(
    data: bytes, *, width: int, height: int, samples: int = 1, bits: int = 8, photometric: int = 1, kind: int = 1, order: str = "<"
) -> bytes:
    """One strip of ``data``, not compressed. ``photometric``: 0 white is zero, 1 black is zero, 2 RGB; ``kind``: 1 whole numbers, 3 floats.

    TIFF revision 6.0 (Adobe, 1992).
    """
    values = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [photometric]), 273: (4, [0])}
    values |= {277: (3, [samples]), 278: (4, [height]), 279: (4, [len(data)]), 339: (3, [kind] * samples)}
    place = 8 + 2 + 12 * len(values) + 4
    outside, entries = b"", b""
    lists = {tag: struct.pack(f"{order}{len(numbers)}{'HL'[form == 4]}", *numbers) for tag, (form, numbers) in values.items()}
    lists[273] = struct.pack(f"{order}L", place + sum(len(raw) for raw in lists.values() if len(raw) > 4))
    for tag, (form, numbers) in values.items():
        raw = lists[tag]
        if len(raw) > 4:
            outside, raw = outside + raw, struct.pack(f"{order}L", place + len(outside))
        entries += struct.pack(f"{order}HHL", tag, form, len(numbers)) + raw.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}LH", 8, len(values)) + entries + bytes(4) + outside + data


def resized_jpeg(content: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header says another size (ITU T.81, B.2.2)."""
    place = next(k for k in range(len(content)) if content[k] == 0xFF and content[k + 1] in (0xC0, 0xC1, 0xC2)) + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]
