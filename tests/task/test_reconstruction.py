"""A run without classes: an autoencoder is trained, resumed, evaluated, shown and asked for pictures; what does not go together is told."""

import csv
import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnntrain import cli
from cnntrain.config.recipe import check
from cnntrain.engine import checkpoint
from cnntrain.errors import ConfigError, DataError
from cnntrain.objective.reconstruction import psnr
from cnntrain.task.load import load

AUTOENCODER = ("model=conv_autoencoder", "model.widths=[4,6]", "model.code_channels=3", "objective=reconstruction", "optimizer.lr=0.01")
SMALL = "data=synthetic data.image_size=16 data.channels=1 data.samples=203 data.test_samples=60 data.classes=4 epochs=2 batch_size=16"

FACTS = {"image_size": 16, "channels": 1, "samples": 203, "test_samples": 60, "classes": 4}  # of its data


def rows(name):
    return [json.loads(line) for line in Path(name, "metrics.jsonl").read_text().splitlines()]


def silent(name):
    """The rows without what the clock says."""
    return [{key: value for key, value in row.items() if not key.startswith("speed/")} for row in rows(name)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that several tests look at."""
    return cli.call("train", *SMALL.split(), *AUTOENCODER, "machine.threads=1", f"hydra.run.dir={tmp_path_factory.mktemp('runs')}/run")


@pytest.fixture
def best(trained, tmp_path, monkeypatch):
    """Its best checkpoint; what is written goes elsewhere."""
    monkeypatch.chdir(tmp_path)
    return f"{trained['folder']}/best.safetensors"


def test_a_run_says_loss_and_psnr_and_nothing_of_classes(trained):
    assert set(trained["metrics"]) == {"val/loss", "val/psnr", "test/loss", "test/psnr"}
    assert trained["value"] == trained["metrics"]["val/loss"] < 1.0, "better than the mean colour"
    seen = [row["epoch/loss"] for row in rows(trained["folder"]) if "epoch/loss" in row]
    assert seen[1] < seen[0] and {"train/psnr", "epoch/psnr", "val/psnr"} <= set().union(*rows(trained["folder"]))
    events = EventAccumulator(trained["folder"]).Reload()
    assert {"val/reconstructions", "test/reconstructions", "train/augmented"} <= set(events.Tags()["images"])
    assert "val/psnr" in events.Tags()["scalars"] and "val/accuracy" not in events.Tags()["scalars"]


def test_a_resumed_run_is_bit_identical(small, monkeypatch):
    from cnntrain.engine.saving import Saving

    words = ["objective.noise=0.4", "average=ema", "augment=[mixup,crop]", "microbatch=5", "tta=mirror", "data.samples=90"]
    small(*AUTOENCODER, *words, name="whole")
    real = Saving.save

    def save_and_die(self, state, *, best=False):
        real(self, state, best=best)
        if state.step == 8:
            raise SystemExit(9)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Saving, "save", save_and_die)
        small(*AUTOENCODER, *words, "checkpoint.every=1it", name="cut")
    cli.call("resume", "run=cut")
    a, b = (checkpoint.read(f"{name}/last.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors) and a.meta["best"] == b.meta["best"]
    assert silent("whole") == silent("cut")


def test_evaluate_repeats_the_runs_figures_and_takes_data_of_other_classes(trained, best, capsys):
    result = cli.call("evaluate", f"checkpoint={best}", "out=result.csv", "machine.threads=1")
    assert (result["loss"], result["psnr"]) == pytest.approx((trained["metrics"]["test/loss"], trained["metrics"]["test/psnr"]), rel=1e-5)
    assert "PSNR" in capsys.readouterr().out and not {"accuracy", "classes", "confusion"} & set(result)
    found = {(row[0], row[1]): row[2] for row in csv.reader(Path("result.csv").read_text().splitlines())}
    assert float(found["psnr", ""]) == result["psnr"] and float(found["pictures", ""]) == 60
    assert float(found["psnr", str(result["worst"][0]["place"])]) == result["psnr_lowest"]
    words = ["data=synthetic", "data.image_size=16", "data.channels=1", "data.samples=80", "data.test_samples=20", "data.classes=7"]
    other = cli.call("evaluate", f"checkpoint={best}", "machine.threads=1", *words)
    assert other["pictures"] == 20 and math.isfinite(other["psnr"])
    mirrored = cli.call("evaluate", f"checkpoint={best}", "tta=mirror", "machine.threads=1")
    assert mirrored["psnr"] > result["psnr"] - 1, "mirrored and turned back; otherwise it would fall by several dB"


def test_evaluate_names_the_worst_pictures(trained, best, capsys):
    result = cli.call("evaluate", f"checkpoint={best}", "machine.threads=1")
    said = capsys.readouterr().out
    data = check({"_target_": "cnntrain.data.synthetic.synthetic", **FACTS}, place="data")(seed=0)
    images = torch.cat([images for images, *_ in data.test.fetch([torch.arange(60)])])
    ratios = psnr(load(best).reconstruct(images), images / 255)
    assert [entry["place"] for entry in result["worst"]] == ratios.argsort()[:10].tolist()
    assert [entry["psnr"] for entry in result["worst"]] == pytest.approx(ratios.sort().values[:10].tolist(), abs=0.01)
    assert (result["psnr_lowest"], result["psnr_median"]) == pytest.approx((ratios.min().item(), ratios.median().item()), abs=0.01)
    assert [entry["class"] for entry in result["worst"]] == [f"class{entry['place'] % 4}" for entry in result["worst"]]
    assert "The 10 worst of 60 reconstructions" in said and f"number {result['worst'][0]['place']} " in said
    assert max(map(len, said.splitlines()[1:])) <= 80
    assert_full(said)


def assert_full(text):
    """No column of a table that rich has drawn lacks its head, or a value."""
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if set(line.strip()) == {"─"}:
            heads, rows = lines[place - 1].split(), itertools.takewhile(str.strip, lines[place + 1 :])
            assert heads and all(len(row.split()) >= len(heads) for row in rows), text


def test_predict_writes_the_reconstructions_and_how_good_they_are(best, capsys):
    predictor = load(best)
    pixels = torch.randint(256, (3, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for number, picture in enumerate(pixels):
        Image.fromarray(picture[0].numpy()).save(f"{number}.png")
    result = cli.call("predict", f"checkpoint={best}", "images=*.png", "out=rebuilt.csv", "machine.threads=1", "batch_size=2")
    wanted = predictor.reconstruct(pixels)
    assert wanted.shape == pixels.shape and wanted.min() >= 0 and wanted.max() <= 1
    listed = list(csv.DictReader(Path("rebuilt.csv").read_text().splitlines()))
    assert [row["file"] for row in listed] == ["0.png", "1.png", "2.png"] and result["pictures"] == 3
    for row, one, original in zip(listed, wanted, pixels, strict=True):
        with Image.open(row["reconstruction"]) as image:
            made = torch.tensor(list(image.convert("L").tobytes())).reshape(16, 16)
        assert (made - 255 * one[0]).abs().max() <= 1
        error = (one - original / 255).square().mean().item()
        assert float(row["psnr"]) == pytest.approx(-10 * math.log10(error), abs=0.01)
    said = capsys.readouterr().out
    worst = min(listed, key=lambda row: float(row["psnr"]))
    assert f"the lowest {float(worst['psnr']):.2f} dB: {worst['file']}" in said and "rebuilt_reconstructions" in said
    assert_full(said)
    cli.call("predict", f"checkpoint={best}", "images=*.png", "machine.threads=1")
    said = capsys.readouterr().out
    assert "reconstruction " not in said and "out=predictions.csv writes" in said
    assert_full(said)
    with pytest.raises(DataError, match="gives pictures, not classes.*reconstruct"):
        predictor.predict("0.png")


def test_predict_writes_over_nobodys_files(best):
    other = Path("mine_reconstructions/00000.txt")
    other.parent.mkdir()
    other.write_text("mine")
    Image.new("L", (16, 16)).save("0.png")
    words = ["predict", f"checkpoint={best}", "images=0.png", "out=mine.csv", "machine.threads=1"]
    with pytest.raises(ConfigError, match="holds other files, such as 00000.txt"):
        cli.call(*words)
    other.rename("mine_reconstructions/00007.png")  # of an earlier run with more pictures
    cli.call(*words)
    assert [path.name for path in Path("mine_reconstructions").iterdir()] == ["00000.png"]


def test_a_classifier_reconstructs_nothing(small):
    small("epochs=1")
    with pytest.raises(DataError, match="gives no pictures"):
        load("run/best.safetensors").reconstruct(torch.zeros(1, 1, 16, 16))


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (["model=conv_autoencoder"], "gives pictures", "objective=reconstruction"),
        (["objective=reconstruction"], "not pictures like them", "objective=classification"),
        ([*AUTOENCODER, "tta=mirror_shift"], "lack an edge", "tta=mirror"),
    ],
)
def test_what_does_not_go_together_is_told_before_the_first_step(small, tmp_path, words, what, fix):
    with pytest.raises(ConfigError, match=what) as caught:
        small(*words)
    assert caught.value.fix == fix
    assert not list(tmp_path.glob("run/*.safetensors"))
    if "tta=mirror_shift" not in words:  # of which a summary knows nothing
        with pytest.raises(ConfigError) as of_summary:
            cli.call("summary", *SMALL.split(), *words)
        assert (of_summary.value.what, of_summary.value.fix) == (caught.value.what, fix)


def test_summary_of_an_autoencoder():
    data = ("data=synthetic", "data.image_size=28", "data.channels=1", "data.classes=10")
    result = cli.call("summary", "model=conv_autoencoder", "objective=reconstruction", *data)
    assert result["parameters"] == 261_809 and result["choices"] == {"code": "16x4x4 = 256 numbers of 784"}
