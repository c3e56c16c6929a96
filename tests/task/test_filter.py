"""``filter``: what its sheets show, where they lie, and that nobody's files are written over."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cnntrain
from cnntrain import cli
from cnntrain.errors import CheckpointError, ConfigError, DataError
from cnntrain.task.filter import answers, is_sheet, sheet

ALL = ["sobel_x", "sobel_y", "sobel", "gaussian", "laplacian"]


def half(height=40, width=60):
    """Black on the left, white on the right: uint8 (3, H, W)."""
    picture = torch.zeros(3, height, width, dtype=torch.uint8)
    picture[:, :, width // 2 :] = 255
    return picture


def save(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder with two pictures of one name, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    save(half(), Path("mine/a.png"))
    save(half(30, 8).mT, Path("mine/sub/a.png"))
    Path("mine/a.jpg").write_text("<html>")
    return tmp_path


def test_what_the_filters_answer_to_an_edge():
    across, down = (dict(zip(ALL, answers(picture, ALL).int(), strict=True)) for picture in (half(), half().mT))
    grey, edge = 128, (slice(None), slice(29, 31))  # the two columns beside the edge
    assert (across["sobel_x"][edge] == 255).all() and (across["sobel_y"] == grey).all()
    assert (across["sobel"][edge] == 255).all() and not across["sobel"][:, :29].any() and not across["sobel"][:, 31:].any()
    assert (across["laplacian"][:, 29] > grey).all() and (across["laplacian"][:, 30] < grey).all(), "the dark side is raised"
    assert across["gaussian"][5, 28:32].tolist() == [0, 64, 191, 255]
    assert torch.equal(down["sobel_y"], across["sobel_x"].T) and torch.equal(down["sobel"], across["sobel"].T)
    mirrored = answers(half().flip(2), ["sobel_x"])[0].int()
    assert (mirrored[edge] == 0).all(), "brighter to the left"


def test_one_scale_for_all_answers_of_a_picture_and_none_for_noise():
    edge = half()[:, :4]
    faint = answers((edge / 4).to(torch.uint8), ALL)
    assert (faint.int() - answers(edge, ALL).int())[[0, 1, 2, 4]].abs().max() <= 3, "a fourth of the contrast looks the same"
    nearly_flat = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    nearly_flat[:, 4, 4] = 101
    assert (answers(nearly_flat, ["sobel_x", "laplacian"]).int() - 128).abs().max() <= 110
    assert (answers(torch.full((3, 8, 8), 7, dtype=torch.uint8), ["sobel_x"]) == 128).all()


def test_colours_count_as_bright_as_they_look():
    def step(channel):
        picture = torch.zeros(3, 8, 8, dtype=torch.uint8)
        picture[channel] = 255
        return answers(picture, ["gaussian"])[0, 4, 4].item()

    assert [step(channel) for channel in range(3)] == [76, 150, 29]


@pytest.mark.parametrize(("height", "width", "times"), [(300, 200, 1), (32, 32, 4), (2, 3, 43)])
def test_a_sheet_has_the_picture_and_every_answer_with_its_name(height, width, times):
    picture = half(height, width)
    made = sheet(picture, ["sobel_x", "gaussian"])
    panel = made[20 : 20 + height * times, : width * times]
    assert np.array_equal(panel, picture.permute(1, 2, 0).numpy().repeat(times, 0).repeat(times, 1)), "every pixel a square"
    assert made[:20, :60].min() < 100, "its name above it"
    columns, rows = (made.shape[1] + 6) // (width * times + 6), (made.shape[0] + 6) // (height * times + 26)
    assert columns * rows in (3, 4)


def test_sheets_lie_as_the_pictures_do(pictures, capsys):
    result = cnntrain.filter(images="mine", out="seen/it")
    assert result["sheets"] == ["seen/it/a.png.filters.png", "seen/it/sub/a.png.filters.png"] and result["pictures"] == 2
    for name, size in (("a.png", (60, 40)), ("sub/a.png", (30, 8))):
        with Image.open(f"seen/it/{name}.filters.png") as image:
            assert image.size[0] >= 2 * size[0]
    said = capsys.readouterr().out
    assert "left out: mine/a.jpg cannot be read" in said and "1 of 3 files could not be read" in said
    assert "on a sheet: picture, sobel_x, sobel_y, sobel, gaussian, laplacian\n" in said and max(map(len, said.splitlines())) <= 80
    assert "written to seen/it/a.png.filters.png and 1 more there" in said
    for line in ("images=mine/sub/a.png", "images='mine/s*/*.png'"):
        assert cli.call("filter", line, "out=one", "filters=[laplacian]", "image_size=16")["sheets"] == ["one/a.png.filters.png"]
    with Image.open("one/a.png.filters.png") as image:
        assert image.size == (128 * 2 + 6, 128 + 20)


def test_beside_the_pictures_sheets_are_not_taken_for_pictures(pictures):
    first = cli.call("filter", "images=mine", "out=mine")
    kept = {path: path.read_bytes() for path in Path("mine").rglob("*.png") if not is_sheet(path)}
    again = cli.call("filter", "images=mine", "out=mine", "filters=[sobel]")
    assert first["sheets"] == again["sheets"] and len(kept) == 2 and len(list(Path("mine").rglob("*.filters.png"))) == 2
    assert all(path.read_bytes() == content for path, content in kept.items())
    with pytest.raises(DataError, match="sheets of this command alone"):
        cli.call("filter", "images='mine/*.filters.png'", "out=mine")


@pytest.mark.parametrize("content", ["a picture", "text", "link", "folder"])
def test_nobodys_files_are_written_over(pictures, content):
    place = Path("out/sub/a.png.filters.png")
    place.parent.mkdir(parents=True)
    match content:
        case "a picture":
            save(half(), place)
        case "text":
            place.write_text("mine")
        case "link":
            place.symlink_to("nowhere")
        case "folder":
            place.mkdir()
    before = place.lstat().st_mtime_ns, place.lstat().st_ino
    with pytest.raises(ConfigError, match=r"out/sub/a.png.filters.png is there already.*Fix: out=out/filters"):
        cli.call("filter", "images=mine", "out=out")
    assert (place.lstat().st_mtime_ns, place.lstat().st_ino) == before and not list(Path("out").glob("*.png")), (
        "told before anything is done"
    )
    assert cli.call("filter", "images=mine", "out=out/filters")["pictures"] == 2


def test_names_that_a_folder_can_have(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["a,b=c.png", 'say "hi".png', "line\nbreak.png", "ünï 猫.png", "-x.png", "%s[red].png", os.fsdecode(b"\xff\xfe.png")]
    for name in names:
        save(half(4, 4), Path("my pictures", name))
    result = cli.call("filter", "images=my pictures", "out='a=b, c'")
    assert sorted(result["sheets"]) == sorted(f"a=b, c/{name}.filters.png" for name in names) and all(map(is_sheet, result["sheets"]))


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["images=none.png", "out=out"], DataError, "no file or folder none.png"),
        (["images=mine/a.jpg", "out=out"], DataError, "None of 1 files"),
        (["images=thin.png", "out=out"], DataError, "None of 1 files"),
        (["images=mine", "out=out", "filters=[]"], ConfigError, r"no filter.*filters=\[sobel_x,sobel_y\]"),
        (["images=mine", "out=out", "filters=[sobel_z]"], ConfigError, "sobel_x"),
        (["images=mine", "out=out", "image_size=0"], ConfigError, "1 or more"),
        (["images=mine", "out=mine/a.jpg"], CheckpointError, "cannot be written"),
        (["images=mine"], ConfigError, "filter needs out"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_nothing(pictures, capsys, words, error, text):
    save(half(3, 1), Path("thin.png"))
    before = sorted(Path().rglob("*"))
    with pytest.raises(error, match=text) as caught:
        cli.call("filter", *words)
    assert caught.value.fix and sorted(Path().rglob("*")) == before
    if "images=thin.png" in words:
        assert "thin.png has 1x3 pixels; the filters need 2 a side" in capsys.readouterr().out
