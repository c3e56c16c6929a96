"""Rows F4 and F5: devices that are not there, and keys that do not go together, told before the first step."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from faults.commands import ONE_LINE, Remembering

from cnntrain.cli import main
from cnntrain.config import compose

RUN = "epochs=1 batch_size=16 report.tensorboard=false report.images=0".split()
DATA = "data=synthetic data.image_size=16 data.channels=1 data.samples=80 data.test_samples=20 data.classes=2".split()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compose, "Composer", Remembering)
    monkeypatch.setattr(sys, "path", [*sys.path])


def refused(capsys, words: str) -> str:
    """The line that a run is refused with: no step was made, and nothing is left."""
    own = [word.partition("=")[0] for word in words.split()]
    given = [word for word in [*RUN, *DATA] if word.partition("=")[0] not in own]
    assert main([*given, *words.split()]) == 2, capsys.readouterr().err
    line = capsys.readouterr().err.splitlines(keepends=True)[-1]
    assert ONE_LINE.fullmatch(line), line
    assert not any(Path.cwd().iterdir())
    return line


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("batch_size=73", "batch_size=73 .*training set of 72.*Fix: batch_size=72"),
        ("epochs=100%", "epochs='100%' is a share of itself"),
        ("epochs=0.01", "less than one step.*Fix: epochs=1"),
        ("schedule=step schedule.every=2", "every and milestones"),
        ("schedule=step schedule.milestones=null", "every and milestones"),
        ("schedule=one_cycle schedule.up=0.6 schedule.three_phase=true", "up=0.6 with three phases.*Fix: schedule.up"),
        ("schedule=exp_range schedule.gamma=0", "schedule.gamma.*Fix: schedule.gamma=auto"),
        ("weights=whitened", "LeNet5? has no whitening layer .weights=whitened.*model=speedrun"),
        ("weights.lr_scale={nope:2}", "nope.*weights.lr_scale|weights.lr_scale.*nope"),
        ("loss.class_weights=[1,2,3]", "loss.class_weights"),
        ("augment=[progressive]", "augment.progressive.*model for any image size"),
        ("augment=[crop] augment.crop.mode=reflect augment.crop.padding=16", "augment.crop"),
        ("model=resnet20 model.depth=19", "model.depth"),
        ("average=ema average.decay=1", "average.decay: 1 is not a number from 0 to below 1"),
    ],
)
def test_keys_that_do_not_go_together(fault, capsys, words, named):
    line = refused(capsys, words)
    assert re.search(named, line), line
    fault("F5", words)


@pytest.mark.parametrize("device", ["gpu", "GPU", "cuda:-1", "cuda:x", "cpu:3", "''", "xpu", "cuda", "cuda:99", "mps"])
def test_a_device_that_is_not_there(fault, capsys, device):
    if device == "cuda" and torch.cuda.is_available() or device == "mps" and torch.backends.mps.is_available():
        pytest.skip(f"this machine has {device}")
    assert "machine.device" in (line := refused(capsys, f"machine.device={device}")) and "Fix: machine.device=" in line, line
    fault("F4", f"machine.device={device}")


@pytest.mark.parametrize(
    "words",
    [
        "machine.threads=0",
        "machine.threads=100000",
        "data=folder data.root=x data.workers=-1",
        "data=folder data.root=x data.workers=10000",
    ],
)
def test_a_number_of_workers_that_cannot_be(fault, capsys, words):
    given = [] if "folder" in words else DATA
    assert main([*RUN, *given, *words.split()]) == 2
    assert words.split()[-1].partition("=")[0] in capsys.readouterr().err
    fault("F4", words)


@pytest.mark.parametrize("words", ["epochs=-1", "optimizer.lrr=1", "modle=lenet5", "+seed=1", "schedule.cycle=[1]"])
def test_a_real_command_is_quick_to_refuse(fault, words):
    start = time.process_time() + sum(os.times()[2:4])
    done = subprocess.run([sys.executable, "-m", "cnntrain", words], capture_output=True, text=True, check=False, timeout=100)
    used = time.process_time() + sum(os.times()[2:4]) - start
    assert done.returncode == 2 and ONE_LINE.fullmatch(done.stderr) and not done.stdout and not list(Path.cwd().iterdir())
    assert used < 2, f"{used:.1f} s of processor time"
    fault("F1", f"a process with {words}")
