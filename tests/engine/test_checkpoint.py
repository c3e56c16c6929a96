import json
import os
import random

import pytest
import torch
from safetensors import safe_open

from cnntrain.engine import checkpoint
from cnntrain.errors import CheckpointError


def some_tensors():
    torch.manual_seed(0)
    tied = torch.randn(4, 5)
    return {
        "model.a": torch.randn(3, 4, 2, 2).to(memory_format=torch.channels_last),
        "model.tied": tied,
        "model.again": tied,
        "model.half": torch.randn(7).bfloat16(),
        "model.empty": torch.zeros(0, 3),
        "model.flag": torch.tensor([True, False]),
        "optimizer.a/step": torch.tensor(3.0),
        "generator.cpu": torch.get_rng_state(),
        "sums.window": torch.tensor([1.5, 2.0, 3.0], dtype=torch.float64),
    }


def test_what_is_written_is_read(tmp_path):
    path, tensors = tmp_path / "last.safetensors", some_tensors()
    checkpoint.write(path, tensors, {"step": 7, "best": {"best": 0.1 + 0.2}, "name": "ünï 猫", "config": {"b": 1, "a": 2}})
    read = checkpoint.read(path)
    assert set(read.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(read.tensors[name], tensor) and read.tensors[name].dtype == tensor.dtype, name
    assert read.meta["step"] == 7 and read.meta["best"]["best"] == 0.1 + 0.2 and read.meta["name"] == "ünï 猫"
    assert list(read.meta["config"]) == ["b", "a"]
    assert read.meta["aliases"] == {"model.again": "model.tied"}
    with safe_open(path, "pt") as file:  # anybody's reader reads it
        assert torch.equal(file.get_tensor("model.tied"), tensors["model.tied"])
    assert sorted(os.listdir(tmp_path)) == ["last.safetensors"]


def test_every_damage_is_found(tmp_path):
    path, broken = tmp_path / "last.safetensors", tmp_path / "broken.safetensors"
    checkpoint.write(path, some_tensors(), {"step": 7})
    whole = path.read_bytes()
    seed = int(os.environ.get("CNNTRAIN_TEST_SEED", "0"))
    print(f"seed {seed}")
    chance = random.Random(seed)
    damages = [whole[:cut] for cut in [0, 1, 7, 8, 9, *(chance.randrange(len(whole)) for _ in range(100)), len(whole) - 1]]
    for _ in range(400):
        place = chance.randrange(len(whole))
        damages.append(whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :])
    damages += [whole + b"x", b"<html>not found</html>" * 300, bytes(5000), b"PK\x03\x04" + bytes(100), b"\xff" * 100]
    for damage in damages:
        broken.write_bytes(damage)
        with pytest.raises(CheckpointError, match="damaged|not a cnntrain") as found:
            checkpoint.read(broken)
        assert found.value.exit_code == 4 and str(broken) in str(found.value)


@pytest.mark.parametrize("name", ["nothing.safetensors", "."])
def test_no_file_is_an_error_that_says_so(tmp_path, name):
    with pytest.raises(CheckpointError, match="not there|a folder"):
        checkpoint.read(tmp_path / name)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="not a cnntrain checkpoint"):
        checkpoint.read(tmp_path / "foreign.safetensors")


def test_another_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    checkpoint.write(tmp_path / "a.safetensors", {}, {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 2"):
        checkpoint.read(tmp_path / "a.safetensors")


def test_a_damaged_last_falls_back_to_previous(tmp_path):
    last, previous = tmp_path / "last.safetensors", tmp_path / "previous.safetensors"
    checkpoint.write(last, {"a": torch.zeros(1)}, {"step": 1}, keep=previous)
    assert not previous.exists()
    checkpoint.write(last, {"a": torch.zeros(1)}, {"step": 2}, keep=previous)
    found, remarks = checkpoint.read_newest(tmp_path)
    assert found.meta["step"] == 2 and not remarks
    last.write_bytes(last.read_bytes()[:-1])
    found, remarks = checkpoint.read_newest(tmp_path)
    assert found.meta["step"] == 1 and "passed over" in remarks[0]
    previous.write_bytes(b"")
    with pytest.raises(CheckpointError, match="passed over.*passed over"):
        checkpoint.read_newest(tmp_path)
    assert checkpoint.read_newest(tmp_path / "empty") == (None, [])


@pytest.mark.parametrize("call", ["write", "fsync", "link", "replace"])
def test_a_failing_disk_leaves_the_old_file(tmp_path, monkeypatch, call):
    last, previous = tmp_path / "last.safetensors", tmp_path / "previous.safetensors"
    checkpoint.write(last, {"a": torch.zeros(1)}, {"step": 1}, keep=previous)

    def fail(*_):
        raise OSError(28, "No space left on device")

    if call == "write":
        monkeypatch.setattr(checkpoint, "_bytes", fail)
    else:
        monkeypatch.setattr(os, call, fail)
        if call == "link":
            monkeypatch.setattr("shutil.copyfileobj", fail)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(last, {"a": torch.ones(1)}, {"step": 2}, keep=previous)
    monkeypatch.undo()
    assert checkpoint.read(last).meta["step"] == 1
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_files_size_is_its_tensors_and_a_small_header(tmp_path):
    checkpoint.write(tmp_path / "a.safetensors", {"a": torch.zeros(1000, 1000)}, {"step": 1})
    assert 4_000_000 < (tmp_path / "a.safetensors").stat().st_size < 4_001_000
    assert json.loads(json.dumps(checkpoint.read(tmp_path / "a.safetensors").meta))["format"] == 1
