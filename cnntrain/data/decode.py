"""One picture file to uint8 (C, S, S), the same way everywhere: for the cache, for streaming workers and for prediction.

What is done to a picture: only the formats named below are opened; more than ``max_pixels`` are refused from the header; the first frame
of an animation counts; 12 and 16 bits a channel are scaled to 8, not clipped; transparency is laid over white; CMYK and LAB
become RGB; the camera's orientation (EXIF) is applied; then the picture is resized with antialiasing. JPEG's draft mode is not used: it
changes pixels. This module imports no torch, so that decoding processes stay small.
"""

import os
import stat
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

FORMATS = ("JPEG", "PNG", "BMP", "PCX", "GIF", "TIFF", "WEBP")
SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .pcx .gif .tif .tiff .webp".split())
# EXIF orientation (CIPA DC-008, tag 0x0112) to the name of Pillow's transposition that undoes it.
TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
ORIENTATION = 0x0112
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF 6.0: bits a sample; what the values stand for; the photometric value of negatives


class UnreadableError(Exception):
    """A file that gives no picture; the text says why, without its name."""


@dataclass(frozen=True)
class Rules:
    """What every picture is brought to: ``image_size`` squared, by squashing or by cropping the middle; ``channels`` 1 or 3.

    An ``image_size`` of 0 leaves each picture its own size.
    """

    image_size: int
    resize: Literal["squash", "crop"] = "squash"
    channels: int = 3
    max_pixels: int = 100_000_000


@contextmanager
def pillow_rules() -> Iterator[None]:
    """Pillow's own pixel limit (ours is the configured one) and its remarks on odd files are off within the block."""
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def decode(path: str | Path, rules: Rules, *, listed: tuple[int, int] | None = None) -> tuple[np.ndarray, bool]:
    """Give the picture, uint8 (C, S, S) or (C, H, W), and whether the file has more frames. To be called within :func:`pillow_rules`.

    ``listed``: the :func:`stamp` that the file must still have, if it was looked at before.

    Raises:
        UnreadableError: the file is gone, empty, damaged, no picture or too large, or has changed.
    """
    from PIL import UnidentifiedImageError

    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError("no regular file")
            if listed is not None and stamp(status) != listed:
                raise UnreadableError("it has changed since the folder was listed")
            return _decode(file, rules)
    except (UnreadableError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UnreadableError("no picture of a known format" if status.st_size else "an empty file") from None
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise UnreadableError(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error


def stamp(status: os.stat_result) -> tuple[int, int]:
    """What shows that a file is as it was: its size, and its time in ns as an unsigned number (there are pictures from before 1970)."""
    return status.st_size, status.st_mtime_ns & (1 << 64) - 1


def _open_without_waiting(path: str, flags: int) -> int:
    """Open for reading; a pipe under a picture's name, for which open() would wait for ever until someone writes, opens at once."""
    try:
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    except BlockingIOError:  # a file server has a lease on the file, which it gives up when asked
        return os.open(path, flags)


def _decode(file, rules: Rules) -> tuple[np.ndarray, bool]:
    from PIL import Image

    with Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        if width * height > rules.max_pixels:
            raise UnreadableError(f"{width} x {height} pixels, more than data.max_pixels={rules.max_pixels}")
        if image.format == "PNG":
            _check_sums(file)
        several = image.format in ("GIF", "PNG", "TIFF", "WEBP") and getattr(image, "is_animated", False)
        image.load()
        turn = TURNS.get(_orientation(image))  # after loading: Pillow turns TIFF by itself, and PNG keeps it behind the pixels
        plain = _eight_bits(image, rules.channels)
        if turn:
            plain = plain.transpose(Image.Transpose[turn])
        return _pixels(plain, rules), several


def _check_sums(file) -> None:
    """Hold the critical chunks of a PNG against their checksums: Pillow does not, and damaged pixels would be taken for good ones."""
    place, kind = file.tell(), b""
    file.seek(8)
    while kind != b"IEND" and len(head := file.read(8)) == 8:
        kind, body, stored = head[4:], file.read(int.from_bytes(head[:4], "big")), file.read(4)
        if len(stored) == 4 and kind[:1].isupper() and zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(stored, "big"):
            raise UnreadableError(f"damaged: the checksum of a chunk {kind.decode('ascii', 'replace')} is wrong")
    file.seek(place)


def _orientation(image) -> int:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF data: the pixels are good, and upright is the likeliest
        return 1


def _eight_bits(image, channels: int):
    """The picture in Pillow's mode L or RGB."""
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):
        tags = getattr(image, "tag_v2", {})
        image = Image.fromarray(_scaled(np.asarray(image), bits=tags.get(BITS, (16,))[0], negative=tags.get(PHOTOMETRIC) == WHITE_IS_ZERO))
    elif image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    wanted = "RGB" if channels == 3 else "L"
    if image.mode == wanted:
        return image
    if image.mode not in ("L", "1", "RGB", "RGBA"):  # to grey by way of colour: Pillow knows no direct way from all modes
        image = image.convert("RGB")
    return image if image.mode == wanted else image.convert(wanted)


def _scaled(values: np.ndarray, *, bits: int, negative: bool) -> np.ndarray:
    """More than 8 bits to 8: whole numbers are of ``bits``, 16 at most, fractions are in [0, 1], or in [0, 255] if any is above 1."""
    largest = 2 ** min(16, bits) - 1 if values.dtype.kind in "iu" else 255 if values.max() > 1 else 1
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > largest:
        raise UnreadableError(f"pixel values from {values.min():g} to {values.max():g}, neither of 16 bits nor fractions")
    scaled = np.rint(values * (255 / largest)).astype(np.uint8)
    return 255 - scaled if negative else scaled  # of 8 bits, Pillow turns negatives by itself


def _pixels(image, rules: Rules) -> np.ndarray:
    from PIL import Image

    size = (rules.image_size, rules.image_size)
    if rules.image_size and image.size != size:
        width, height = image.size
        short = min(width, height)
        left, top = (width - short) / 2, (height - short) / 2
        box = (left, top, left + short, top + short) if rules.resize == "crop" else None
        image = image.resize(size, Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
