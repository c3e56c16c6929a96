import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnntrain import cli
from cnntrain.engine import checkpoint
from cnntrain.errors import CheckpointError, ConfigError, DataError


def test_a_finished_run_is_already_done(small, capsys):
    small()
    before = Path("run/last.safetensors").read_bytes()
    result = cli.call("resume", "run=run")
    assert "already done" in capsys.readouterr().out and result["state"] == "done"
    assert Path("run/last.safetensors").read_bytes() == before


def test_longer_training_goes_on_and_says_what_that_does_to_the_schedule(small, capsys):
    small("report.progress=lines")
    cli.call("resume", "run=run", "epochs=4")
    out = capsys.readouterr().out
    assert "the run is now 48 steps long, it was 24; 24 are done" in out
    assert "the schedule changes: at step 24 the learning rate is now" in out
    meta = checkpoint.read("run/last.safetensors").meta
    assert (meta["step"], meta["epoch"]) == (48, 4) and meta["config"]["epochs"] == 4
    steps = [json.loads(line)["step"] for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == 48


def test_a_schedule_that_does_not_depend_on_the_length_is_not_said_to_change(small, capsys):
    small("schedule=constant")
    capsys.readouterr()
    cli.call("resume", "run=run", "epochs=3")
    out = capsys.readouterr().out
    assert "the run is now 36 steps long" in out and "schedule changes" not in out


def test_a_run_killed_before_its_first_save_starts_again(small, capsys):
    small(name="whole")
    small()
    for name in ("last", "previous", "best"):
        Path(f"run/{name}.safetensors").unlink()
    Path("run/status.json").write_text('{"state": "running"}')
    cli.call("resume", "run=run")
    assert "starting again from its config.yaml" in capsys.readouterr().out
    a, b = (checkpoint.read(f"{name}/last.safetensors").tensors for name in ("whole", "run"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_damaged_last_falls_back_and_says_so(small, capsys):
    small(name="whole")
    small()
    path = Path("run/last.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    Path("run/status.json").write_text('{"state": "running"}')
    cli.call("resume", "run=run")
    assert "passed over" in capsys.readouterr().out
    a, b = (checkpoint.read(f"{name}/last.safetensors").tensors for name in ("whole", "run"))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("word", ["seed=3", "batch_size=8", "model.activation=tanh", "data.val=0.2", "average.power=1"])
def test_what_would_mix_two_runs_is_refused(small, word):
    small("average=lookahead")
    with pytest.raises(ConfigError, match=f"{word.partition('=')[0]}.*start a new run") as error:
        cli.call("resume", "run=run", word)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(("word", "text"), [("model=resnet20", "model"), ("epohcs=4", "did you mean 'epochs'"), ("+foo=1", "foo")])
def test_groups_and_typos_are_refused(small, word, text):
    small()
    with pytest.raises(ConfigError, match=text):
        cli.call("resume", "run=run", word)


def test_where_no_run_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="nowhere") as error:
        cli.call("resume", "run=nowhere")
    assert error.value.exit_code == 4


def test_the_thread_count_comes_from_the_checkpoint(small, monkeypatch):
    small("epochs=1")
    seen = []
    monkeypatch.setattr(torch, "set_num_threads", lambda number: seen.append(number))
    config = Path("run/config.yaml")
    config.write_text(config.read_text().replace("threads: 1", "threads: null"))
    cli.call("resume", "run=run", "epochs=2")
    assert seen[0] == 1


def test_other_data_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chance = np.random.default_rng(0)
    for name in ("cat", "dog"):
        Path("pets", name).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(chance.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(f"pets/{name}/{number}.png")
    words = "model=lenet5 data=folder data.root=pets data.image_size=16 data.cache=cache batch_size=4 machine.threads=1 report.progress=off"
    cli.call("train", *words.split(), "epochs=1", "hydra.run.dir=run")
    Path("pets/cat/0.png").rename("pets/dog/new.png")
    with pytest.raises(DataError, match="the data are not those of the run: its class counts") as error:
        cli.call("resume", "run=run", "epochs=2")
    assert error.value.exit_code == 3
    Path("pets/dog/new.png").rename("pets/cat/0.png")
    cli.call("resume", "run=run", "epochs=2")


def test_a_range_test_cannot_come_after_the_first_step(small):
    small()
    with pytest.raises(ConfigError, match="range test begins with fresh weights"):
        cli.call("resume", "run=run", "optimizer.lr=auto")
