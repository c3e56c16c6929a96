import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnntrain import cli
from cnntrain.engine import checkpoint
from cnntrain.errors import ConfigError, DataError
from cnntrain.task.load import load


def rows(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_what_it_should(small):
    result = small()
    folder = Path("run")
    assert result["folder"] == "run" and 0 <= result["value"] <= 1
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.yaml",
        "train.log",
        "metrics.jsonl",
        "status.json",
        "last.safetensors",
        "previous.safetensors",
        "best.safetensors",
    } <= names
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "done" and status["value"] == result["value"] and "test/accuracy" in status["metrics"]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["_target_"] == "cnntrain.model.lenet.LeNet5" and config["batch_size"] == 16
    meta = checkpoint.read(folder / "best.safetensors").meta
    assert meta["classes"] and len(meta["mean"]) == 1 and meta["model"]["facts"] == {"in_channels": 1, "num_classes": 4, "image_size": 16}
    found = rows(folder)
    assert {"train/loss", "train/accuracy", "optimizer/lr", "optimizer/grad_norm", "speed/waiting_for_data"} <= set(found[0])
    assert [row["step"] for row in found if "val/accuracy" in row] == [12, 24]
    assert "test/accuracy" in found[-1] and all("test/accuracy" not in row for row in found[:-1])


def test_tensorboard_has_it_all_in_one_run(small):
    small("report.histograms=true", "schedule=one_cycle", "report.every=6it")
    assert len(list(Path("run").glob("events*"))) == 1 and not [path for path in Path("run").iterdir() if path.is_dir()]
    events = EventAccumulator("run", size_guidance={"images": 0, "scalars": 0}).Reload()
    tags = events.Tags()
    assert {"train/loss", "optimizer/lr", "optimizer/momentum", "val/accuracy", "test/accuracy", "speed/images_per_second"} <= set(
        tags["scalars"]
    )
    assert {"train/augmented", "val/confusion", "test/confusion"} <= set(tags["images"])
    assert any(tag.startswith("weights/") for tag in tags["histograms"])
    for tag in ("optimizer/lr", "optimizer/momentum"):
        assert [event.step for event in events.Scalars(tag)] == list(range(1, 25)), "of every step, however seldom the report"
    assert "hparams" in events.summary_metadata["_hparams_/experiment"].plugin_data.plugin_name


def test_the_learning_rate_of_every_step_is_the_schedules(small):
    small("report.every=1it", "schedule=triangular", "optimizer.lr=0.1", "schedule.base=0.1")
    seen = [row["optimizer/lr"] for row in rows("run") if "optimizer/lr" in row]
    expected = [0.01 + 0.09 * (1 - abs(step / 12 - 1)) for step in range(24)]
    assert seen == pytest.approx(expected, rel=1e-12)


def test_the_same_command_gives_the_same_weights_and_another_seed_others(small):
    small(name="a"), small(name="b"), small("seed=1", name="c")
    a, b, c = (checkpoint.read(f"{name}/last.safetensors").tensors for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a if name.startswith("model."))


@pytest.mark.parametrize(
    "words",
    [
        ["augment=[crop,flip,cutout,color,noise,mixup]", "loss.smoothing=0.1"],
        ["augment=[shift,rotate,cutmix]", "average=ema", "average.decay=0.9", "optimizer=adamw", "optimizer.lr=1e-3"],
        ["optimizer=muon", "schedule=sgdr", "microbatch=5", "clip=1", "average=lookahead"],
        ["optimizer=rmsprop", "optimizer.lr=1e-3", "schedule=exp_range", "machine.precision=bf16", "stopping.patience=1"],
        [
            "model=speedrun",
            "model.widths=[4,4,4]",
            "weights=whitened",
            "weights.lr_scale={*norm*.bias:64,head.*:2}",
            "augment=[flip,progressive]",
            "augment.progressive.start=0.7",
            "augment.flip.mode=alternating",
            "average=lookahead",
            "tta=mirror_shift",
        ],
        ["loss=mse", "schedule=step", "objective.monitor=loss", "evaluate_every=2"],
        ["data.val=0", "schedule=cosine", "average=swa", "machine.deterministic=true", "report.tensorboard=false"],
        ["epochs=20it", "schedule=triangular2", "machine.channels_last=false", "loss.class_weights=balanced"],
    ],
    ids=" ".join,
)
def test_parts_combine(small, words):
    result = small(*words)
    assert math.isfinite(result["metrics"]["test/loss"])


FAST = (
    "model=speedrun model.widths=[4,4,4] weights=whitened weights.lr_scale={head.*:2} augment=[flip,progressive] "
    "augment.progressive.start=0.75 tta=mirror_shift"
)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["optimizer=muon", "augment=[mixup,noise]", "average=ema", "average.decay=0.9"],
        ["optimizer=adamw", "schedule=sgdr", "average=swa", "average.start=50%", "average.every=3it"],
        [*FAST.split(), "augment.flip.mode=alternating", "average=lookahead", "epochs=3"],
    ],
    ids=str,
)
def test_a_resumed_run_is_bit_identical(small, words, monkeypatch):
    small(*words, name="whole")
    from cnntrain.engine.saving import Saving

    real = Saving.save

    def save_and_die(self, state, *, best=False):
        real(self, state, best=best)
        if state.step == 17:
            raise SystemExit(9)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Saving, "save", save_and_die)
        small(*words, "checkpoint.every=1it", name="cut")
    cli.call("resume", "run=cut")
    a, b = (checkpoint.read(f"{name}/last.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    assert a.meta["best"] == b.meta["best"]
    speechless = [[{k: v for k, v in row.items() if not k.startswith("speed/")} for row in rows(name)] for name in ("whole", "cut")]
    assert speechless[0] == speechless[1]


def test_the_views_of_the_training_are_those_of_every_judgement(small):
    small("tta=mirror")
    path = "run/best.safetensors"
    meta = checkpoint.read(path).meta
    judged = cli.call("evaluate", f"checkpoint={path}", "split=val", "machine.threads=1")
    assert judged["loss"] == pytest.approx(meta["metrics"]["loss"], rel=1e-6) and judged["tta"] == "mirror"
    plain = cli.call("evaluate", f"checkpoint={path}", "split=val", "tta=none", "machine.threads=1")
    assert plain["loss"] != pytest.approx(meta["metrics"]["loss"], rel=1e-4)
    images = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own, mirrored = load(path)(images), load(path, tta="none")
        torch.testing.assert_close(own, (mirrored(images) + mirrored(images.flip(3))) / 2)


def test_pictures_that_the_network_cannot_take_are_told_before_the_first_step(small):
    with pytest.raises(ConfigError, match="Images of 8×8 do not pass through the model.*augment.progressive"):
        small("augment=[flip,progressive]")
    assert not Path("run/last.safetensors").exists()


def test_auto_finds_a_learning_rate_and_stores_it(small, capsys):
    result = small("optimizer.lr=auto", "data.samples=2000", "data.noise=0.3")
    config = yaml.safe_load(Path(result["folder"], "config.yaml").read_text())
    assert isinstance(config["optimizer"]["lr"], float)
    assert f"optimizer.lr=auto: the range test suggests {config['optimizer']['lr']:g}" in capsys.readouterr().out
    assert checkpoint.read("run/last.safetensors").meta["config"]["optimizer"]["lr"] == config["optimizer"]["lr"]


def test_a_missing_folder_of_pictures_is_an_error_of_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="nowhere.*Fix: ") as error:
        cli.call("train", "data=folder", "data.root=nowhere", "report.progress=off")
    assert error.value.exit_code == 3


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["batch_size=1000"], ConfigError, r"batch_size=1000 is larger than the training set of \d+ images.*Fix: batch_size="),
        (["data.image_size=8"], ConfigError, "too small for LeNet5.*layer conv2.*data.image_size=12,"),
        (["model=resnet18", "model.stem=imagenet", "data.image_size=8"], ConfigError, "too small for the model.*the smallest that works"),
        (["data.image_size=8", "model=simple_convnet", "model.filter_size=9"], ConfigError, "layer conv1.*data.image_size=10,"),
        (["machine.device=tpu"], ConfigError, "not a device"),
        (["loss.class_weights=[1,2]"], ConfigError, "2 class weights for 4 classes"),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_before_the_first_step(small, words, error, text):
    with pytest.raises(error, match=text):
        small(*words)
    assert not Path("run/metrics.jsonl").exists() or rows("run") == []


def test_a_device_that_is_not_there_leaves_nothing(small):
    with pytest.raises(ConfigError, match="not a device"):
        small("machine.device=tpu")
    assert not Path("run").exists()
