"""``predict`` says of a file what ``evaluate`` says of the same picture; files are found, named and written as they are."""

import csv
import os

import pytest
import torch
from PIL import Image
from rich.cells import cell_len
from stored import MACHINE, SYNTHETIC, logits_of, make, pictures_of

from cnntrain.errors import CheckpointError, ConfigError, DataError
from cnntrain.task.evaluate import evaluate
from cnntrain.task.pictures import find_pictures
from cnntrain.task.predict import predict


@pytest.fixture
def stored(tmp_path):
    network, dataset = make(tmp_path / "best.safetensors")
    return str(tmp_path / "best.safetensors"), network, dataset


def save(images, folder, names=None):
    """Write pictures losslessly; returns their paths."""
    folder.mkdir(exist_ok=True)
    paths = [folder / (names[place] if names else f"{place:03}.png") for place in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path, format="PNG")
    return paths


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_predict_agrees_with_evaluate(stored, tmp_path, batch_size):
    path, network, dataset = stored
    images, labels = pictures_of(dataset.test)
    save(images, tmp_path / "pictures")
    result = predict(checkpoint=path, images=str(tmp_path / "pictures"), top=7, batch_size=batch_size, machine=MACHINE)
    probabilities = logits_of(network, dataset, images).softmax(1)
    assert result["pictures"] == len(labels) and result["unreadable"] == []
    for entry, expected in zip(result["predictions"], probabilities, strict=True):
        found = dict(map(tuple, entry["classes"]))
        assert [found[name] for name in dataset.classes] == pytest.approx(expected.tolist(), abs=1e-5)
        assert sum(found.values()) == pytest.approx(1)
        assert [value for _, value in entry["classes"]] == sorted(found.values(), reverse=True)
    hits = sum(
        entry["classes"][0][0] == dataset.classes[label] for entry, label in zip(result["predictions"], labels.tolist(), strict=True)
    )
    assert hits / len(labels) == evaluate(checkpoint=path, machine=MACHINE)["accuracy"]


def test_a_picture_is_brought_to_size_as_the_data_had_it(tmp_path):
    """Red on the left and right of a wide picture: squashing keeps it, cropping the middle cuts it off."""
    image = Image.new("RGB", (100, 20), "blue")
    for left in (0, 80):
        image.paste("red", (left, 0, left + 20, 20))
    image.save(tmp_path / "a.png")
    answers = {}
    network, dataset = make(tmp_path / "a.safetensors")
    for resize in ("squash", "crop"):
        # the node of a folder's data set, as its checkpoint has it
        config = {"data": {"_target_": "cnntrain.data.folder.folder", "root": "gone", "resize": resize, "max_pixels": 10_000}}
        make(tmp_path / "a.safetensors", config=config)
        answers[resize] = predict(checkpoint=str(tmp_path / "a.safetensors"), images=str(tmp_path / "a.png"), top=7, machine=MACHINE)
        answers[resize] = dict(map(tuple, answers[resize]["predictions"][0]["classes"]))
    blue = torch.tensor([0, 0, 255], dtype=torch.uint8).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    expected = logits_of(network, dataset, blue).softmax(1)[0].tolist()
    assert [answers["crop"][name] for name in dataset.classes] == pytest.approx(expected, abs=1e-5)
    assert [answers["squash"][name] for name in dataset.classes] != pytest.approx(expected, abs=1e-3)
    Image.new("RGB", (200, 51)).save(tmp_path / "a.png")  # above the data's max_pixels
    with pytest.raises(DataError, match="None of 1"):
        predict(checkpoint=str(tmp_path / "a.safetensors"), images=str(tmp_path / "a.png"), machine=MACHINE)


def test_grey_networks_read_colour_files(tmp_path):
    make(tmp_path / "a.safetensors", data={**SYNTHETIC, "channels": 1})
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.jpg")
    assert predict(checkpoint=str(tmp_path / "a.safetensors"), images=str(tmp_path / "a.jpg"), machine=MACHINE)["pictures"] == 1


NAMES = ["a,b.png", 'say "hi".png', "line\nbreak.png", "ünï 猫.png", "-x.png", "%s[red].png", "= 1+1.png", os.fsdecode(b"\xff\xfe.png")]


def test_csv_gives_back_every_name_and_number(stored, tmp_path, capsys):
    path, _, dataset = stored
    images, _ = pictures_of(dataset.test)
    paths = save(images[: len(NAMES)], tmp_path / "odd", NAMES)
    out = tmp_path / "predictions.csv"
    result = predict(checkpoint=path, images=str(tmp_path / "odd"), out=str(out), top=2, machine=MACHINE)
    with open(out, newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "class_1", "probability_1", "class_2", "probability_2"]
    assert sorted(row[0] for row in rows[1:]) == sorted(map(str, paths))
    for row, entry in zip(rows[1:], result["predictions"], strict=True):
        assert row[0] == entry["file"]
        assert [row[1], row[3]] == [name for name, _ in entry["classes"]]
        assert [float(row[2]), float(row[4])] == pytest.approx([value for _, value in entry["classes"]], abs=1e-6)
        assert "," not in row[2]
    capsys.readouterr().out.encode()  # nothing that a terminal cannot take


def test_files_folders_and_patterns(tmp_path):
    folder = tmp_path / "pictures"
    names = ["b.png", "a.JPG", "sub/c.webp", "sub/[x].png", ".hidden.png", ".cache/d.png", "notes.txt"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    os.symlink("..", folder / "sub" / "loop")

    def found(images):
        return [os.path.relpath(name, folder) for name in find_pictures(str(images))]

    assert found(folder) == ["a.JPG", "b.png", "sub/[x].png", "sub/c.webp"]
    assert found(folder / "*.png") == ["b.png"]
    assert found(folder / "**" / "*.webp") == ["sub/c.webp"]
    assert found(folder / "sub" / "[x].png") == ["sub/[x].png"]
    assert found(folder / "notes.txt") == ["notes.txt"]  # named by the user: it is tried


@pytest.mark.parametrize("images", ["none.png", "none/*.png", "empty", "*.txt"])
def test_nothing_there_is_an_error_with_a_fix(stored, tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        predict(checkpoint=stored[0], images=images, machine=MACHINE)
    assert images in caught.value.what and "images=" in caught.value.fix or "folder with" in caught.value.fix


def test_unreadable_files_are_named_counted_and_left_out(stored, tmp_path, capsys):
    path, _, dataset = stored
    images, _ = pictures_of(dataset.test)
    paths = save(images[:3], tmp_path / "pictures")
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[: len(whole) // 2])
    (tmp_path / "pictures" / "x.jpg").write_text("<html>")
    (tmp_path / "pictures" / "y.jpg").touch()
    result = predict(checkpoint=path, images=str(tmp_path / "pictures"), batch_size=2, machine=MACHINE)
    assert [entry["file"] for entry in result["predictions"]] == [str(paths[0]), str(paths[2])]
    assert len(result["unreadable"]) == 3
    said = capsys.readouterr().out
    for name in ("001.png", "x.jpg", "y.jpg"):
        assert name in said
    assert "3 of 5 files could not be read" in said


def test_no_readable_file_at_all_is_an_error_and_writes_nothing(stored, tmp_path, capsys):
    (tmp_path / "x.jpg").write_text("<html>")
    with pytest.raises(DataError, match="None of 1") as caught:
        predict(checkpoint=stored[0], images=str(tmp_path / "x.jpg"), out=str(tmp_path / "p.csv"), machine=MACHINE)
    assert caught.value.fix and "x.jpg" in capsys.readouterr().out
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize(("out", "error"), [("p.json", ConfigError), ("p", ConfigError), ("none/p.csv", CheckpointError)])
def test_a_file_that_cannot_be_written_is_found_before_the_work(tmp_path, out, error):
    with pytest.raises(error):
        predict(checkpoint="not even looked at", images="nor this", out=str(tmp_path / out), machine=MACHINE)


def test_the_table_fits_80_columns_and_is_cut(stored, tmp_path, capsys):
    path, _, dataset = stored
    images, _ = pictures_of(dataset.test)
    folder = tmp_path / ("猫" * 30)
    save(images, folder)
    predict(checkpoint=path, images=str(folder), machine=MACHINE)
    lines = capsys.readouterr().out.splitlines()
    assert max(cell_len(line.rstrip()) for line in lines) <= 80
    assert any("040.png" not in line and "and 1 more" in line for line in lines)
    assert "000.png" in "\n".join(lines) and "class" in lines[0] + lines[1]


def test_generators_are_left_as_they_were(stored, tmp_path):
    path, _, dataset = stored
    save(pictures_of(dataset.test)[0][:2], tmp_path / "pictures")
    before = torch.get_rng_state()
    predict(checkpoint=path, images=str(tmp_path / "pictures"), machine=MACHINE)
    assert torch.get_rng_state().equal(before)
