import collections
import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from data.server import serve

from cnntrain.data import cifar
from cnntrain.data.cifar import CIFAR10, CIFAR100, Form, cifar10, cifar100, describe, read_batch
from cnntrain.data.dataset import Data
from cnntrain.data.download import Remote
from cnntrain.errors import DataError

EACH = 4  # records a file


def records(seed: int, number: int = EACH) -> tuple[np.ndarray, list[int]]:
    pixels = np.random.default_rng(seed).integers(0, 256, (number, 3072), dtype=np.uint8)
    return pixels, [(seed + k) % 10 for k in range(number)]


def as_bin(seed: int, label_bytes: int) -> bytes:
    pixels, labels = records(seed)
    coarse = [[99] * (label_bytes - 1) + [label] for label in labels]  # 99 in the coarse place must not be taken
    return np.concatenate([np.array(coarse, dtype=np.uint8), pixels], axis=1).tobytes()


def as_pickle(seed: int, key: str, protocol: int = 2) -> bytes:
    pixels, labels = records(seed)
    return pickle.dumps({"batch_label": b"\xfe", key: labels, "data": pixels, "filenames": ["a.png"]}, protocol=protocol)


def files_of(form: Form) -> dict[str, bytes]:
    options = dict(form.options)
    make = as_bin if "label_bytes" in options else as_pickle
    return {name: make(seed, *options.values()) for seed, name in enumerate(form.train + form.test)}


def write(form: Form, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, content in files_of(form).items():
        (folder / name).write_bytes(content)


def expected(number_of_files: int) -> tuple[np.ndarray, list[int]]:
    parts = [records(seed) for seed in range(number_of_files)]
    return np.concatenate([p for p, _ in parts]).reshape(-1, 3, 32, 32), [label for _, labels in parts for label in labels]


def tiny(forms, root, classes=10) -> Data:
    return Data(describe("tiny", forms, [str(k) for k in range(classes)], None, str(root)), val=0.0, mean=None, std=None, seed=0)


@pytest.mark.parametrize("form", [*CIFAR10, *CIFAR100], ids=lambda form: form.folder)
@pytest.mark.parametrize("inside", [True, False])
def test_an_unpacked_folder_is_read_without_a_download(tmp_path, form, inside):
    write(form, tmp_path / form.folder)
    data = tiny((form,), tmp_path if inside else tmp_path / form.folder)
    images, labels = expected(len(form.train))
    assert np.array_equal(data.train.images.numpy(), images) and data.train.labels.tolist() == labels
    assert len(data.test) == EACH


def pack(form: Form, folder: Path, extra: list[tarfile.TarInfo] = (), leave_out: str = "") -> Remote:
    path = folder / form.archive.file
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for info in extra:  # before the good files, whose names they take
            tar.addfile(info, io.BytesIO(b"x" * info.size))
        for name, content in files_of(form).items():
            if name != leave_out:
                info = tarfile.TarInfo(f"{form.folder}/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    content = path.read_bytes()
    return Remote(path.name, len(content), hashlib.md5(content).hexdigest(), ("http://127.0.0.1:9/none",))


def with_archive(form: Form, remote: Remote) -> Form:
    return Form(form.folder, form.train, form.test, remote, form.read, form.options)


@pytest.mark.parametrize("form", [*CIFAR10, *CIFAR100], ids=lambda form: form.folder)
def test_an_archive_put_there_by_hand_is_checked_and_unpacked(tmp_path, form):
    form = with_archive(form, pack(form, tmp_path))
    images, _ = expected(len(form.train))
    assert np.array_equal(tiny((form,), tmp_path).train.images.numpy(), images)
    assert sorted(path.name for path in (tmp_path / form.folder).iterdir()) == sorted((*form.train, *form.test, "SHA256SUMS"))
    assert not list(tmp_path.glob("*.partial"))


def test_an_archive_is_downloaded_from_the_second_form_when_the_first_is_nowhere(tmp_path, monkeypatch):
    first, second = CIFAR10
    packed = pack(second, tmp_path / "server")
    with serve() as server:
        monkeypatch.setattr("data.server.BODY", (tmp_path / "server" / packed.file).read_bytes())
        urls = (f"{server.url}/missing/a", f"{server.url}/good/a")
        forms = (
            with_archive(first, Remote("first.tar.gz", 10, "0", urls[:1])),
            with_archive(second, Remote(packed.file, packed.size, packed.md5, urls)),
        )
        assert len(tiny(forms, tmp_path / "root").train) == 5 * EACH


def test_paths_links_and_devices_in_an_archive_have_no_effect(tmp_path):
    infos = []
    for name, kind, target in (
        ("../escaped", tarfile.REGTYPE, ""),
        ("/tmp/cnntrain_escaped", tarfile.REGTYPE, ""),
        ("link/data_batch_1.bin", tarfile.SYMTYPE, "/etc/passwd"),
        ("hard/data_batch_2.bin", tarfile.LNKTYPE, "../../escaped"),
        ("device/data_batch_3.bin", tarfile.CHRTYPE, ""),
    ):
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, 3 if kind == tarfile.REGTYPE else 0
        infos.append(info)
    root = tmp_path / "root"
    form = with_archive(CIFAR10[0], pack(CIFAR10[0], root, extra=infos))
    assert len(tiny((form,), root).train) == 5 * EACH
    assert not (tmp_path / "escaped").exists() and not Path("/tmp/cnntrain_escaped").exists()
    assert all(path.is_file() and not path.is_symlink() for path in (root / form.folder).iterdir())


def test_an_archive_that_lacks_a_file_leaves_no_folder(tmp_path):
    form = with_archive(CIFAR10[0], pack(CIFAR10[0], tmp_path, leave_out="data_batch_4.bin"))
    with pytest.raises(DataError, match="lacks data_batch_4.bin"):
        _ = tiny((form,), tmp_path).train
    assert not (tmp_path / form.folder).exists()


class Payload:
    def __init__(self, call, *args) -> None:
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("call", [os.system, eval, getattr, collections.OrderedDict, pickle.loads, np.frombuffer, np.load])
def test_a_pickle_that_names_anything_else_is_refused_before_it_acts(tmp_path, call, protocol):
    canary = tmp_path / "canary"
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": Payload(call, f"touch {canary}")}, protocol=protocol))
    with pytest.raises(DataError, match="which no array of pictures needs"):
        read_batch(tmp_path / "batch", label_key="labels")
    assert not canary.exists()


@pytest.mark.parametrize(
    "content", [b"", b"noise", pickle.dumps([1]), pickle.dumps({"data": [1], "labels": [1]}), as_pickle(0, "labels")[:-50]]
)
def test_a_damaged_batch_is_a_data_error_that_names_it(tmp_path, content):
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(DataError, match=str(tmp_path / "batch")):
        read_batch(tmp_path / "batch", label_key="labels")


def test_arrays_of_objects_do_not_pass(tmp_path):
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": np.array([None, 1], dtype=object), "labels": [0, 1]}, protocol=2))
    with pytest.raises(DataError, match="its pictures are no bytes"):
        read_batch(tmp_path / "batch", label_key="labels")


def test_cut_records_and_labels_out_of_range_are_data_errors(tmp_path):
    form = CIFAR10[0]
    write(form, tmp_path / form.folder)
    with pytest.raises(DataError, match="label 5 of row 3 is none of the whole numbers from 0 to 4 .*data_batch_3.bin"):
        _ = tiny((form,), tmp_path, classes=5).train
    (tmp_path / form.folder / form.train[0]).write_bytes(b"x" * 3000)
    with pytest.raises(DataError, match="no whole number of records"):
        _ = tiny((form,), tmp_path).train


def test_the_published_sets_describe_themselves_without_reading(tmp_path):
    ten, hundred = cifar10(root=str(tmp_path), seed=0), cifar100(root=str(tmp_path), seed=0)
    assert (ten.num_train, ten.in_channels, ten.image_size, ten.class_counts) == (45000, 3, 32, [4500] * 10)
    assert (hundred.num_train, len(set(hundred.classes)), hundred.classes) == (45000, 100, sorted(hundred.classes))
    assert not list(tmp_path.iterdir())


def test_a_set_of_another_size_is_refused(tmp_path):
    write(CIFAR10[0], tmp_path / "cifar-10-batches-bin")
    with pytest.raises(DataError, match="where 5000 belong"):
        _ = cifar10(root=str(tmp_path), seed=0).train


def test_the_default_place_is_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write(CIFAR10[0], tmp_path / "cnntrain" / "data" / "cifar10" / "cifar-10-batches-bin")
    source = cifar.describe("cifar10", CIFAR10, cifar.CIFAR10_CLASSES, None, None)
    assert torch.equal(source.read("train").images, torch.from_numpy(expected(5)[0]))
