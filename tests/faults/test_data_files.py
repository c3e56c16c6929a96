"""Each file type and mode against values that follow from what was written, and files that are damaged, too large or no pictures."""

import io
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from data.pictures import make_folder, noise, save
from faults import forked
from faults.picture_files import chunk, png, resized_jpeg, tiff
from PIL import Image

from cnntrain.data.decode import Rules, UnreadableError, decode, pillow_rules
from cnntrain.data.folder import folder
from cnntrain.errors import DataError

SIZE = 16
RGB = noise(SIZE, SIZE, seed=1)
GREY = noise(SIZE, SIZE, seed=2)[..., 0]
ALPHA = noise(SIZE, SIZE, seed=3)[..., 0]
FLAT = np.empty((SIZE, SIZE, 3), dtype=np.uint8)
FLAT[:] = 180, 90, 30


def read(path, **keys) -> np.ndarray:
    with pillow_rules():
        return decode(path, Rules(SIZE, **keys))[0]


def as_file(array, kind: str, mode: str | None = None, **options) -> bytes:
    memory = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array, mode)).save(memory, kind, **options)
    return memory.getvalue()


def grey_of(rgb: np.ndarray) -> np.ndarray:
    return (rgb * (0.299, 0.587, 0.114)).sum(axis=-1)  # ITU-R BT.601, luma


def over_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha.astype(float)[..., None] / 255
    return pixels * share + 255 * (1 - share)


def of_ink(cmyk: np.ndarray) -> np.ndarray:
    return (255.0 - cmyk[..., :3]) * (255.0 - cmyk[..., 3:]) / 255


def of_lab(light: float, a: float, b: float) -> np.ndarray:
    """CIE L*a*b* of the white D50 to sRGB: CIE 15, Bradford's adaptation to D65, IEC 61966-2-1."""
    f = (light + 16) / 116
    xyz = [white * (t**3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29)) for white, t in zip((0.9642, 1, 0.8251), (f + a / 500, f, f - b / 200))]  # fmt: skip # noqa: B905, E501
    linear = np.array([[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]) @ xyz
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def adobe_jpeg(components: tuple[int, int, int, int], transform: int) -> bytes:
    """A JPEG of one colour whose four components are stored as given, with Adobe's marker: ``transform`` 0 is CMYK, 2 is YCCK.

    Pillow writes CMYK turned round, as Photoshop does, with transform 0; only the marker's last byte has to be another.
    """
    content = bytearray(
        as_file(Image.new("CMYK", (SIZE, SIZE), tuple(255 - value for value in components)), "JPEG", quality=100, subsampling=0)
    )
    marker = content.index(b"\xff\xee\x00\x0eAdobe")
    assert content[marker + 15] == 0
    content[marker + 15] = transform
    return bytes(content)


def ycc_of(red: float, green: float, blue: float) -> list[int]:
    """ITU T.871 (JFIF)."""
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return [round(y), round(128 + 0.564334 * (blue - y)), round(128 + 0.713267 * (red - y))]


def palette_png(indices: np.ndarray, colors: np.ndarray, *, bits: int = 8, transparency: bytes = b"") -> bytes:
    extra = chunk(b"PLTE", colors.astype(np.uint8).tobytes()) + (chunk(b"tRNS", transparency) if transparency else b"")
    return png(indices[..., None], bits=bits, color=3, extra=extra)


INK = np.dstack([noise(SIZE, SIZE, seed=4), GREY])
COLORS = noise(16, 1, seed=5)[0]
INDICES = np.arange(SIZE * SIZE).reshape(SIZE, SIZE) % 16
BITS = (GREY > 127).astype(np.uint8)
WIDE = np.arange(SIZE * SIZE, dtype=np.int64).reshape(SIZE, SIZE) * 257  # every level of 8 bits, in 16
plain = {"width": SIZE, "height": SIZE}

# what it is → (file ending, content, the RGB values that it shows (H, W, 3) or grey ones (H, W))
MODES = {
    "RGB PNG": ("png", png(RGB), RGB),
    "interlaced PNG": ("png", png(RGB, interlaced=True), RGB),
    "interlaced 16-bit grey PNG": ("png", png(WIDE[..., None], bits=16, color=0, interlaced=True), WIDE // 257),
    "grey PNG": ("png", png(GREY[..., None], color=0), GREY),
    "4-bit grey PNG": ("png", png(GREY[..., None] // 16, bits=4, color=0), GREY // 16 * 17),
    "2-bit grey PNG": ("png", png(GREY[..., None] // 64, bits=2, color=0), GREY // 64 * 85),
    "1-bit PNG": ("png", png(BITS[..., None], bits=1, color=0), BITS * 255),
    "grey and alpha PNG": ("png", png(np.dstack([GREY, ALPHA]), color=4), over_white(GREY[..., None], ALPHA)),
    "RGBA PNG over a black background chunk": (
        "png",
        png(np.dstack([RGB, ALPHA]), color=6, extra=chunk(b"bKGD", bytes(6))),
        over_white(RGB, ALPHA),
    ),
    "palette PNG": ("png", palette_png(INDICES, COLORS), COLORS[INDICES]),
    "4-bit palette PNG": ("png", palette_png(INDICES, COLORS, bits=4), COLORS[INDICES]),
    "palette PNG with transparency": (
        "png",
        palette_png(INDICES, COLORS, transparency=bytes(range(0, 256, 17))),
        over_white(COLORS[INDICES], (INDICES * 17)),
    ),
    "RGB PNG with a transparent colour": (
        "png",
        png(np.where(BITS[..., None], FLAT, RGB), extra=chunk(b"tRNS", struct.pack(">3H", 180, 90, 30))),
        np.where(BITS[..., None], 255, RGB),
    ),
    "a PNG named .jpg": ("jpg", png(RGB), RGB),
    "a JPEG named .png": ("png", as_file(FLAT, "JPEG", quality=100, subsampling=0), FLAT),
    "an ending in capitals": ("PNG", png(RGB), RGB),
    "RGB JPEG": ("jpg", as_file(FLAT, "JPEG", quality=100, subsampling=0), FLAT),
    "progressive JPEG": ("jpg", as_file(FLAT, "JPEG", quality=100, progressive=True), FLAT),
    "grey JPEG": ("jpg", as_file(np.full_like(GREY, 77), "JPEG", quality=100), np.full_like(GREY, 77)),
    "MPO of a phone": (
        "jpg",
        as_file(Image.fromarray(FLAT), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))], quality=100),
        FLAT,
    ),
    # Stored values are 255 − ink (Adobe): red = (255 − cyan)(255 − black)/255 = stored cyan · stored black / 255.
    "CMYK JPEG, Adobe's inverted": ("jpg", adobe_jpeg((200, 100, 50, 220), 0), np.array([200, 100, 50]) * 220 / 255),
    # The first three stored ones are the Y, Cb, Cr of the inks; Adobe's inversion is of C, M, Y: red = (255 − cyan) · stored black / 255.
    "YCCK JPEG": ("jpg", adobe_jpeg((*ycc_of(55, 155, 205), 220), 2), np.array([200, 100, 50]) * 220 / 255),
    "CMYK TIFF": ("tif", as_file(INK, "TIFF", mode="CMYK"), of_ink(INK)),
    "LAB TIFF": (
        "tiff",
        as_file(Image.frombytes("LAB", (SIZE, SIZE), bytes([128, 60, 256 - 60]) * SIZE**2), "TIFF"),
        of_lab(128 / 2.55, 60, -60),
    ),
    "RGB TIFF, LZW": ("tif", as_file(RGB, "TIFF", compression="tiff_lzw"), RGB),
    "RGB TIFF, big-endian": ("tif", tiff(RGB.tobytes(), samples=3, photometric=2, order=">", **plain), RGB),
    "1-bit TIFF": ("tif", tiff(np.packbits(BITS, axis=1).tobytes(), bits=1, **plain), BITS * 255),
    "8-bit TIFF, white is zero": ("tif", tiff(GREY.tobytes(), photometric=0, **plain), 255 - GREY),
    "12-bit TIFF": (
        "tif",
        tiff(
            _twelve := b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in (WIDE // 16).reshape(-1, 2).tolist()),
            bits=12,
            **plain,
        ),
        WIDE / 257,
    ),  # fmt: skip # noqa: E501
    "16-bit TIFF, white is zero": ("tif", tiff(WIDE.astype("<u2").tobytes(), bits=16, photometric=0, **plain), 255 - WIDE // 257),
    "float TIFF of 0 to 1": ("tif", tiff((GREY / 255).astype("<f4").tobytes(), bits=32, kind=3, **plain), GREY),
    "float TIFF of 0 to 255": ("tif", tiff(GREY.astype("<f4").tobytes(), bits=32, kind=3, **plain), GREY),
    "float TIFF, white is zero": ("tif", tiff((GREY / 255).astype("<f4").tobytes(), bits=32, kind=3, photometric=0, **plain), 255 - GREY),
    "BMP": ("bmp", as_file(RGB, "BMP"), RGB),
    "1-bit BMP": ("bmp", as_file(Image.fromarray(BITS * 255).convert("1", dither=0), "BMP"), BITS * 255),
    "PCX": ("pcx", as_file(RGB, "PCX"), RGB),
    "GIF": ("gif", as_file(GREY, "GIF"), GREY),
    "GIF with a transparent colour": ("gif", as_file(np.where(BITS, 7, 9).astype(np.uint8), "GIF", transparency=7), np.where(BITS, 255, 9)),
    "WebP": ("webp", as_file(RGB, "WEBP", lossless=True), RGB),
    "WebP with alpha": ("webp", as_file(np.dstack([RGB, ALPHA]), "WEBP", lossless=True, exact=True), over_white(RGB, ALPHA)),
}


@pytest.mark.parametrize("what", MODES)
def test_every_type_and_mode_shows_what_was_written(tmp_path, fault, what):
    ending, content, expected = MODES[what]
    path = tmp_path / f"picture.{ending}"
    path.write_bytes(content)
    expected = np.asarray(expected, dtype=float)
    expected = np.broadcast_to(expected[..., None] if expected.ndim == 2 else expected, (SIZE, SIZE, 3))
    assert np.abs(read(path) - expected.transpose(2, 0, 1)).max() <= 1.01, "within 1/255"
    assert np.abs(read(path, channels=1)[0] - grey_of(expected)).max() <= 1.6, "of three rounded bytes, rounded again"
    fault("D2", what)


EVERY = np.arange(65536).reshape(256, 256)
DEEP = {
    "16-bit grey PNG": ("png", png(EVERY[..., None], bits=16, color=0)),
    "16-bit RGB PNG": ("png", png(np.repeat(EVERY[..., None], 3, axis=2), bits=16)),
    "16-bit grey and alpha PNG": ("png", png(np.dstack([EVERY, np.full_like(EVERY, 65535)]), bits=16, color=4)),
    "16-bit RGBA PNG": ("png", png(np.dstack([EVERY] * 3 + [np.full_like(EVERY, 65535)]), bits=16, color=6)),
    "16-bit grey TIFF": ("tif", tiff(EVERY.astype("<u2").tobytes(), width=256, height=256, bits=16)),
    "16-bit grey TIFF, big-endian": ("tif", tiff(EVERY.astype(">u2").tobytes(), width=256, height=256, bits=16, order=">")),
    "16-bit RGB TIFF": (
        "tif",
        tiff(np.repeat(EVERY[..., None], 3, axis=2).astype("<u2").tobytes(), width=256, height=256, samples=3, photometric=2, bits=16),
    ),
}


@pytest.mark.parametrize("what", DEEP)
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path, fault, what):
    ending, content = DEEP[what]
    path = tmp_path / f"picture.{ending}"
    path.write_bytes(content)
    with pillow_rules():
        found = decode(path, Rules(256))[0]
    assert (found == found[0]).all() and np.abs(found[0] - EVERY / 257).max() <= 1
    levels = found[0].reshape(-1)[::257]
    assert levels.tolist() == list(range(256)), "256 levels stay 256"
    fault("D4", what)


# EXIF 2.32, orientation: where the stored picture's row 0 and column 0 are in the picture that is to be seen.
SIDES = {
    1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
    5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "ending"), [("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tif"), ("WEBP", "webp")])
@pytest.mark.parametrize("orientation", SIDES)
def test_the_cameras_orientation_is_undone(tmp_path, fault, orientation, kind, ending):
    seen = np.kron(np.array([[0, 60], [120, 180], [240, 30]]), np.ones((16, 16))).astype(np.uint8)  # (48, 32): no two corners alike
    row, column = SIDES[orientation]
    lies = row in ("left", "right")  # its rows are the seen columns
    stored = seen.T if lies else seen
    stored = stored[::-1] if row in ("bottom", "right") else stored
    stored = stored[:, ::-1] if column in ("bottom", "right") else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(kind, {})
    (tmp_path / f"a.{ending}").write_bytes(as_file(np.ascontiguousarray(stored), kind, exif=exif, **options))
    (tmp_path / "upright.png").write_bytes(png(seen[..., None], color=0))
    found, expected = (read(tmp_path / name).astype(int) for name in (f"a.{ending}", "upright.png"))
    assert np.abs(found - expected).max() <= 1
    fault("D5", f"orientation {orientation}")
    fault("D5", f"EXIF in {kind}")


def test_moving_pictures_count_by_their_first_frame(tmp_path, fault):
    root = make_folder(tmp_path / "p", {"a": 2, "b": 2})
    frames = [Image.new("RGB", (8, 8), color) for color in ("white", "black", "red")]
    kinds = {"moving.gif": "animated GIF", "moving.webp": "animated WebP", "moving.png": "animated PNG", "pages.tif": "TIFF of three pages"}
    for name in kinds:
        frames[0].save(root / "a" / name, save_all=True, append_images=frames[1:])
    data = folder(root=str(root), image_size=8, cache=str(tmp_path / "cache"), val=0.0, seed=0)
    shown = dict(zip(data.train.names, data.train.images, strict=True))
    assert all((shown[f"a/{name}"] == 255).all() for name in kinds)
    assert "train: 4 file(s) have several frames; the first is used" in data.warnings
    for what in kinds.values():
        fault("D3", what)


def damaged(chance) -> dict[str, tuple[str, bytes]]:
    """What it is → a name and content that gives no picture."""
    found = {
        "0 bytes": ("z.jpg", b""),
        "text": ("z.jpg", b"a picture of a cat\n" * 20),
        "a web page": ("z.png", b"<!doctype html><html></html>"),
    }
    found |= {"SVG": ("z.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>'), "HEIC": ("z.jpg", b"\0\0\0\x18ftypheic" + bytes(200))}
    found |= {
        "EPS": ("z.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        "PDF": ("z.jpg", b"%PDF-1.4\n" + bytes(99)),
        "a zip": ("z.png", b"PK\3\4" + bytes(99)),
    }
    found |= {"noise": ("z.jpg", chance.randbytes(5000)), "zeros": ("z.png", bytes(5000))}
    whole = noise(32, 32)
    for kind, ending in (("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tif")):
        content = as_file(whole, kind)
        last = len(content) - (16 if kind == "PNG" else 8)  # behind a PNG's last pixel stand 16 bytes that show nothing
        for place, end in enumerate(sorted(chance.sample(range(1, last), 10))):
            found[f"{kind} cut, {place}"] = (f"z.{ending}", content[:end])
    smooth = np.add.outer(np.arange(64) * 2, np.arange(64)).astype(np.uint8)
    content = as_file(smooth, "PNG")
    data = content.index(b"IDAT") + 4
    for place, at in enumerate(chance.sample(range(data, len(content) - 12), 5)):
        found[f"PNG with a wrong checksum, {place}"] = (f"z{place}.png", content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
    return found


def test_damaged_files_are_left_out_from_the_start_or_refused_by_name(tmp_path, fault, chance):
    root = make_folder(tmp_path / "p", {"a": 3, "b": 3})
    bad = damaged(chance)
    for place, (name, content) in enumerate(bad.values()):
        (root / "a" / f"x{place:02d}-{name}").write_bytes(content)
    keys = {"root": str(root), "image_size": 8, "cache": str(tmp_path / "cache"), "val": 0.0, "workers": 0, "seed": 0}
    with pytest.raises(DataError) as caught:
        _ = folder(**keys).train
    assert caught.value.exit_code == 3 and caught.value.what.startswith(f"{len(bad)} of {len(bad) + 6} pictures of train cannot be read: ")
    named = [name for name in sorted(os.listdir(root / "a")) if f"a/{name}" in caught.value.what]
    assert len(named) == 10 and f" and {len(bad) - 10} more" in caught.value.what and "data.on_error=skip" in caught.value.fix
    for residency in ("resident", "streamed"):
        data = folder(**keys, on_error="skip", residency=residency)
        assert list(data.train.names) == [f"{label}/{k}.png" for label in "ab" for k in range(3)], "the same order ever after"
        assert sum("left out" in line for line in data.warnings) == 1
        batch, labels, _ = next(iter(data.train.fetch([torch.arange(6)])))
        assert labels.tolist() == [0, 0, 0, 1, 1, 1] and np.array_equal(batch[3].numpy(), noise(seed=4).transpose(2, 0, 1))
    for what in bad:
        fault("D1", what)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "gif", "bmp", "pcx", "webp"])
def test_no_cut_file_gives_half_a_picture(tmp_path, chance, ending):
    pixels = noise(12, 12)
    content = save(tmp_path / f"whole.{ending}", pixels, **({"lossless": True} if ending == "webp" else {})).read_bytes()
    whole, path = read(tmp_path / f"whole.{ending}"), tmp_path / f"cut.{ending}"
    for end in {
        *range(0, len(content), max(1, len(content) // 60)),
        *range(len(content) - 20, len(content)),
        chance.randrange(len(content)),
    }:
        path.write_bytes(content[:end])
        try:
            assert np.array_equal(read(path), whole), end  # only what follows the pixels is missing
        except UnreadableError:
            pass


def test_every_flipped_bit_of_a_pngs_pixels_is_found(tmp_path, chance):
    content = as_file(np.add.outer(np.arange(64) * 2, np.arange(64)).astype(np.uint8), "PNG")
    path, data = tmp_path / "a.png", content.index(b"IDAT") + 4
    for at in range(data, len(content) - 16):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :])
        with pytest.raises(UnreadableError):
            read(path)


def huge(what: str) -> bytes:
    """A file of a few bytes that claims very many pixels."""
    if what == "PNG":
        return png(np.zeros((1, 1, 3)), size=(30000, 30000))
    if what == "16-bit interlaced PNG":
        return png(np.zeros((1, 1, 3)), bits=16, interlaced=True, size=(20000, 20000))
    if what == "JPEG":
        return resized_jpeg(as_file(FLAT, "JPEG"), 20000, 10000)
    if what == "progressive JPEG":
        return resized_jpeg(as_file(FLAT, "JPEG", progressive=True), 65000, 65000)
    if what == "TIFF":
        return tiff(bytes(100), width=100_000, height=100_000)
    if what == "GIF whose frame is larger than its screen":
        content = bytearray(as_file(GREY, "GIF"))
        frame = content.index(b"\x2c\0\0\0\0") + 5
        return bytes(content[:frame]) + struct.pack("<HH", 30000, 30000) + bytes(content[frame + 4 :])
    if what == "BMP":
        content = bytearray(as_file(RGB, "BMP"))
        content[18:26] = struct.pack("<ii", 30000, 30000)
        return bytes(content)
    if what == "PCX":
        content = bytearray(as_file(RGB, "PCX"))
        content[8:12] = struct.pack("<HH", 64999, 64999)
        return bytes(content)
    assert what == "WebP"
    content = bytearray(as_file(RGB, "WEBP", lossless=True))
    assert content[12:16] == b"VP8L"
    content[21:25] = struct.pack("<I", (16383 - 1) | (16383 - 1) << 14)  # 14 bits each, less one
    return bytes(content)


HUGE = [
    "PNG", "16-bit interlaced PNG", "JPEG", "progressive JPEG", "TIFF", "GIF whose frame is larger than its screen", "BMP", "PCX", "WebP",
]  # fmt: skip


def test_too_many_pixels_are_refused_from_the_header_and_take_no_memory(tmp_path, fault):
    files = {what: tmp_path / f"{place}.{what.split()[-1].lower()}" for place, what in enumerate(HUGE)}
    for what, path in files.items():
        path.write_bytes(huge(what))

    def work() -> None:
        (Path("/proc/self/clear_refs")).write_text("5")  # the peak is from here on
        before = memory_of_this_process("VmRSS")
        for what, path in files.items():
            with pytest.raises(UnreadableError) as caught:
                read(path)
            print(what, caught.value)
        print("grew by", (memory_of_this_process("VmHWM") - before) // 1024, "MB")

    ended = forked.run(work, tmp_path / "console")
    assert ended.code == 0, ended.output
    for what in HUGE:
        assert re.search(rf"^{re.escape(what)} \d+ x \d+ pixels, more than data.max_pixels=100000000$", ended.output, re.M)
    assert int(re.search(r"grew by (\d+) MB", ended.output)[1]) < 50
    for what in HUGE:
        fault("D6", what)


def memory_of_this_process(name: str) -> int:
    """In KiB."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))


DECODE = """
import sys
from pathlib import Path
from cnntrain.data.decode import *
with pillow_rules():
    try:
        decode(sys.argv[1], Rules(64))
    except UnreadableError as error:
        print(error)
print(next(int(line.split()[1]) // 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def test_a_whole_jpeg_of_200_million_pixels_is_refused_under_300_mb(tmp_path, fault):
    path = tmp_path / "a.jpg"
    assert forked.run(lambda: Image.new("L", (20000, 10000)).save(path, quality=5), tmp_path / "console").code == 0
    ended = subprocess.run([sys.executable, "-c", DECODE, path], capture_output=True, text=True, check=True)
    reason, peak = ended.stdout.splitlines()
    assert reason == "20000 x 10000 pixels, more than data.max_pixels=100000000" and int(peak) < 300
    fault("D6", "a whole JPEG of 200 megapixels")
