"""C5–C7: files that would run code, name code, read the environment, or write where they should not."""

import copyreg
import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import sys
import tarfile
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from data.pictures import make_folder
from data.server import BODY, serve
from faults import forked
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import MACHINE, NETWORK, make

from cnntrain import cli
from cnntrain.config.stored import read_config
from cnntrain.data import archive as archives
from cnntrain.data.cifar import CIFAR10, Form, describe, read_batch, read_bin
from cnntrain.data.download import Remote, obtain, verify
from cnntrain.data.folder import folder
from cnntrain.data.mnist import FILES, MNIST, Published, read_idx
from cnntrain.data.mnist import describe as describe_mnist
from cnntrain.data.svhn import read_mat
from cnntrain.engine import checkpoint
from cnntrain.errors import CheckpointError, CnntrainError, DataError
from cnntrain.job import Job
from cnntrain.task.evaluate import evaluate
from cnntrain.task.load import load

# C5: pickles that act when they are read


class Call:
    """Pickled, it calls when it is read."""

    def __init__(self, call, *args, state=None):
        self.call, self.args, self.state = call, args, state

    def __reduce__(self):
        return (self.call, self.args) if self.state is None else (self.call, self.args, self.state)


def glob(module, name):
    return f"c{module}\n{name}\n".encode()


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def called(module, name, *arguments):
    """Opcodes that call a name with these pickled arguments, as a pickle of protocol 0 does."""
    return glob(module, name) + b"(" + b"".join(arguments) + b"tR"


def payloads(canary, home):
    """Forty ways to make the file ``canary``: name → a pickle that does it when Python's own unpickler reads it."""
    path, touch = str(canary), f"touch '{canary}'"
    code = f"open({path!r}, 'w').close()"
    script = home / "payload_script.py"
    script.write_text(code)
    hub = home / "hub"
    hub.mkdir(exist_ok=True)
    (hub / "hubconf.py").write_text(f"{code}\ndef net():\n    return 1\n")
    inner = pickle.dumps(Call(os.system, touch))
    array = io.BytesIO()
    np.save(array, np.array([Call(os.system, touch)], dtype=object), allow_pickle=True)
    (home / "array.npy").write_bytes(array.getvalue())
    torch.save(Call(os.system, touch), home / "nested.pt")
    torch.save(Call(os.system, touch), home / "legacy.pt", _use_new_zipfile_serialization=False)
    import functools
    import importlib
    import logging
    import operator
    import runpy
    import shutil
    import sqlite3
    import subprocess
    import timeit

    by_call = {
        "os.system": Call(os.system, touch),
        "os.mkdir": Call(os.mkdir, path),
        "os.mknod": Call(os.mknod, path),
        "os.symlink": Call(os.symlink, "/", path),
        "os.popen": Call(os.popen, touch),
        "posix.spawn": Call(os.posix_spawn, "/usr/bin/touch", ["touch", path], {}),
        "eval": Call(eval, f"open({path!r}, 'w').close()"),
        "exec": Call(exec, code),
        "open": Call(open, path, "w"),
        "io.FileIO": Call(io.FileIO, path, "w"),
        "subprocess.run": Call(subprocess.run, ["touch", path]),
        "subprocess.Popen": Call(subprocess.Popen, touch, -1, None, None, None, None, None, True, True),
        "pickle.loads in a pickle": Call(pickle.loads, inner),
        "runpy.run_path": Call(runpy.run_path, str(script)),
        "shutil.copyfile": Call(shutil.copyfile, str(script), path),
        "timeit.timeit": Call(timeit.timeit, code, "pass", time.perf_counter, 1),
        "logging.FileHandler": Call(logging.FileHandler, path),
        "sqlite3.connect": Call(sqlite3.connect, path),
        "zipfile.ZipFile": Call(zipfile.ZipFile, path, "w"),
        "gzip.GzipFile": Call(gzip.GzipFile, path, "w"),
        "tarfile.TarFile": Call(tarfile.TarFile, path, "w"),
        "functools.partial, then map": Call(list, Call(map, Call(functools.partial, os.system), [touch])),
        "operator.methodcaller": Call(list, Call(map, Call(operator.methodcaller, "mkdir"), [Path(path)])),
        "getattr of a module": Call(list, Call(map, Call(getattr, Call(importlib.import_module, "os"), "system"), [touch])),
        "numpy.load": Call(np.load, str(home / "array.npy"), None, True),
        "torch.load": Call(torch.load, str(home / "nested.pt"), None, Call(importlib.import_module, "pickle")),
        "torch.hub.load": Call(list, Call(map, functools.partial(torch.hub.load, str(hub), source="local"), ["net"])),
        "torch.storage._load_from_bytes": called(
            "torch.storage", "_load_from_bytes", pickle.dumps((home / "nested.pt").read_bytes(), 3)[2:-1]) + b".",
        "state given to a module's dict": Call(types.SimpleNamespace, state={"x": Call(os.system, touch)}),
    }  # fmt: skip
    found = {name: value if isinstance(value, bytes) else pickle.dumps(value) for name, value in by_call.items()}
    sure = pickle.dumps(Call(os.system, touch))
    found |= {f"os.system, protocol {protocol}": pickle.dumps(Call(os.system, touch), protocol=protocol) for protocol in (0, 1, 2, 3, 5)}
    found |= {
        "INST": b"(" + text(touch) + b"ios\nsystem\n.",
        "OBJ": b"(" + glob("os", "system") + text(touch) + b"o.",
        "GLOBAL and REDUCE": called("posix", "system", text(touch)) + b".",
        "STACK_GLOBAL": b"\x80\x04" + text("os") + text("system") + b"\x93" + text(touch) + b"\x85R.",
        "a dotted STACK_GLOBAL": b"\x80\x04" + text("shutil") + text("os.system") + b"\x93" + text(touch) + b"\x85R.",
        "an item of a dict": pickle.dumps({"data": 1, "labels": {"deep": [Call(os.system, touch)]}}),
        "a key of a dict": b"}(" + called("os", "system", text(touch)) + b"K\x01u.",
        "after the end of another pickle": sure,
        "framed": pickle.dumps([Call(os.system, touch)] * 2, protocol=4),
        "a memo that is thrown away": b"(" + called("os", "system", text(touch)) + b"q\x000K\x01.",
    }
    return found


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """The payloads and the folder in which a canary would appear."""
    home = tmp_path_factory.mktemp("payloads")
    return home, payloads(home / "canary", home)


def test_every_payload_is_a_real_one(bad, tmp_path):
    home, found = bad
    assert len(found) >= 40
    canary = home / "canary"

    def work():
        dead = []
        for name, content in found.items():
            try:
                pickle.loads(content)
            except Exception as error:
                print(name, repr(error))
            for _ in range(100):
                if os.path.lexists(canary):
                    break
                time.sleep(0.01)  # a process that was started needs a moment
            if not os.path.lexists(canary):
                dead.append(name)
            elif canary.is_dir() and not canary.is_symlink():
                canary.rmdir()
            else:
                canary.unlink()
        print(f"do nothing: {dead}")
        return bool(dead)

    ended = forked.run(work, tmp_path / "console")
    if os.path.lexists(canary):
        canary.unlink()
    assert ended.code == 0, ended.output


def test_no_payload_runs_wherever_it_stands(bad, tmp_path, fault):
    home, found = bad
    for name, content in found.items():
        for kind, wrapped in {"": content, " in a dict": b"}(" + text("data") + content[:-1] + text("labels") + b"]u."}.items():
            if kind and content[:1] == b"\x80":
                wrapped = b"\x80\x05}(" + text("data") + content[2:-1] + text("labels") + b"]u."
            path = tmp_path / "payload"
            path.write_bytes(wrapped)
            with pytest.raises(CheckpointError) as caught:
                checkpoint.read(path)
            assert caught.value.exit_code == 4
            with pytest.raises(DataError) as caught:
                read_batch(path, label_key="labels")
            assert caught.value.exit_code == 3 and str(path) in str(caught.value), (name, kind)
        fault("C5", name)
    time.sleep(0.1)
    assert not os.path.lexists(home / "canary")


def test_no_file_of_any_kind_runs_a_payload(bad, tmp_path, fault):
    """The same in every other file that the product reads: none of them is a pickle to it."""
    home, found = bad
    content, canary = found["os.system"], home / "canary"
    path = tmp_path / "file"

    def nothing(read, what):
        with pytest.raises(CnntrainError) as caught:
            read(path)
        assert caught.value.exit_code in (3, 4) and not os.path.lexists(canary)
        fault("C5", what)

    (tmp_path / "run").mkdir()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", content)
    nothing(checkpoint.read, "torch's zip archive as a checkpoint")
    for name in ("nested.pt", "legacy.pt"):
        path.write_bytes((home / name).read_bytes())
        nothing(checkpoint.read, f"torch.save's {name} as a checkpoint")
        nothing(load, f"torch.save's {name} for cnntrain.load")
    with tarfile.open(path, "w") as file:
        info = tarfile.TarInfo("pickle")
        info.size = len(content)
        file.addfile(info, io.BytesIO(content))
    nothing(checkpoint.read, "torch's oldest tar as a checkpoint")
    for kind in (content, (home / "array.npy").read_bytes()):
        path.write_bytes(kind)
        nothing(read_mat, f"SVHN's file is {'a pickle' if kind is content else 'an array of objects'}")
        nothing(
            lambda path: read_bin(path, label_bytes=1), f"CIFAR's records are {'a pickle' if kind is content else 'an array of objects'}"
        )
        nothing(read_idx, f"MNIST's file is {'a pickle' if kind is content else 'an array of objects'}")
    path = tmp_path / "run"
    (path / "config.yaml").write_bytes(content)
    nothing(read_config, "a run's config.yaml is a pickle")
    packed = tmp_path / "file.gz"
    packed.write_bytes(gzip.compress(content))
    with pytest.raises(DataError):
        read_idx(packed)
    fault("C5", "MNIST's packed file is a pickle")
    assert not os.path.lexists(canary)


def test_a_cache_of_pictures_that_was_replaced_is_made_anew(bad, tmp_path, fault):
    home, found = bad
    root = make_folder(tmp_path / "pictures", {"a": 4, "b": 4})
    again = {"image_size": 8, "val": 0.0, "cache": str(tmp_path / "cache"), "seed": 0, "workers": 1}
    images = folder(root=str(root), **again).train.images.clone()
    stores = list((tmp_path / "cache").glob("*.npy"))
    notes = [path for path in (tmp_path / "cache").glob("*.json")]
    assert stores and notes
    for what, content in {"an array of objects": (home / "array.npy").read_bytes(), "a pickle": found["os.system"]}.items():
        for store in stores:
            store.write_bytes(content)
        assert torch.equal(folder(root=str(root), **again).train.images, images)
        fault("C5", f"the cache's pixels are {what}")
    for note in notes:
        note.write_bytes(found["os.system"])
    assert torch.equal(folder(root=str(root), **again).train.images, images)
    fault("C5", "the cache's note is a pickle")
    assert not os.path.lexists(home / "canary")


def test_extension_codes_persistent_ids_and_buffers_are_refused(bad, tmp_path, fault):
    home, _ = bad
    path = tmp_path / "payload"
    copyreg.add_extension("os", "system", 0x7FFF01)
    copyreg.add_extension("posix", "system", 0xF1)
    try:
        ways = {
            "EXT1": b"\x82\xf1", "EXT4": b"\x84" + struct.pack("<i", 0x7FFF01), "an unknown EXT2": b"\x83\x01\x02",
        }  # fmt: skip
        for name, code in ways.items():
            path.write_bytes(b"\x80\x02" + code + text(f"touch {home}/canary") + b"\x85R.")
            with pytest.raises(DataError):
                read_batch(path, label_key="labels")
            fault("C5", name)
    finally:
        copyreg.remove_extension("os", "system", 0x7FFF01)
        copyreg.remove_extension("posix", "system", 0xF1)
    for name, content in {
        "a persistent id": b"Pos.system\n.",
        "a binary persistent id": b"\x80\x02" + text("os.system") + b"Q.",
        "an outside buffer": b"\x80\x05\x97.",
        "a length of 2^40": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
        "lists within lists that stand for 10^10 numbers": pickle.dumps(bush(), protocol=2),
        "10^5 lists in each other": b"(l" * 100_000 + b"a" * 99_999 + b".",
        "an array of 2^40 bytes": batch(shape=(1 << 30, 1 << 10)),
        "an array of objects": batch(dtype="O"),
        "an array by columns": batch(by_column=True),
        "an array of text": batch(content="text"),
    }.items():
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_batch(path, label_key="labels")
        assert len(str(caught.value)) < 700
        fault("C5", name)
    assert not os.path.lexists(home / "canary")


def bush():
    """A batch whose labels are small in the file, and would be huge as an array."""
    labels = [0] * 10
    for _ in range(9):
        labels = [labels] * 10
    return {"data": Made((1, 3072), "u1", False, bytes(3072)), "labels": labels}


class Made:
    """Pickled, it is an array as numpy writes one, with a state of our choice."""

    def __init__(self, shape, dtype, by_column, content):
        self.state = (1, shape, np.dtype(dtype), by_column, content)

    def __reduce__(self):
        rebuild, arguments, _ = np.empty(0, dtype=np.uint8).__reduce__()
        return rebuild, arguments, self.state


def batch(*, shape=(1, 3072), dtype="u1", by_column=False, content=bytes(3072)):
    return pickle.dumps({"data": Made(shape, dtype, by_column, content), "labels": [0]}, protocol=2)


def test_a_batch_made_in_the_same_way_is_read(tmp_path):
    (tmp_path / "batch").write_bytes(batch())
    pixels, labels = read_batch(tmp_path / "batch", label_key="labels")
    assert pixels.shape == (1, 3072) and labels.tolist() == [0]


# C6: configs that name code or ask for the environment

SECRET = "the-secret-of-this-environment"
NODES = {
    "a function of os": {"_target_": "os.system", "command": "true"},
    "a private name": {"_target_": "cnntrain.model.lenet._hidden"},
    "a builtin": {"_target_": "builtins.eval"},
    "torch's hub": {"_target_": "torch.hub.load", "repo": "."},
    "torch.load": {"_target_": "torch.load"},
    "a loader of any network": {"_target_": "torchvision.models.get_model", "name": "squeezenet1_1"},
    "a list of networks": {"_target_": "torchvision.models.list_models"},
    "a module that is there": {"_target_": "canary_for_trust.Net"},
    "a module in a package": {"_target_": "canary_package.inner.Net"},
    "a name that our module imports": {"_target_": "cnntrain.model.lenet.nn.Linear"},
    "a part of another kind": {"_target_": "cnntrain.data.folder.folder", "root": "."},
    "a function that writes": {"_target_": "cnntrain.engine.storage.write_text"},
    "a task": {"_target_": "cnntrain.task.train.train"},
    "a module": {"_target_": "canary_for_trust"},
    "letters that look alike": {"_target_": "сnntrain.model.lenet.LeNet5"},
    "a path": {"_target_": "../canary_for_trust.Net"},
    "a file": {"_target_": "/tmp/canary_for_trust.py"},
    "blanks around it": {"_target_": " canary_for_trust.Net "},
    "an expression": {"_target_": "canary_for_trust.Net()"},
    "a list": {"_target_": ["canary_for_trust.Net"]},
    "interpolated": {"_target_": "${oc.env:CANARY_TARGET}"},
    "a partial": {"_target_": "cnntrain.model.lenet.LeNet5", "_partial_": True},
    "arguments by place": {"_target_": "cnntrain.model.lenet.LeNet5", "_args_": [1]},
    "another convert": {"_target_": "cnntrain.model.lenet.LeNet5", "_convert_": "all"},
    "recursive": {"_target_": "cnntrain.model.lenet.LeNet5", "_recursive_": False},
    "inside an argument": {"_target_": "cnntrain.model.lenet.LeNet5", "activation": {"_target_": "canary_for_trust.Net"}},
    "inside a list": {"_target_": "cnntrain.model.cifar_resnet.CifarResNet", "depth": [{"_target_": "canary_for_trust.Net"}]},
    "an interpolated value": {"_target_": "cnntrain.model.cifar_resnet.CifarResNet", "depth": "${oc.env:CANARY_DEPTH}"},
    "a decoded value": {"_target_": "cnntrain.model.cifar_resnet.CifarResNet", "depth": "${oc.decode:${oc.env:CANARY_DEPTH}}"},
    "a value of a resolver": {"_target_": "cnntrain.model.cifar_resnet.CifarResNet", "depth": "${hydra:runtime.cwd}"},
}


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Modules that could be imported, and must not be; an environment that could be read, and must not be."""
    (tmp_path / "canary_for_trust.py").write_text("from torch import nn\nclass Net(nn.Module):\n    pass\n")
    (tmp_path / "canary_package").mkdir()
    (tmp_path / "canary_package/__init__.py").write_text("")
    (tmp_path / "canary_package/inner.py").write_text("class Net:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CANARY_TARGET", "canary_for_trust.Net")
    monkeypatch.setenv("CANARY_DEPTH", "8")
    monkeypatch.setenv("CANARY_SECRET", SECRET)
    yield tmp_path
    assert not [name for name in sys.modules if name.startswith("canary_")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The config of a run, and a checkpoint's bytes."""
    place = tmp_path_factory.mktemp("trained")
    words = "model=lenet5 data=synthetic data.image_size=16 data.channels=1 data.samples=60 data.test_samples=20 data.classes=4 "
    words += "batch_size=16 epochs=1 machine.threads=1 report.progress=off report.tensorboard=false"
    cli.call("train", *words.split(), f"hydra.run.dir={place}/run")
    return place / "run"


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    path = tmp_path_factory.mktemp("untouched") / "a.safetensors"
    make(path)
    return path


@pytest.mark.parametrize("kind", NODES)
def test_a_config_chooses_no_import(outside, untouched, trained, fault, kind):
    node = NODES[kind]
    before = set(sys.modules)
    stored = checkpoint.read(untouched)
    for path, place in ((("model", "recipe"), "its model"), (("config", "data"), "its data"), (("config", "loss"), "its loss")):
        meta = json.loads(json.dumps({key: value for key, value in stored.meta.items() if key not in ("format", "aliases")}))
        meta[path[0]][path[1]] = node
        checkpoint.write(outside / "b.safetensors", stored.tensors, meta)
        with pytest.raises(CnntrainError) as caught:
            evaluate(checkpoint=str(outside / "b.safetensors"), machine=MACHINE)
        assert caught.value.exit_code in ((2, 3, 4) if place == "its data" else (2, 4)) and caught.value.fix
    fault("C6", f"{kind}, in a checkpoint")
    # in a run's folder
    config = read_config(trained)
    for key in ("model", "loss", "report", *([""] if kind != "a task" else [])):
        with pytest.raises(CnntrainError) as caught:
            Job.of({**config, key: node} if key else {**config, **node}, trust=[])
        assert caught.value.exit_code == 2 and caught.value.fix
    fault("C6", f"{kind}, in config.yaml")
    new = {name for name in set(sys.modules) - before if not name.startswith(("cnntrain.", "torch", "rich.", "PIL"))}
    assert not [name for name in new if "canary" in name]


@pytest.mark.parametrize(
    "value", ["${oc.env:CANARY_SECRET}", "${oc.decode:${oc.env:CANARY_SECRET}}", "$CANARY_SECRET", "%(CANARY_SECRET)s"]
)
def test_a_value_of_a_config_is_text(outside, trained, fault, monkeypatch, capfd, value):
    """Whatever it looks like: it is neither resolved nor found in what is written."""
    monkeypatch.chdir(outside)
    run = outside / "run"
    run.mkdir()
    for path in trained.iterdir():
        (run / path.name).write_bytes(path.read_bytes())
    tree = read_config(run)
    tree["data"] = {"_target_": "cnntrain.data.folder.folder", "root": value, "cache": "cache"}
    (run / "config.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    code = cli.main(["resume", f"run={run}", "epochs=2"])
    told = capfd.readouterr()
    written = "".join(path.read_text(encoding="utf-8", errors="replace") for path in run.iterdir() if path.suffix != ".safetensors")
    assert code in (2, 3, 4) and value in told.err + written
    assert SECRET not in told.out + told.err + written
    fault("C6", f"{value} as a value")


TAGS = {
    "an object made": "!!python/object/apply:os.system ['touch CANARY']",
    "an object": "!!python/object:canary_for_trust.Net {}",
    "a new object": "!!python/object/new:os.system ['touch CANARY']",
    "a module": "!!python/module:canary_for_trust",
    "a name": "!!python/name:canary_for_trust.Net",
    "a tuple": "!!python/tuple [1]",
    "a tag of our own": "!canary {}",
    "a key that is a list": "{? [a] : b}",
    "merged keys": "{<<: {a: 1}}",
    "a key twice": "{a: 1, a: 2}",
    "an alias of itself": "&x [*x]",
    "aliases that stand for 10^9 values": "[&a [1,1,1,1,1,1,1,1,1], &b [*a,*a,*a,*a,*a,*a,*a,*a], &c [*b,*b,*b,*b,*b,*b,*b,*b], "
    "&d [*c,*c,*c,*c,*c,*c,*c,*c], &e [*d,*d,*d,*d,*d,*d,*d,*d], &f [*e,*e,*e,*e,*e,*e,*e,*e]]",
    "1,000 levels": "[" * 1000 + "]" * 1000,
    "200 kB": "'" + "x" * 200_000 + "'",
    "a byte 0": "\0",
    "an unknown alias": "*nobody",
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", TAGS)
def test_yaml_makes_no_objects(outside, trained, fault, kind):
    run = outside / "run"
    run.mkdir()
    config = (trained / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(f"{config}own: {TAGS[kind].replace('CANARY', str(outside / 'canary'))}\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="damaged: ") as caught:
        read_config(run)
    assert caught.value.exit_code == 4 and len(str(caught.value)) < 600 and not (outside / "canary").exists()
    fault("C6", f"config.yaml with {kind}")


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device", "two documents", "latin-1", "nothing"])
@pytest.mark.timeout(30)
def test_a_config_that_is_no_file_of_ours_is_told(tmp_path, fault, kind):
    path = tmp_path / "config.yaml"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes({"two documents": b"_target_: a.b\n---\n_target_: a.b\n", "latin-1": b"_target_: \xfcn\n", "nothing": b""}[kind])
    with pytest.raises(CheckpointError) as caught:
        read_config(tmp_path)
    assert caught.value.exit_code == 4 and str(path) in str(caught.value)
    fault("C6", f"config.yaml is {kind}")


# C7: archives and downloads

NAMES = ("a.bin", "b.bin")


def pack(path, members, *, good=True):
    """A tar.gz: first the odd members, (info, content), then the two good files."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for info, content in members:
            info.size = info.size or len(content)
            tar.addfile(info, io.BytesIO(content))
        for name in NAMES if good else ():
            info = tarfile.TarInfo(f"set/{name}")
            info.size = 5
            tar.addfile(info, io.BytesIO(b"good\n"))
    return path


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o6777
    return info


ODD = {
    "a path above": member("../escaped"),
    "many paths above": member("a/../../../../../../../../tmp/cnntrain-escaped"),
    "an absolute path": member("/tmp/cnntrain-escaped"),
    "a link up": member("set/a.bin", tarfile.SYMTYPE, "../../escaped"),
    "an absolute link": member("set/a.bin", tarfile.SYMTYPE, "/etc/passwd"),
    "a hard link": member("set/b.bin", tarfile.LNKTYPE, "/etc/passwd"),
    "a link for a folder": member("set", tarfile.SYMTYPE, "/tmp"),
    "a device": member("set/a.bin", tarfile.CHRTYPE),
    "a disk": member("set/b.bin", tarfile.BLKTYPE),
    "a pipe": member("set/a.bin", tarfile.FIFOTYPE),
    "a folder of that name": member("set/a.bin/", tarfile.DIRTYPE),
    "a name of two points": member(".."),
    "no name": member(""),
    "a name with a byte 0": member("set/a.bin\0.txt"),
    "a name with a newline": member("set/\na.bin"),
    "our own list of sums": member("set/SHA256SUMS"),
    "an unknown type": member("set/a.bin", b"Z"),
}


@pytest.mark.parametrize("kind", ODD)
def test_nothing_in_an_archive_reaches_outside(tmp_path, fault, kind):
    pack(tmp_path / "odd.tar.gz", [(ODD[kind], b"")])
    (tmp_path / "inside").mkdir()
    before = set(os.listdir("/tmp"))
    archives.unpack(tmp_path / "odd.tar.gz", NAMES, tmp_path / "inside" / "set")
    made = sorted(path.name for path in (tmp_path / "inside" / "set").iterdir())
    assert made == ["SHA256SUMS", "a.bin", "b.bin"] and os.listdir(tmp_path / "inside") == ["set"]
    for name in NAMES:
        path = tmp_path / "inside" / "set" / name
        assert path.is_file() and not path.is_symlink() and path.read_bytes() in (b"good\n", b"") and not path.stat().st_mode & 0o6111
    assert not (tmp_path / "escaped").exists() and "cnntrain-escaped" not in set(os.listdir("/tmp")) - before
    fault("C7", kind)


def bomb(path, kind):
    """A small file that would unpack to 2 to 10 GB."""
    zeros = gzip.compress(bytes(1 << 24), 9)  # 16 MB in 16 kB; parts of a gzip file follow each other
    header = {
        "a file of 10 GB": sized(member("set/a.bin"), 10 << 30),
        "another file of 10 GB": sized(member("set/other"), 10 << 30),
        "a name of 300 MB": sized(member("././@LongLink", tarfile.GNUTYPE_LONGNAME), 300 << 20),
        "a name of 2 GB": sized(member("././@LongLink", tarfile.GNUTYPE_LONGNAME), 2 << 30),
        "extended facts of 2 GB": sized(member("pax", tarfile.XHDTYPE), 2 << 30),
        "more facts of 2 GB": sized(member("pax", tarfile.XGLTYPE), 2 << 30),
    }[kind]
    path.write_bytes(gzip.compress(header) + zeros * 64)
    return path


def sized(info, size):
    info.size = size
    return info.tobuf(format=tarfile.GNU_FORMAT)


def grown():
    """So many MB has this process taken at most."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")) / 1024


@pytest.mark.parametrize(
    "kind",
    ["a file of 10 GB", "another file of 10 GB", "a name of 300 MB", "a name of 2 GB", "extended facts of 2 GB", "more facts of 2 GB"],
)
def test_a_bomb_is_refused_in_little_memory_and_time(tmp_path, fault, kind):
    path = bomb(tmp_path / "bomb.tar.gz", kind)
    assert path.stat().st_size < 2_000_000

    def work():
        before, start = grown(), time.monotonic()
        with pytest.raises(DataError, match="cannot be unpacked") as caught:
            archives.unpack(path, NAMES, tmp_path / "set")
        assert caught.value.exit_code == 3
        print(grown() - before, time.monotonic() - start)
        return grown() - before > 60 or time.monotonic() - start > 20

    ended = forked.run(work, tmp_path / "console")
    assert ended.code == 0, ended.output
    assert sorted(item.name for item in tmp_path.iterdir()) == ["bomb.tar.gz", "console"]
    fault("C7", kind)


def test_a_bomb_of_empty_members_and_a_packed_idx_file_are_refused(tmp_path, fault, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 1000)
    header = member("set/nothing").tobuf(format=tarfile.GNU_FORMAT)
    (tmp_path / "many.tar.gz").write_bytes(gzip.compress(header * 4096))
    with pytest.raises(DataError, match="more than 1,000 members"):
        archives.unpack(tmp_path / "many.tar.gz", NAMES, tmp_path / "set")
    fault("C7", "4,096 empty members")
    monkeypatch.setattr(archives, "TOTAL_LIMIT", 1 << 20)
    monkeypatch.setattr(archives, "MOST_MEMBERS", 10_000)
    with pytest.raises(DataError, match="more than 1,048,576 bytes"):
        archives.unpack(tmp_path / "many.tar.gz", NAMES, tmp_path / "set")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(1 << 24)) * 64)

    def work():
        before = grown()
        with pytest.raises(DataError, match="which no published file has"):
            read_idx(tmp_path / "train-images-idx3-ubyte.gz")
        return grown() - before > 200

    assert forked.run(work, tmp_path / "console").code == 0
    fault("C7", "an idx file of 1 GB")


@pytest.mark.parametrize(
    "kind", ["cut", "a flipped bit", "no archive", "a web page", "empty", "a plain tar", "a file that is missing", "a full disk"]
)
def test_a_damaged_archive_leaves_nothing(tmp_path, fault, kind, chance, monkeypatch):
    path = pack(tmp_path / "a.tar.gz", [(member("set/filler"), chance.randbytes(20_000))], good=kind != "a file that is missing")
    content = bytearray(path.read_bytes())
    if kind == "cut":
        content = content[:9000]
    elif kind == "a flipped bit":
        content[9000] ^= 16
    elif kind in ("no archive", "a web page", "empty"):
        content = {"no archive": chance.randbytes(3000), "a web page": b"<html>" * 100, "empty": b""}[kind]
    elif kind == "a plain tar":
        content = gzip.decompress(content)
    path.write_bytes(content)
    if kind == "a full disk":
        real = open
        monkeypatch.setattr(
            archives, "open", lambda name, mode="r": real("/dev/full" if "w" in mode else name, mode, buffering=0), raising=False
        )
    with pytest.raises(DataError, match="cannot be unpacked|lacks a.bin, b.bin") as caught:
        archives.unpack(path, NAMES, tmp_path / "set")
    assert caught.value.exit_code == 3 and str(path) in str(caught.value)
    assert [item.name for item in tmp_path.iterdir()] == ["a.tar.gz"]
    fault("C7", f"an archive, {kind}")


def test_a_file_that_changed_since_it_was_unpacked_is_refused_with_both_sums(tmp_path, fault):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3073), dtype=np.uint8)
    pixels[:, 0] = range(5)
    form = CIFAR10[0]
    with tarfile.open(tmp_path / form.archive.file, "w:gz") as tar:
        for name in form.train + form.test:
            info = tarfile.TarInfo(f"x/{name}")
            info.size = pixels.nbytes
            tar.addfile(info, io.BytesIO(pixels.tobytes()))
    packed = (tmp_path / form.archive.file).read_bytes()
    remote = Remote(form.archive.file, len(packed), hashlib.md5(packed).hexdigest(), ("http://127.0.0.1:9/none",))
    source = describe(
        "tiny", (Form(form.folder, form.train, form.test, remote, form.read, form.options),), list("abcdefghij"), None, str(tmp_path)
    )
    assert len(source.read("train")) == 25
    path = tmp_path / form.folder / "data_batch_3.bin"
    whole = path.read_bytes()
    for what, content in {
        "a flipped bit": whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
        "other pictures": whole[3073:] + whole[:3073],
        "a record less": whole[:-3073],
        "nothing": b"",
    }.items():
        path.write_bytes(content)
        os.utime(path, (0, 0))
        with pytest.raises(DataError) as caught:
            source.read("train")
        assert caught.value.exit_code == 3 and str(path) in str(caught.value), what
        assert hashlib.sha256(content).hexdigest() in str(caught.value) and hashlib.sha256(whole).hexdigest() in str(caught.value)
        fault("C7", f"an unpacked file became {what}")
    path.write_bytes(whole)
    assert len(source.read("train")) == 25


def test_a_published_file_that_lies_there_is_checked_before_every_use(tmp_path, fault, monkeypatch):
    monkeypatch.setattr("cnntrain.data.svhn.read_mat", lambda path: pytest.fail("it was used"))
    from cnntrain.data import svhn

    for part, remote in svhn.REMOTES.items():
        (tmp_path / remote.file).write_bytes(part.encode())
    with pytest.raises(DataError) as caught:
        _ = svhn.svhn(root=str(tmp_path), val=0.0, seed=0).train
    assert hashlib.md5(b"train").hexdigest() in str(caught.value) and svhn.REMOTES["train"].md5 in str(caught.value)
    fault("C7", "another SVHN file")

    contents = {name: idx(np.zeros((3, 28, 28) if "images" in name else 3, dtype=np.uint8)) for pair in FILES.values() for name in pair}
    files = []
    for name, content in contents.items():
        packed = gzip.compress(content)
        (tmp_path / f"{name}.gz").write_bytes(packed)
        files.append((len(packed), hashlib.md5(packed).hexdigest()))
    published = Published("tiny", "Tiny", MNIST.classes, MNIST.counts, (), tuple(files))
    source = describe_mnist(published, str(tmp_path))
    assert len(source.read("train")) == 3 and not source.warnings
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:])
    with pytest.raises(DataError, match="cannot be read"):
        source.read("train")
    fault("C7", "a flipped bit in MNIST's file")
    other = gzip.compress(idx(np.ones((3, 28, 28), dtype=np.uint8)))
    path.write_bytes(other)
    source = describe_mnist(published, str(tmp_path))
    source.read("train")
    warning = next(text for text in source.warnings if str(path) in text)
    assert hashlib.md5(other).hexdigest() in warning and hashlib.md5(whole).hexdigest() in warning
    fault("C7", "another whole MNIST file")


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


@pytest.mark.parametrize("way", ["missing", "page", "short", "other", "endless"])
def test_a_download_that_is_not_the_file_gets_no_name(tmp_path, fault, way):
    """An HTTP error, a page sent with status 200, a cut file, another file of that size, one without end."""
    digest = hashlib.md5(BODY).hexdigest()
    with serve() as server, pytest.raises(DataError) as caught:
        obtain([Remote("set.bin", len(BODY), digest, (f"{server.url}/{way}/set.bin",))], tmp_path)
    assert caught.value.exit_code == 3 and digest in str(caught.value)
    assert not (tmp_path / "set.bin").exists()
    if way == "other":
        assert hashlib.md5(BODY[::-1]).hexdigest() in str(caught.value)
    fault("C7", f"a download: {way}")


def test_a_download_cut_in_the_middle_goes_on(tmp_path, fault):
    with serve() as server:
        remote = Remote("set.bin", len(BODY), hashlib.md5(BODY).hexdigest(), (f"{server.url}/cut/set.bin",))
        assert obtain([remote], tmp_path).read_bytes() == BODY
    verify(tmp_path / "set.bin", remote)
    (tmp_path / "set.bin").write_bytes(BODY[:-1])
    with pytest.raises(DataError, match=f"has md5 \\w+ where {remote.md5} belongs"):
        verify(tmp_path / "set.bin", remote)
    fault("C7", "a download: cut at 50 %")
    fault("C7", "a downloaded file that is cut later")


@settings(max_examples=50, derandomize=True, deadline=None, database=None)
@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30), max_size=4))
def test_whatever_its_members_are_called_an_archive_stays_inside(tmp_path_factory, names):
    place = tmp_path_factory.mktemp("named")
    pack(place / "a.tar.gz", [(member(name), b"") for name in names])
    archives.unpack(place / "a.tar.gz", NAMES, place / "set")
    assert sorted(os.listdir(place)) == ["a.tar.gz", "set"] and sorted(os.listdir(place / "set")) == ["SHA256SUMS", *NAMES]


def test_a_stored_network_is_no_larger_than_its_weights(tmp_path, fault):
    """Facts that ask for a giant are refused by the weights that do not fit it, before it has taken any memory."""
    make(tmp_path / "a.safetensors")
    stored = checkpoint.read(tmp_path / "a.safetensors")
    giants = {
        "a deeper network": {"recipe": {**NETWORK, "depth": 1202}},
        "an image of a million pixels a side": {"facts": {**stored.meta["model"]["facts"], "image_size": 1_000_000},
                                                "recipe": {"_target_": "cnntrain.model.simple_convnet.SimpleConvNet"}},
        "a wide network": {"recipe": {"_target_": "cnntrain.model.torchvision_classifier.TorchvisionClassifier", "name": "vgg19"}},
    }  # fmt: skip

    def work():
        load(tmp_path / "a.safetensors")
        for name, change in giants.items():
            meta = {key: value for key, value in stored.meta.items() if key not in ("format", "aliases")}
            checkpoint.write(tmp_path / "b.safetensors", stored.tensors, {**meta, "model": {**meta["model"], **change}})
            before = grown()
            with pytest.raises(CnntrainError) as caught:
                load(tmp_path / "b.safetensors")
            print(name, grown() - before, caught.value)
            assert caught.value.exit_code in (2, 4) and grown() - before < 200
        return 0

    ended = forked.run(work, tmp_path / "console")
    assert ended.code == 0, ended.output
    for name in giants:
        fault("C3", name)
