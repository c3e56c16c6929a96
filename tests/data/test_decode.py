import struct
import zlib

import numpy as np
import pytest
from data.pictures import noise, save
from PIL import Image, ImageOps

from cnntrain.data.decode import Rules, UnreadableError, decode, pillow_rules

RULES = Rules(8)
SMOOTH = np.add.outer(np.arange(8) * 16, np.arange(8) * 8)[..., None] + np.array([0, 20, 40])
SMOOTH = SMOOTH.clip(0, 255).astype(np.uint8)


def read(path, rules=RULES) -> np.ndarray:
    with pillow_rules():
        return decode(path, rules)[0]


def chw(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(2, 0, 1)


def write_png(path, width: int, height: int, bits: int, lines: bytes) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


@pytest.mark.parametrize("suffix", ["png", "bmp", "pcx", "tiff", "tif"])
def test_lossless_formats_keep_every_byte(tmp_path, suffix):
    assert np.array_equal(read(save(tmp_path / f"a.{suffix}", noise())), chw(noise()))


@pytest.mark.parametrize(
    ("name", "options"), [("a.webp", {"lossless": True}), ("a.jpg", {"quality": 100, "subsampling": 0}), ("a.gif", {})]
)
def test_other_formats_come_close(tmp_path, name, options):
    difference = read(save(tmp_path / name, SMOOTH, **options)).astype(int) - chw(SMOOTH)
    assert np.abs(difference).max() <= 6


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_grey_is_scaled_by_257_and_not_clipped(tmp_path, suffix):
    values = (np.arange(64, dtype=np.uint16) * 4 * 257).reshape(8, 8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    found = read(path)
    assert np.array_equal(found[0], values // 257) and np.array_equal(found[0], found[2])
    assert np.array_equal(read(path, Rules(8, channels=1))[0], values // 257)


def test_sixteen_bit_colour_png_is_scaled(tmp_path):
    values = (noise().astype(">u2") * 257).astype(">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    write_png(tmp_path / "a.png", 8, 8, 16, lines)
    assert np.array_equal(read(tmp_path / "a.png"), chw(noise()))


@pytest.mark.parametrize(("values", "expected"), [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 100.2, 255.0], [0, 100, 255])])
def test_floating_point_tiff(tmp_path, values, expected):
    Image.fromarray(np.array([values] * 3, dtype=np.float32)).save(tmp_path / "a.tiff")
    assert read(tmp_path / "a.tiff", Rules(3))[0, 0].tolist() == expected


@pytest.mark.parametrize("values", [[np.nan, 0.0], [-1.0, 0.0], [0.0, 300.0]])
def test_floating_point_outside_any_known_range_is_refused(tmp_path, values):
    Image.fromarray(np.array([values] * 2, dtype=np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(UnreadableError, match="neither of 16 bits nor fractions"):
        read(tmp_path / "a.tiff", Rules(2))


def test_transparency_is_laid_over_white(tmp_path):
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[:, 4:, 3] = 255  # left transparent, right black
    for mode in ("RGBA", "LA", "P"):
        image = Image.fromarray(pixels)
        image = image.quantize(4) if mode == "P" else image.convert(mode)
        image.save(tmp_path / f"{mode}.png")
        found = read(tmp_path / f"{mode}.png")
        assert (found[:, :, :4] == 255).all() and (found[:, :, 4:] == 0).all(), mode
        assert np.array_equal(read(tmp_path / f"{mode}.png", Rules(8, channels=1))[0], found[0])


def test_a_transparent_colour_of_a_palette_or_of_grey_is_white(tmp_path):
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "grey.png", transparency=0)
    image = Image.fromarray(np.zeros((8, 8), dtype=np.uint8), "L").convert("P")
    image.save(tmp_path / "palette.gif", transparency=0)
    assert (read(tmp_path / "grey.png") == 255).all() and (read(tmp_path / "palette.gif") == 255).all()


@pytest.mark.parametrize(
    ("mode", "suffix"), [("CMYK", "jpg"), ("CMYK", "tiff"), ("YCbCr", "jpg"), ("L", "png"), ("1", "png"), ("P", "bmp"), ("LAB", "tiff")]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_colour_space_becomes_rgb_or_grey(tmp_path, mode, suffix, channels):
    if mode == "LAB":
        image = Image.frombytes("LAB", (8, 8), bytes([200, 0, 0]) * 64)  # a light grey without colour
        expected = np.full((8, 8, 3), 194)
    else:
        image = Image.fromarray(SMOOTH).convert(mode)
        expected = np.asarray(image.convert("RGB")).astype(int)
    image.save(tmp_path / f"a.{suffix}", **({"quality": 100} if suffix == "jpg" else {}))
    found = read(tmp_path / f"a.{suffix}", Rules(8, channels=channels))
    grey = np.asarray(Image.fromarray(expected.astype(np.uint8)).convert("L")).astype(int)
    assert found.shape == (channels, 8, 8)
    assert np.abs(found.astype(int) - (chw(expected) if channels == 3 else grey)).max() <= 12


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_orientation_is_applied(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(SMOOTH[:, :6])
    path = tmp_path / f"a.{suffix}"
    image.save(path, exif=exif, **{"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {}))
    upright = image.copy()
    upright.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(upright)
    reference = np.asarray(upright.resize((8, 8), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(read(path).astype(int) - chw(reference)).max() <= 6


@pytest.mark.parametrize("suffix", ["gif", "webp", "tiff", "png"])
def test_the_first_frame_counts_and_more_are_told(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), color) for color in ("white", "black", "red")]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pillow_rules():
        pixels, several = decode(path, RULES)
        assert (pixels == 255).all() and several
        assert not decode(save(tmp_path / "one.png", SMOOTH), RULES)[1]


def test_a_picture_with_too_many_pixels_is_refused_from_its_header(tmp_path):
    write_png(tmp_path / "a.png", 30000, 30000, 8, b"")
    with pytest.raises(UnreadableError, match="30000 x 30000 pixels, more than data.max_pixels=100000000"):
        read(tmp_path / "a.png")
    with pytest.raises(UnreadableError, match="8 x 8 pixels"):
        read(save(tmp_path / "b.png", SMOOTH), Rules(8, max_pixels=63))


def test_what_is_no_picture_is_unreadable_with_a_reason(tmp_path):
    cases = {"empty.jpg": b"", "text.jpg": b"hello", "page.png": b"<html></html>", "eps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n"}
    reasons = {}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableError) as caught:
            read(tmp_path / name)
        reasons[name] = str(caught.value)
    assert reasons["empty.jpg"] == "an empty file" and "no picture of a known format" in reasons["eps.jpg"]
    with pytest.raises(UnreadableError, match="No such file"):
        read(tmp_path / "gone.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff", "a.bmp", "a.gif"])
def test_truncated_files_are_unreadable_and_never_half_a_picture(tmp_path, name):
    whole = save(tmp_path / name, noise(32, 32)).read_bytes()
    for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UnreadableError):
            read(tmp_path / name)


def test_squash_and_crop_agree_with_their_definitions(tmp_path):
    pixels = np.zeros((8, 24, 3), dtype=np.uint8)
    pixels[:, 8:16] = 255
    path = save(tmp_path / "wide.png", pixels)
    assert (read(path, Rules(8, "crop")) == 255).all()
    assert read(path, Rules(8, "squash")).mean() == pytest.approx(85, abs=3)
    line = save(tmp_path / "line.png", np.full((1, 500, 3), 9, dtype=np.uint8))
    assert (read(line, Rules(8, "crop")) == 9).all()


def test_pillows_limit_is_put_back():
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ZeroDivisionError), pillow_rules():
        assert Image.MAX_IMAGE_PIXELS is None
        raise ZeroDivisionError
    assert before == Image.MAX_IMAGE_PIXELS
