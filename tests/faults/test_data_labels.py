"""Labels that are no classes, pixels that are no bytes, and pictures that a network cannot take: each told before anything is trained."""

import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from data.pictures import make_folder, noise, save
from scipy.io import savemat
from torch import nn

from cnntrain import cli
from cnntrain.data import cifar
from cnntrain.data.dataset import Data, Source
from cnntrain.data.decode import Rules
from cnntrain.data.mnist import FILES, MNIST, describe
from cnntrain.data.split import Split
from cnntrain.data.svhn import read_mat
from cnntrain.errors import ConfigError, DataError
from cnntrain.task.load import Predictor

RUN = (
    "data=folder data.cache=cache data.workers=0 data.val=0 epochs=1 batch_size=4 augment=[] schedule=constant "
    "machine.threads=1 report.progress=off report.tensorboard=false hydra.run.dir=run data.root=p"
).split()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- D7: pictures and networks


@pytest.mark.parametrize("model", ["lenet5", "resnet18", "airbench94"])
def test_pictures_too_small_for_the_network_are_told_with_the_size_that_works(home, fault, model):
    make_folder(Path("p"), {"a": 2, "b": 2})
    with pytest.raises(ConfigError) as caught:
        cli.call("train", *RUN, f"model={model}", "data.image_size=1")
    text = str(caught.value)
    assert re.search(r"[Ii]mages of 1.1 are too small for .* layer [\w.]+ .*(map is 1x1|gets a 1×1 map)", text)
    assert caught.value.exit_code == 2 and not list(Path("run").glob("*.safetensors"))
    smallest = int(re.search(r"^data\.image_size=(\d+)", caught.value.fix)[1])
    shapes = ["summary", "data=folder", "data.root=p", "data.cache=cache", "batch_size=2", f"model={model}"]
    with pytest.raises(ConfigError, match=f"too small for .*data.image_size={smallest},"):
        cli.call(*shapes, f"data.image_size={smallest - 1}")
    cli.call(*shapes, f"data.image_size={smallest}")
    fault("D7", f"pictures smaller than {model} can take")


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_pictures_of_any_size_are_brought_to_the_configured_one(home, fault, resize):
    make_folder(Path("p"), {"a": 2, "b": 2})
    for place, (width, height) in enumerate([(1, 1), (1, 5000), (5000, 1), (31, 33), (8, 8)]):
        save(Path(f"p/a/x{place}.png"), np.full((height, width, 3), 50 * place, dtype=np.uint8))
    assert cli.call("train", *RUN, "model=lenet5", "data.image_size=16", f"data.resize={resize}")["step"] == 2
    store = np.load(next(Path("cache").glob("*.npy")))
    assert [np.unique(pixels).tolist() for pixels in store[2:7]] == [[0], [50], [100], [150], [200]]
    for what in ("1x1", "1x5000", "5000x1", "31x33 among others"):
        fault("D7", what)


# --- D10: labels of a set of one's own


def of_labels(labels, images=None, classes: int = 3) -> Data:
    images = torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8) if images is None else images
    split = Split(images, torch.as_tensor(labels))
    source = Source("mine", [f"class{k}" for k in range(classes)], 1, 4, lambda part: split, parts=("train", "val", "test"))
    return Data(source, val=0.0, mean=None, std=None, seed=0)


VALID = "the whole numbers from 0 to 2"
LABELS = {
    "-1": ([0, 1, -1, 2], f"label -1 of row 2 is none of {VALID} "),
    "-100": ([0, -100, -100], f"label -100 of row 1, the first of 2, is none of {VALID} "),
    "the number of classes": ([0, 1, 2, 3], f"label 3 of row 3 is none of {VALID} "),
    "counted from 1": ([1, 2, 3, 1], f"label 3 of row 2 is none of {VALID}; do they count from 1? "),
    "fractions": ([0.0, 1.0, 0.5], f"label 0.5 of row 2 is of type float32, where labels are {VALID} "),
    "floats": ([0.0, 1.0, 2.0], f"label 0.0 of row 0 is of type float32, where labels are {VALID} "),
    "NaN": ([0.0, math.nan, 1.0], f"label nan of row 1 is of type float32, where labels are {VALID} "),
    "truth values": ([True, False, True], f"label True of row 0 is of type bool, where labels are {VALID} "),
    "one-hot": ([[1, 0, 0], [0, 1, 0]], f"labels are of shape (2, 3), one-hot?, not (N,): one for each picture, {VALID} "),
    "a column": ([[0], [1]], f"labels are of shape (2, 1), not (N,): one for each picture, {VALID} "),
}


@pytest.mark.parametrize("part", ["train", "val", "test"])
@pytest.mark.parametrize("what", LABELS)
def test_labels_that_are_no_classes_are_refused_with_row_and_range(fault, what, part):
    labels, message = LABELS[what]
    with pytest.raises(DataError) as caught:
        getattr(of_labels(labels), part)
    text = str(caught.value)
    assert text.startswith(f"{message}(data mine, part {part})") and "Fix: give labels torch.int64" in text and caught.value.exit_code == 3
    fault("D10", f"labels of one's own set: {what}")


def test_labels_of_any_whole_type_serve_and_their_number_must_be_the_pictures(fault):
    for kind in (torch.uint8, torch.int16, torch.int32, torch.int64):
        assert of_labels(torch.tensor([0, 1, 2], dtype=kind)).train.labels.dtype == torch.int64
    with pytest.raises(DataError, match="3 labels for 5 pictures"):
        _ = of_labels([0, 1, 2], torch.zeros(5, 1, 4, 4, dtype=torch.uint8)).train
    fault("D10", "fewer labels than pictures")


# --- D10: labels in files


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


@pytest.mark.parametrize(("label", "what"), [(10, "10"), (255, "255 (which is -1 in a byte)")])
def test_an_idx_file_with_other_labels_is_refused(tmp_path, fault, label, what):
    for images, labels in FILES.values():
        (tmp_path / images).write_bytes(idx(np.zeros((4, 28, 28), dtype=np.uint8)))
        (tmp_path / labels).write_bytes(idx(np.array([0, 9, label, 1], dtype=np.uint8)))
    for part in ("train", "test"):
        with pytest.raises(DataError, match=f"label {label} of row 2 is none of the whole numbers from 0 to 9 .*{FILES[part][1]}"):
            describe(MNIST, str(tmp_path)).read(part)
    (tmp_path / FILES["train"][1]).write_bytes(idx(np.zeros(3, dtype=np.uint8)))
    with pytest.raises(DataError, match=r"pictures of shape \(4, 28, 28\) and labels of shape \(3,\).*Fix: "):
        describe(MNIST, str(tmp_path)).read("train")
    fault("D10", f"idx: {what}")
    fault("D10", "idx: fewer labels than pictures")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([10, 1, 0, 9], dtype=np.uint8), "label 0 of row 2 is none of the whole numbers from 1 to 10"),
        (np.array([10, 11, 12, 9], dtype=np.uint8), "label 11 of row 1, the first of 2, is none of"),
        (np.array([1, -1, 2, 3], dtype=np.int16), "label -1 of row 1 is none of"),
        (np.array([1.0, 2.0, 2.5, 3.0]), "label 2.5 of row 2 is of type float64"),
        (np.array([1.0, np.nan, 2.0, 3.0]), "label nan of row 1 is of type float64"),
    ],
)
def test_a_mat_file_with_other_labels_is_refused(tmp_path, fault, labels, message):
    savemat(tmp_path / "train_32x32.mat", {"X": np.zeros((32, 32, 3, 4), dtype=np.uint8), "y": labels[:, None]})
    with pytest.raises(DataError, match=f"{message}.*train_32x32.mat.*Fix: remove it"):
        read_mat(tmp_path / "train_32x32.mat")
    fault("D10", f"mat: {message[:12]}")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 9, 10], "label 10 of row 2 is none of the whole numbers from 0 to 9"),
        ([0, -1, 1], "label -1 of row 1 is none of"),
        ([0, 1, 0.5], "label 0.5 of row 2 is of type float64"),
        ([0, math.nan, 1], "label nan of row 1 is of type float64"),
        (["cat", "dog", "cat"], "its labels are no list of numbers"),
        ([[1, 0], [0, 1], [1, 0]], "its labels are no list of numbers"),
    ],
)
def test_a_python_batch_with_other_labels_is_refused(tmp_path, fault, labels, message):
    form = cifar.CIFAR10[1]
    home = tmp_path / form.folder
    home.mkdir()
    for name in form.train + form.test:
        good = {"data": np.zeros((3, 3072), dtype=np.uint8), "labels": [0, 1, 2]}
        (home / name).write_bytes(pickle.dumps(good | ({"labels": labels} if name == "data_batch_3" else {}), protocol=2))
    with pytest.raises(DataError, match="Fix: remove it") as caught:
        cifar.describe("cifar10", (form,), cifar.CIFAR10_CLASSES, None, str(tmp_path)).read("train")
    assert message in str(caught.value) and "data_batch_3" in str(caught.value)
    fault("D10", f"Python batch: {labels}")


@pytest.mark.parametrize(("forms", "label_bytes", "classes"), [(cifar.CIFAR10, 1, 10), (cifar.CIFAR100, 2, 100)])
def test_a_binary_batch_with_other_labels_is_refused(tmp_path, fault, forms, label_bytes, classes):
    form = forms[0]
    home = tmp_path / form.folder
    home.mkdir()
    for name in form.train + form.test:
        records = np.zeros((3, label_bytes + 3072), dtype=np.uint8)
        records[2, label_bytes - 1] = classes if name == form.test[0] else classes - 1
        (home / name).write_bytes(records.tobytes())
    source = cifar.describe("cifar", (form,), [str(k) for k in range(classes)], None, str(tmp_path))
    assert source.read("train").labels[2] == classes - 1
    with pytest.raises(DataError, match=f"label {classes} of row 2 is none of the whole numbers from 0 to {classes - 1} .*{form.test[0]}"):
        source.read("test")
    fault("D10", f"{form.folder}: a label {classes}")


# --- D13: pixels


def test_constant_pictures_get_a_floor_for_their_deviation_and_a_warning(home, fault):
    for label in "ab":
        for k in range(4):
            save(Path(f"p/{label}/{k}.png"), np.dstack([noise(seed=k)[..., :1], np.full((8, 8, 2), 77, dtype=np.uint8)]))
    assert math.isfinite(cli.call("train", *RUN, "model=lenet5", "data.image_size=16")["images_per_second"])
    log = Path("run/train.log").read_text()
    assert "warning: channel 1, 2 is constant over the training pictures; its std is taken as 0.001" in log
    fault("D13", "constant channels")


FLOATS = {
    "all NaN": (torch.full((3, 1, 4, 4), math.nan), "torch.float32, not all finite numbers, where bytes belong"),
    "one infinity": (torch.zeros(3, 1, 4, 4).index_fill_(0, torch.tensor([1]), math.inf), "not all finite numbers"),
    "normalised already": (torch.linspace(-2.1, 2.6, 48).reshape(3, 1, 4, 4), r"from -2.1 to 2.6 \(normalised already\? The run does that"),
    "fractions": (torch.linspace(0, 1, 48).reshape(3, 1, 4, 4), "torch.float32, from 0 to 1, where bytes belong"),
    "bytes as floats": (torch.linspace(0, 255, 48).reshape(3, 1, 4, 4), "from 0 to 255, where bytes belong"),
    "whole numbers of 64 bits": (torch.zeros(3, 1, 4, 4, dtype=torch.int64), r"torch.int64 of shape \(3, 1, 4, 4\), not torch.uint8 of"),
    "channels last": (torch.zeros(3, 4, 4, 1, dtype=torch.uint8), r"of shape \(3, 4, 4, 1\), not torch.uint8 of \(N, 1, 4, 4\)"),
    "another size": (torch.zeros(3, 1, 5, 4, dtype=torch.uint8), r"not torch.uint8 of \(N, 1, 4, 4\)"),
}


@pytest.mark.parametrize("what", FLOATS)
def test_pictures_of_ones_own_set_that_are_no_bytes_are_refused(fault, what):
    images, message = FLOATS[what]
    with pytest.raises(DataError, match=f"pictures are .*{message}.*data mine, part train.*Fix: give ") as caught:
        _ = of_labels([0, 1, 2], images).train
    assert caught.value.exit_code == 3
    fault("D13", f"pictures of one's own set: {what}")


@pytest.mark.parametrize(
    ("what", "low", "high"),
    [("NaN", math.nan, 1.0), ("an infinity", 0.0, math.inf), ("normalised already", -2.1, 2.6), ("bytes as floats", 0.0, 255.0)],
)
def test_a_trained_network_refuses_pixels_in_another_range(fault, what, low, high):
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    judge = Predictor(net, classes=["a", "b"], mean=[0.5], std=[0.2], rules=Rules(4, channels=1)).eval()
    pixels = torch.full((1, 4, 4), 0.5)
    pixels[0, 0, :2] = torch.tensor([low, high])
    with pytest.raises(DataError, match=r"Pixels are torch.float32 from .* to .*, not in \[0, 1\].*Fix: give them as uint8 or fractions"):
        judge.predict(pixels)
    pixels[0, 0, :2] = torch.tensor([-0.04, 1.04])  # what bicubic resizing overshoots by
    assert [name for name, _ in judge.predict(pixels)] and judge.predict((pixels.clamp(0, 1) * 255).to(torch.uint8))
    fault("D13", f"pixels to predict: {what}")
