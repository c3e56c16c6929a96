import os
import signal
import time

import pytest
import torch
from data.pictures import make_folder

from cnntrain.data import streamed
from cnntrain.data.folder import folder
from cnntrain.errors import DataError


@pytest.fixture
def root(tmp_path):
    return make_folder(tmp_path / "pictures", {"a": 7, "b": 6})


def make(root, tmp_path, residency, **keys):
    return folder(root=str(root), image_size=6, cache=str(tmp_path / "cache"), residency=residency, seed=0, **keys)


def orders(size: int) -> list[torch.Tensor]:
    return list(torch.randperm(size, generator=torch.Generator().manual_seed(1)).split(4))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_samples_in_the_same_order_as_a_resident_part(root, tmp_path, workers):
    resident = make(root, tmp_path, "resident")
    stream = make(root, tmp_path, "streamed", workers=workers)
    assert resident.train.resident and not stream.train.resident
    assert stream.mean == resident.mean and stream.std == resident.std
    for name in ("train", "val"):
        one, other = getattr(resident, name), getattr(stream, name)
        assert list(one.names) == list(other.names) and torch.equal(one.labels, other.labels)
        asked = orders(len(one))
        pairs = list(zip(one.fetch(asked), other.fetch(iter(asked)), strict=True))
        assert len(pairs) == len(asked)
        for batch, same in pairs:
            assert all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(batch, same, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_no_generator_is_touched(root, tmp_path, workers):
    split = make(root, tmp_path, "streamed", workers=workers).train
    before = torch.get_rng_state()
    list(split.fetch(orders(len(split))))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_has_gone_is_named(root, tmp_path, workers):
    split = make(root, tmp_path, "streamed", workers=workers).train
    (root / split.names[5]).write_bytes(b"")
    with pytest.raises(DataError, match=f"{split.names[5]} cannot be read: it has changed"):
        list(split.fetch([torch.tensor([0, 1]), torch.tensor([5, 2])]))


def faulty(monkeypatch, name: str, act) -> None:
    decode = streamed.decode

    def acting(path, rules, **more):
        if path.endswith(name):
            act()
        return decode(path, rules, **more)

    monkeypatch.setattr(streamed, "decode", acting)  # the workers are forked, so they have it too


def test_a_killed_worker_is_told_with_the_picture(root, tmp_path, monkeypatch):
    split = make(root, tmp_path, "streamed", workers=2).train
    faulty(monkeypatch, split.names[3], lambda: os.kill(os.getpid(), signal.SIGKILL))
    handler, started = signal.getsignal(signal.SIGCHLD), time.monotonic()
    with pytest.raises(DataError, match=f"ended with code -9 while reading .*{split.names[3]}.*Fix: data.workers=0"):
        list(split.fetch([torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([4])]))
    assert signal.getsignal(signal.SIGCHLD) == handler and time.monotonic() - started < 20


def test_a_hanging_worker_is_told_with_the_picture(root, tmp_path, monkeypatch):
    split = make(root, tmp_path, "streamed", workers=1, timeout=0.5).train
    faulty(monkeypatch, split.names[3], lambda: time.sleep(60))
    started = time.monotonic()
    with pytest.raises(DataError, match=f"reading .*{split.names[3]} gave nothing for 0.5 s.*Fix: data.timeout=1 "):
        list(split.fetch([torch.tensor([2, 3])]))
    while torch.multiprocessing.active_children():
        assert time.monotonic() - started < 20, "the worker that hangs is ended too"
        time.sleep(0.01)


def test_workers_leave_ctrl_c_to_the_parent(root, tmp_path, monkeypatch):
    split = make(root, tmp_path, "streamed", workers=1).train
    faulty(monkeypatch, split.names[3], lambda: os.kill(os.getpid(), signal.SIGINT))
    assert len(list(split.fetch([torch.tensor([2, 3]), torch.tensor([1])]))) == 2


def test_leaving_early_ends_the_workers(root, tmp_path):
    split = make(root, tmp_path, "streamed", workers=1).train
    batches = split.fetch(orders(len(split)))
    next(batches)
    batches.close()
    assert torch.multiprocessing.active_children() == []


def test_a_part_for_another_device_is_the_same_part(root, tmp_path):
    split = make(root, tmp_path, "streamed", workers=0).train
    moved = split.to("meta").subset(torch.tensor([1, 0]))
    images, labels, index = next(iter(moved.fetch([torch.tensor([0])])))
    assert {images.device.type, labels.device.type, index.device.type} == {"meta"} and moved.names[0] == split.names[1]
