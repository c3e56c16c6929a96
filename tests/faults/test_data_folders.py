"""Folders as people have them: other names, missing and extra classes, links, copies, and files that change while they are read."""

import contextlib
import fcntl
import os
import shutil
import signal
import threading
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from data.pictures import make_folder, noise, save

from cnntrain import cli
from cnntrain.data import decoding
from cnntrain.data.folder import folder
from cnntrain.data.scan import scan
from cnntrain.engine import checkpoint
from cnntrain.errors import DataError

RUN = (
    "model=lenet5 data=folder data.image_size=16 data.cache=cache data.workers=0 data.val=0 epochs=1 batch_size=4 augment=[] "
    "schedule=constant machine.threads=1 report.progress=off report.tensorboard=false hydra.run.dir=run"
).split()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(root="p", **keys):
    return folder(**{"root": str(root), "image_size": 8, "cache": "cache", "workers": 0, "val": 0.0, "seed": 0, **keys})


def all_of(split) -> torch.Tensor:
    return next(iter(split.fetch([torch.arange(len(split))])))[0]


def flat(place: str, number: int = 2) -> None:
    for k in range(number):
        save(Path(place, f"{k}.png"), noise(seed=k))


# --- D8: what nothing, or not enough, can be learnt from


def empty(place: str) -> None:
    Path(place).mkdir(parents=True)


REFUSED = {
    # what it is → (how it comes about, what is said, the fix)
    "no folder": (lambda: None, "there is no folder .*/p ", "data.root=DIR with a folder of pictures for each class"),
    "a near name": (lambda: make_folder(Path("pp"), {"a": 1, "b": 1}), "there is no folder .*/p ", "data.root=pp"),
    "an empty folder": (lambda: empty("p"), "p has no folder in it", "put the pictures of each class into a folder named for it"),
    "pictures without classes": (lambda: flat("p", 3), "p has 3 pictures but no folders", "put the pictures of each class into a folder"),
    "one class": (lambda: make_folder(Path("p"), {"a": 3}), r"p has one class only \(a\)", "add a folder for a second class"),
    "one class beside hidden folders": (
        lambda: make_folder(Path("p"), {"a": 3, ".ipynb_checkpoints": 1, "__MACOSX/a": 1}),
        r"one class only \(a\)",
        "add a folder for a second class",
    ),
    "one folder too many": (lambda: make_folder(Path("p"), {"pets/a": 1, "pets/b": 1}), r"one class only \(pets\)", "data.root=p/pets"),
    "one folder too many in train": (
        lambda: make_folder(Path("p"), {"train/train/a": 1, "train/train/b": 1}),
        r"one class only \(train\)",
        "move the folders in p/train/train up into p/train",
    ),
    "an empty class": (
        lambda: (make_folder(Path("p"), {"a": 1, "c": 1}), empty("p/b")),
        "1 of 3 class folders of train have no picture in them: b",
        "put pictures into p/b, or remove it",
    ),
    "a class of HEIC pictures": (
        lambda: (make_folder(Path("p"), {"a": 1}), empty("p/b"), [Path(f"p/b/{k}.HEIC").write_bytes(b"") for k in range(3)]),
        r"no picture in them: b; files that are no pictures \(3 .heic\) were found",
        "put pictures into p/b, or remove it",
    ),
    "an empty val": (
        lambda: (make_folder(Path("p"), {"train/a": 1, "train/b": 1}), empty("p/val/a"), empty("p/val/b")),
        "2 of 2 class folders of val have no picture",
        "put pictures into p/val/a",
    ),
    "test without train": (
        lambda: make_folder(Path("p"), {"test/a": 1, "test/b": 1}),
        "p/test stands without a folder train beside it",
        "put the folders of the training classes into p/train",
    ),
    "two folders for val": (
        lambda: make_folder(Path("p"), {"train/a": 1, "train/b": 1, "val/a": 1, "valid/a": 1}),
        "p has 2 folders for val: val, valid",
        "move valid out of it",
    ),
    "Kaggle's train and test without classes": (
        lambda: (flat("p/train"), flat("p/test")),
        "p/train has 2 pictures but no folders",
        "put the pictures of each class into a folder named for it",
    ),
    "Kaggle's train and test1": (
        lambda: (flat("p/train"), flat("p/test1")),
        "p/train has 2 pictures but no folders",
        "put the pictures of each class into a folder named for it",
    ),
    "ImageNet's val without classes": (
        lambda: (make_folder(Path("p"), {"train/n01440764": 1, "train/n01443537": 1}), flat("p/val", 5)),
        "p/val has 5 pictures but no folders",
        "put them into folders of their classes, or move val out of p",
    ),
    "a zip": (
        lambda: (make_folder(Path("p.d"), {"a": 1, "b": 1}), shutil.make_archive("p", "zip", "p.d"), os.rename("p.zip", "p")),
        "p is a file, not a folder",
        "data.root=.",
    ),
    "a name that is no UTF-8": (
        lambda: (make_folder(Path("p"), {"a": 1}), os.makedirs(b"p/caf\xe9")),
        r"the name of class folder b'caf\\xe9' is not UTF-8",
        "rename it",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_nothing_can_be_learnt_from_is_refused_with_a_fix(home, fault, what):
    build, message, fix = REFUSED[what]
    build()
    with pytest.raises(DataError, match=message) as caught:
        make()
    assert caught.value.exit_code == 3 and caught.value.fix.startswith(fix) and "data.root" in caught.value.where
    fault("D8", what)


def test_a_packed_root_says_to_unpack_it(home, fault):
    make_folder(Path("p"), {"a": 1, "b": 1})
    for kind, name in (("zip", "p.zip"), ("gztar", "p.tar.gz")):
        shutil.make_archive("p", kind, "p")
        with pytest.raises(DataError, match=f"{name} is a file, not a folder.*Fix: unpack it, and give data.root the folder"):
            make(name)
    with pytest.raises(DataError, match="cannot read x+: File name too long"):
        make("x" * 300)
    fault("D8", "an archive for a root")
    fault("D8", "a root whose name is too long")


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Training", "Validation", "Testing"), ("training_set", "dev", "test_set"), ("TRAIN", "VALID", "TEST")],
)
def test_parts_are_found_by_the_names_that_people_give_them(home, fault, train, val, test):
    make_folder(Path("p"), {f"{part}/{label}": 1 for part in (train, val, test) for label in "ab"})
    found = scan(Path("p"))
    assert list(found.parts) == ["train", "val", "test"] and found.classes == ["a", "b"] and found.warnings == []
    fault("D8", f"parts called {train}, {val}, {test}")


def test_what_stands_beside_the_pictures_is_told_and_never_learnt(home, fault):
    make_folder(Path("p"), {"train/a": 2, "train/b": 2, "old/a": 3, "__MACOSX/train": 1, "train/a/@eaDir/0.png": 1, "train/b/.thumbs": 2})
    flat("p/test", 4)
    flat("p/train", 1)
    for name in (".DS_Store", "Thumbs.db", "notes", "0.jpg.crdownload", "photo.heic"):
        Path("p/train/a", name).write_bytes(b"x")
    found = scan(Path("p"))
    assert list(found.parts) == ["train"] and list(found.parts["train"].files) == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    assert found.warnings == [
        "p: 1 test part that is left out: p/test has 4 pictures but no folders",
        "p: 1 folder(s) beside train, left out: old",
        "p: 4 file(s) that are no pictures (1 .crdownload, 1 .db, 1 without an ending, 1 .heic), left out",
        "p: 1 picture(s) beside the class folders, left out",
    ]
    for what in (
        "a test part without classes",
        "a folder beside train",
        "__MACOSX",
        "@eaDir",
        "Thumbs.db",
        ".DS_Store",
        "files beside the folders",
    ):
        fault("D8", what)


@pytest.mark.parametrize("root", ["p/", "./p", "sub/../p", "~/p", "absolute"])
def test_a_root_may_be_written_in_any_way(home, fault, monkeypatch, root):
    make_folder(Path("p"), {"a b": 4, "ünï 猫": 4})
    Path("sub").mkdir()
    monkeypatch.setenv("HOME", str(home))
    result = cli.call("train", *RUN, f"data.root={home / 'p' if root == 'absolute' else root}")
    assert result["step"] == 2 and checkpoint.read("run/last.safetensors").meta["classes"] == ["a b", "ünï 猫"]
    fault("D8", f"a root written {root}")


def test_a_class_of_one_picture_is_trained_on_and_told(home, fault):
    make_folder(Path("p"), {"a": 10, "b": 1})
    data = make(val=0.3)
    assert torch.bincount(data.train.labels).tolist() == [7, 1] and data.val.labels.tolist() == [0, 0, 0]
    assert "1 class(es) have one sample only, so none of theirs is in the validation part: b" in data.warnings
    fault("D8", "a class with one picture and val=0.3")


@pytest.mark.slow
def test_ten_thousand_classes_take_a_moment(home, fault):
    os.makedirs("p/train")
    picture = save(Path("one.png")).read_bytes()
    for part in ("train", "val"):
        for k in range(10_000):
            os.makedirs(f"p/{part}/class{k}")
            Path(f"p/{part}/class{k}/0.png").write_bytes(picture)
    started = time.process_time()
    found = scan(Path("p"))
    assert len(found.classes) == 10_000 and found.classes[1:3] == ["class1", "class2"]
    assert found.parts["val"].labels.tolist() == list(range(10_000))
    assert time.process_time() - started < 5, "not quadratic in the classes"
    fault("D8", "ten thousand classes")


# --- D9: classes go by train's names


def test_a_part_that_lacks_classes_keeps_trains_numbers_and_the_checkpoint_has_the_names(home, fault):
    make_folder(Path("p"), {"train/a": 3, "train/b": 3, "train/c": 3, "val/b": 2, "test/c": 2, "test/a": 1})
    assert cli.call("train", *RUN, "data.root=p")["step"] == 2
    log = Path("run/train.log").read_text()
    assert "warning: val has no pictures of a, c" in log and "warning: test has no pictures of b" in log
    meta = checkpoint.read("run/last.safetensors").meta
    assert meta["classes"] == ["a", "b", "c"] and meta["class_counts"] == [3, 3, 3]
    data = make()
    assert data.val.labels.tolist() == [1, 1] and data.test.labels.tolist() == [0, 2, 2]
    # Other data, whose own numbers would be others: by name again.
    make_folder(Path("other"), {"b": 2, "c": 3})
    result = cli.call("evaluate", "checkpoint=run/last.safetensors", "data=folder", "data.root=other", "data.image_size=16", "split=train", "data.val=0", "data.cache=cache")  # fmt: skip # noqa: E501
    assert {entry["name"]: entry["count"] for entry in result["classes"]} == {"a": 0, "b": 2, "c": 3}
    fault("D9", "val lacks a class")
    fault("D9", "test lacks a class")
    fault("D9", "the data to evaluate on lack a class")


@pytest.mark.parametrize(
    ("what", "extra", "fix"),
    [
        ("an extra class", "zebra", "remove p/val/zebra"),
        ("as many, but other names", "dgo", "rename dgo to dog"),
        ("another case", "CAT", "rename CAT to cat"),
        ("another Unicode form", unicodedata.normalize("NFD", "café"), "rename .* to café .the same letters in another Unicode form"),
    ],
)
def test_a_class_that_train_lacks_is_refused(home, fault, what, extra, fix):
    make_folder(Path("p"), {"train/cat": 1, "train/dog": 1, "train/café": 1, "val/cat": 1, f"val/{extra}": 1})
    with pytest.raises(DataError, match=f"val has 1 class.* that train has not: .*Fix: {fix}") as caught:
        make()
    assert caught.value.exit_code == 3
    fault("D9", what)


def test_classes_that_differ_in_case_only_are_told(home, fault):
    make_folder(Path("p"), {"Cat": 1, "cat": 1, "dog": 1, unicodedata.normalize("NFD", "é"): 1, unicodedata.normalize("NFC", "é"): 1})
    said = [line for line in scan(Path("p")).warnings if "differ in case only" in line]
    assert len(said) == 2 and "Cat, cat" in said[0] and len(scan(Path("p")).classes) == 5
    fault("D9", "twins in train")


# --- D11: files that change or hang


def replaced_by(act):
    def change(path: Path) -> None:
        path.unlink()
        act(path)

    return change


CHANGES = {
    "deleted": os.unlink,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:60]),
    "emptied": lambda path: path.write_bytes(b""),
    "replaced by another picture": lambda path: save(path, noise(9, 9, seed=77)),
    "replaced by a pipe": replaced_by(os.mkfifo),
    "replaced by a folder": replaced_by(os.mkdir),
    "replaced by a link to nowhere": replaced_by(lambda path: path.symlink_to("gone")),
    "replaced by a link to itself": replaced_by(lambda path: path.symlink_to(path.name)),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_changes_in_mid_epoch_ends_the_run_by_name(home, fault, what, workers):
    make_folder(Path("p"), {"a": 4, "b": 4})
    split = make(residency="streamed", workers=workers, timeout=20).train
    batches = split.fetch([torch.tensor([0, 1]), *[torch.tensor([0, 1])] * 4, torch.tensor([2, 6])])
    next(batches)
    CHANGES[what](Path("p") / split.names[6])
    with pytest.raises(DataError, match=f"p/{split.names[6]} cannot be read: .*Fix: mend it and resume") as caught:
        list(batches)
    assert caught.value.exit_code == 3
    fault("D11", what)


def test_a_pipe_that_comes_after_the_listing_does_not_hang_the_decoding(home, fault, monkeypatch):
    monkeypatch.setattr(decoding, "FEW", 0)
    for workers in (0, 2):
        make_folder(Path("p"), {"a": 4, "b": 4})
        data = make(workers=workers, on_error="skip", timeout=20)
        Path("p/a/1.png").unlink()
        os.mkfifo("p/a/1.png")
        assert len(data.train) == 7 and any("a/1.png (no regular file)" in line for line in data.warnings)
        shutil.rmtree("p"), shutil.rmtree("cache")
    fault("D11", "a pipe where a picture is decoded into the cache")


@contextlib.contextmanager
def hung(path: Path):
    """While the block runs, open() of this file waits, as it does on a server that is gone: a lease is held on it (fcntl(2))."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # how the kernel asks the holder to give way
    with open(path, "rb+") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"no leases on this file system: {error}")
        try:
            yield
        finally:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    signal.signal(signal.SIGIO, before)


@pytest.mark.parametrize(("residency", "workers"), [("resident", 0), ("resident", 2), ("streamed", 0), ("streamed", 1)])
def test_a_read_that_hangs_ends_by_the_timeout_and_is_named(home, fault, monkeypatch, residency, workers):
    monkeypatch.setattr(decoding, "FEW", 0)
    make_folder(Path("p"), {"a": 4, "b": 4})
    data = make(residency=residency, workers=workers, timeout=0.4, mean=[0.5] * 3, std=[0.5] * 3)
    with hung(Path("p/b/1.png")):
        started = time.monotonic()
        with pytest.raises(DataError, match=r"reading p/b/1.png gave nothing for 0.4 s \(data.timeout\). Fix: data.timeout=0.8 ") as caught:
            all_of(data.train)
        assert caught.value.exit_code == 3 and time.monotonic() - started < 10
    while torch.multiprocessing.active_children() and time.monotonic() - started < 20:
        time.sleep(0.01)
    assert not torch.multiprocessing.active_children(), "the process that hangs is ended"
    assert len(all_of(make(residency=residency, workers=workers, mean=[0.5] * 3, std=[0.5] * 3).train)) == 8, "and works again afterwards"
    while any(thread.name == "reading" for thread in threading.enumerate()) and time.monotonic() - started < 20:
        time.sleep(0.01)  # what hung comes to its end, and no thread is left to the next test's forks
    fault("D11", f"a hung file, {residency}, {'a process of its own' if workers else 'main process'}")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_slow_disk_is_no_hang(home, monkeypatch, workers):
    """The patience is with each picture, not with a batch of them."""
    from cnntrain.data import streamed

    decode = streamed.decode

    def slowly(path, rules, **more):
        time.sleep(0.15)
        return decode(path, rules, **more)

    make_folder(Path("p"), {"a": 4, "b": 4})
    split = make(residency="streamed", workers=workers, timeout=0.4).train
    monkeypatch.setattr(streamed, "decode", slowly)
    assert len(all_of(split)) == 8, "which took three times the timeout"


# --- D12: links and copies


def test_links_give_each_file_once_and_loops_are_told(home, fault):
    make_folder(Path("p"), {"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1})
    a, b = Path("p/train/a"), Path("p/train/b")
    (a / "up").symlink_to("..")
    (a / "root").symlink_to(Path("p").resolve())
    (a / "self.png").symlink_to("self.png")
    (a / "ring1").symlink_to("ring2")
    (a / "ring2").symlink_to("ring1")
    (a / "gone.png").symlink_to("nowhere.png")
    (a / "again.png").symlink_to("0.png")
    os.link(a / "1.png", b / "z.png")  # one file, two classes
    found = scan(Path("p"))
    assert list(found.parts["train"].files) == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    text = "\n".join(found.warnings)
    assert "2 link(s) to a picture that is listed already, left out" in text and "4 link(s) to nowhere, left out" in text
    assert "link(s) to a folder that is read already, not followed" in text
    for what in ("a link to the parent", "a link to the root", "a link to itself", "a ring of links", "a dangling link", "a link to a picture", "a hard link"):  # fmt: skip # noqa: E501
        fault("D12", what)


@pytest.mark.parametrize("how", ["a hard link", "a symbolic link", "a linked folder"])
def test_a_file_in_train_and_test_is_told_before_training(home, fault, how):
    make_folder(Path("p"), {"train/a": 2, "train/b": 2, "test/a": 2, "test/b": 2})
    copy = Path("p/test/b/9.png")
    if how == "a hard link":
        os.link("p/train/b/1.png", copy)
    elif how == "a symbolic link":
        copy.symlink_to(Path("p/train/b/1.png").resolve())
    else:
        shutil.rmtree("p/test/b")
        Path("p/test/b").symlink_to("../train/b")
    number, name = (2, "b/0.png") if how == "a linked folder" else (1, "b/9.png")
    original = "b/0.png" if how == "a linked folder" else "b/1.png"
    assert f"{number} file(s) of test are also in train: test/{name} is train/{original}" in scan(Path("p")).warnings
    fault("D12", f"in train and test by {how}")


def test_copies_within_train_and_across_parts_are_counted_with_two_names(home, fault):
    root = make_folder(Path("p"), {"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2})
    shutil.copy(root / "train/a/1.png", root / "test/a/x.png")
    save(root / "test/b/y.bmp", np.asarray(noise(seed=2)))  # the same pixels in another format, under another class
    shutil.copy(root / "train/b/0.png", root / "val/b/z.png")
    shutil.copy(root / "train/a/0.png", root / "train/b/w.png")
    (root / "test/a/0.png").write_bytes(b"")  # whose row of the pixels is empty: nobody's copy
    for _ in range(2):  # found, and remembered
        data = make(on_error="skip")
        assert len(data.train) == 7 and len(data.val) == 5 and len(data.test) == 5
        assert "train: 1 picture(s) are there more than once, such as a/0.png and b/w.png; 1 of them under another class" in data.warnings
        assert "val: 1 picture(s) are in train too, such as val/b/z.png, which is train/b/0.png" in data.warnings
        assert (
            "test: 2 picture(s) are in train too, such as test/a/x.png, which is train/a/1.png; 1 of them under another class"
            in data.warnings
        )
    assert not any("too" in line or "more than once" in line for line in make(make_folder(Path("q"), {"a": 4, "b": 4})).warnings)
    for what in ("the same picture in train and test", "in another format", "in train and val", "twice in train", "under two classes"):
        fault("D12", what)


def test_copies_in_test_are_told_after_the_training_that_must_not_see_it(home):
    root = make_folder(Path("p"), {"train/a": 3, "train/b": 3, "test/a": 2, "test/b": 2})
    shutil.copy(root / "train/a/1.png", root / "test/a/x.png")
    cli.call("train", *RUN, "data.root=p")
    log = Path("run/train.log").read_text()
    assert log.count("test: 1 picture(s) are in train too") == 1


def test_a_test_picture_that_cannot_be_read_costs_no_training(home, fault):
    root = make_folder(Path("p"), {"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})
    (root / "test/a/1.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"1 of 4 pictures of test cannot be read: a/1.png .*Fix: remove them and resume the run"):
        cli.call("train", *RUN, "data.root=p")
    (root / "test/a/1.png").unlink()
    result = cli.call("resume", "run=run")
    assert result["step"] == 2 and "test/accuracy" in result["metrics"]
    fault("D1", "a damaged test picture, found after the training")


# --- D14


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_million_files_are_listed_in_a_minute(fault, tmp_path):
    place = Path("/dev/shm", f"cnntrain-million-{os.getpid()}")
    if not place.parent.is_dir() or os.statvfs(place.parent).f_favail < 1_100_000:
        pytest.skip("no memory file system with a million free inodes")
    try:
        for label in range(100):
            os.makedirs(place / f"class{label}")
            for k in range(10_000):
                os.close(os.open(place / f"class{label}" / f"IMG_{k:08d}.jpg", os.O_CREAT | os.O_WRONLY))
        from faults import forked

        def work() -> None:
            started = time.monotonic()
            Path("/proc/self/clear_refs").write_text("5")
            before = memory("VmRSS")
            found = scan(place)
            assert len(found.parts["train"].files) == 1_000_000
            print(f"{time.monotonic() - started:.1f} s {(memory('VmHWM') - before) // 1024} MB")
            assert time.monotonic() - started < 60 and memory("VmHWM") - before < 1_000_000

        ended = forked.run(work, tmp_path / "console", timeout=120)
        assert ended.code == 0, ended.output
    finally:
        shutil.rmtree(place)
    fault("D14", "a folder of a million files")


def memory(name: str) -> int:
    """Of this process, in KiB."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
