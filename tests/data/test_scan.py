import os
import re

import pytest
from data.pictures import make_folder, save
from hypothesis import given
from hypothesis import strategies as st

from cnntrain.data.scan import natural, scan
from cnntrain.errors import DataError


def test_classes_and_files_are_in_natural_order(tmp_path):
    make_folder(tmp_path, {"class10": 12, "class2": 1})
    found = scan(tmp_path)
    assert found.classes == ["class2", "class10"]
    train = found.parts["train"]
    assert list(train.files) == ["class2/0.png", *(f"class10/{k}.png" for k in range(12))]
    assert train.labels.tolist() == [0] + [1] * 12 and not found.warnings
    assert natural(["a10", "a9", "a09", "9a", "b"]) == ["9a", "a09", "a9", "a10", "b"]


def by_definition(name: str) -> tuple[list[str | int], str]:
    pieces = re.split(r"([0-9]+)", name)
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)], name


@given(st.lists(st.text("0129 -aé\udc80", min_size=1, max_size=6), unique=True))
def test_natural_order_is_that_of_text_and_numbers_in_turn(names):
    assert natural(names) == sorted(names, key=by_definition)
    alike = [f"img_{len(name):03d}{name[0]}.jpg" for name in names]
    assert natural(alike) == sorted(alike, key=by_definition)


def test_the_digest_is_of_names_sizes_and_times(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 1})
    picture, digests = tmp_path / "a" / "1.png", set()

    def look():
        digests.add(scan(tmp_path).parts["train"].digest)
        return len(digests)

    assert look() == look() == 1
    os.utime(picture, ns=(1, 1))
    assert look() == 2
    picture.write_bytes(picture.read_bytes() + b" ")
    os.utime(picture, ns=(1, 1))
    assert look() == 3
    picture.rename(tmp_path / "a" / "2.png")
    assert look() == 4
    os.utime(tmp_path / "a" / "2.png", ns=(-1, -1))  # before 1970
    assert look() == 5


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_parts_beside_each_other_are_numbered_by_trains_names(tmp_path, val):
    make_folder(tmp_path, {"train/a": 1, "train/b": 1, "train/c": 1, f"{val}/b": 2, "test/a": 1, "test/b": 1, "test/c": 1})
    found = scan(tmp_path)
    assert list(found.parts) == ["train", "val", "test"]
    assert found.parts["val"].labels.tolist() == [1, 1], "not renumbered"
    assert found.warnings == ["val has no pictures of a, c"]


def test_a_class_that_train_lacks_is_refused_with_the_nearest_name(tmp_path):
    make_folder(tmp_path, {"train/Cat": 1, "train/dog": 1, "test/cat": 1, "test/dog": 1})
    with pytest.raises(DataError, match="test has 1 class.* that train has not: cat .*Fix: rename cat to Cat"):
        scan(tmp_path)


def test_nested_folders_belong_to_their_class(tmp_path):
    make_folder(tmp_path, {"a/deep/deeper": 2, "a": 1, "b": 1})
    assert list(scan(tmp_path).parts["train"].files) == ["a/0.png", "a/deep/deeper/0.png", "a/deep/deeper/1.png", "b/0.png"]


def test_a_class_may_be_called_train_or_test(tmp_path):
    make_folder(tmp_path, {"train": 2, "test": 1, "bus": 1})
    assert scan(tmp_path).classes == ["bus", "test", "train"]


def test_hidden_names_are_ignored_and_other_files_counted(tmp_path):
    make_folder(tmp_path, {"a": 1, "b": 1, ".ipynb_checkpoints": 1, "a/.cache": 2})
    (tmp_path / "a" / "notes.txt").write_text("")
    (tmp_path / "a" / ".DS_Store").write_text("")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    save(tmp_path / "beside.png")
    found = scan(tmp_path)
    assert found.classes == ["a", "b"] and len(found.parts["train"].files) == 2
    assert found.warnings == [
        f"{tmp_path}: 2 file(s) that are no pictures (1 .txt, 1 pipes), left out",
        f"{tmp_path}: 1 picture(s) beside the class folders, left out",
    ]


def test_each_real_file_counts_once_whatever_links_lead_to_it(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "loop").symlink_to("..")
    (tmp_path / "a" / "own").symlink_to(".")
    (tmp_path / "a" / "other").symlink_to("../b")
    (tmp_path / "a" / "nowhere.png").symlink_to("gone.png")
    (tmp_path / "a" / "again.png").symlink_to("0.png")
    os.link(tmp_path / "b" / "0.png", tmp_path / "b" / "9.png")
    found = scan(tmp_path)
    assert list(found.parts["train"].files) == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    text = "\n".join(found.warnings)
    assert "3 link(s) to a folder that is read already" in text and "1 link(s) to nowhere" in text
    assert "2 link(s) to a picture that is listed already" in text


def test_a_picture_in_train_and_test_is_told(tmp_path):
    make_folder(tmp_path, {"train/a": 1, "train/b": 1, "test/a": 1, "test/b": 1})
    (tmp_path / "test" / "a" / "copy.png").symlink_to(tmp_path / "train" / "a" / "0.png")
    assert scan(tmp_path).warnings == ["1 file(s) of test are also in train: test/a/copy.png is train/a/0.png"]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({}, "has no folder in it"),
        ({"": 2}, "has 2 pictures but no folders"),
        ({"a": 1}, r"has one class only \(a\)"),
        ({"train/a": 1}, r"has one class only \(a\)"),
        ({"a": 1, "b": 0}, "1 of 2 class folders of train have no picture in them: b"),
        ({"test/a": 1, "test/b": 1, "cats": 1}, "stands without a folder train beside it"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_a_data_error_with_a_fix(tmp_path, classes, message):
    make_folder(tmp_path, classes)
    for name in classes:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match=f"{message}.*Fix: ") as caught:
        scan(tmp_path)
    assert caught.value.exit_code == 3


def test_a_missing_root_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="there is no folder .*gone.*Fix: data.root=DIR"):
        scan(tmp_path / "gone")


def test_names_of_any_kind(tmp_path):
    names = ["ünï 猫", "-x", "%s", "a\nb", "a b"]
    make_folder(tmp_path, dict.fromkeys(names, 1))
    assert sorted(scan(tmp_path).classes) == sorted(names)
