"""``evaluate`` against plain loops, on its own data and on others with the same classes; its files, tables and refusals."""

import csv
import json
import sys

import pytest
import torch
from rich.cells import cell_len
from stored import MACHINE, SYNTHETIC, logits_of, make, pictures_of
from torch.nn.functional import cross_entropy

from cnntrain.config.recipe import check
from cnntrain.engine.storage import finite
from cnntrain.errors import CheckpointError, CnntrainError, ConfigError, DataError
from cnntrain.task.evaluate import evaluate


@pytest.fixture
def stored(tmp_path):
    network, dataset = make(tmp_path / "best.safetensors")
    return str(tmp_path / "best.safetensors"), network, dataset


def data(**values):
    return check({**SYNTHETIC, **values}, place="data")


@pytest.mark.parametrize("split", ["test", "val", "train"])
def test_the_figures_are_a_plain_loops(stored, split):
    path, network, dataset = stored
    images, labels = pictures_of(getattr(dataset, split))
    logits = logits_of(network, dataset, images)
    result = evaluate(checkpoint=path, split=split, batch_size=4, machine=MACHINE)
    assert result["accuracy"] == (logits.argmax(1) == labels).double().mean().item()
    assert result["loss"] == pytest.approx(cross_entropy(logits, labels).item(), rel=1e-5)
    assert result["pictures"] == len(labels) == sum(map(sum, result["confusion"]))
    assert [entry["count"] for entry in result["classes"]] == torch.bincount(labels, minlength=7).tolist()
    assert result["accuracy_low"] < result["accuracy"] < result["accuracy_high"]


OTHER = """
from cnntrain.data.dataset import Data, Source
from cnntrain.data.split import Split
from cnntrain.data.synthetic import synthetic

def reordered(*, names: list[str], keep: bool = True, seed: int):
    inner = synthetic(classes=7, image_size=8, channels=3, samples=60, test_samples=41, noise=0.5, seed=seed)
    def read(part):
        split = getattr(inner, part)
        order = [names.index(name) if name in names else 0 for name in inner.classes]
        import torch
        return Split(split.images, torch.tensor(order)[split.labels], rows=split.rows)
    return Data(Source("reordered", names, 3, 8, read), val=0.0, mean=None, std=None, seed=seed)
"""


@pytest.fixture
def reordered(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "outsider_for_evaluate", raising=False)
    (tmp_path / "outsider_for_evaluate.py").write_text(OTHER)
    return lambda names: check({"_target_": "outsider_for_evaluate.reordered", "names": names}, place="data")


def test_other_data_are_mapped_by_the_classes_names(stored, reordered):
    path, _, dataset = stored
    own = evaluate(checkpoint=path, machine=MACHINE)
    assert 0 < own["accuracy"] < 1 and sum(map(any, zip(*own["confusion"], strict=True))) > 2
    other = evaluate(checkpoint=path, machine=MACHINE, data=reordered(list(reversed(dataset.classes))))
    for key in ("accuracy", "loss", "confusion", "classes"):
        assert finite(other[key]) == finite(own[key])


@pytest.mark.parametrize(
    "names", [["class0", "class1", "class2", "class3", "class4", "class5", "dog"], [f"class{k}" for k in range(8)], ["class6", "dog"]]
)
def test_other_classes_are_an_error_that_says_both(stored, reordered, names):
    with pytest.raises(DataError) as caught:
        evaluate(checkpoint=stored[0], machine=MACHINE, data=reordered(names))
    assert f"{len(names)} classes" in caught.value.what and "the checkpoint 7" in caught.value.what
    assert "dog" not in names or ("dog" in caught.value.what and "class6" in caught.value.what)


def test_classes_that_the_data_lack_are_told_and_the_others_keep_their_numbers(stored, reordered, capsys):
    result = evaluate(checkpoint=stored[0], machine=MACHINE, data=reordered(["class5", "class2"]))
    assert "note: reordered lacks 5 of the checkpoint's 7 classes: class0, class1, class3, class4, class6" in capsys.readouterr().out
    assert [entry["name"] for entry in result["classes"] if entry["count"]] == ["class2", "class5"]


@pytest.mark.parametrize(
    ("values", "what", "fix"),
    [
        ({"image_size": 9}, "image_size 9, the checkpoint's network takes 8", "data.image_size=8"),
        ({"channels": 1}, "in_channels 1", "data.channels=3"),
    ],
)
def test_other_sizes_are_an_error_with_the_override(stored, values, what, fix):
    with pytest.raises(DataError) as caught:
        evaluate(checkpoint=stored[0], machine=MACHINE, data=data(**values))
    assert what in caught.value.what and caught.value.fix == fix


def test_the_checkpoints_mean_and_std_are_used_and_not_the_datas(stored):
    own = evaluate(checkpoint=stored[0], machine=MACHINE)
    other = evaluate(checkpoint=stored[0], machine=MACHINE, data=data(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0]))
    assert other["loss"] == own["loss"]


def test_a_part_that_is_not_there_is_named(tmp_path):
    make(tmp_path / "a.safetensors", data={**SYNTHETIC, "val": 0.0})
    with pytest.raises(DataError, match="no val part") as caught:
        evaluate(checkpoint=str(tmp_path / "a.safetensors"), split="val", machine=MACHINE)
    assert "split=test" in caught.value.fix


def test_the_loss_is_the_runs_with_its_class_weights(tmp_path):
    loss = {"_target_": "cnntrain.loss.cross_entropy.CrossEntropy", "class_weights": "balanced", "smoothing": 0.1}
    counts = [1, 2, 3, 4, 5, 6, 7]
    network, dataset = make(tmp_path / "a.safetensors", loss=loss, class_counts=counts)
    images, labels = pictures_of(dataset.test)
    weight = sum(counts) / (7 * torch.tensor(counts, dtype=torch.float32))
    target = torch.nn.functional.one_hot(labels, 7).float()
    expected = cross_entropy(logits_of(network, dataset, images), target, weight=weight, label_smoothing=0.1, reduction="none").mean()
    assert evaluate(checkpoint=str(tmp_path / "a.safetensors"), machine=MACHINE)["loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_generators_and_threads_are_left_as_they_were(stored):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    evaluate(checkpoint=stored[0], machine=MACHINE.replace(threads=1))
    assert torch.get_rng_state().equal(before)
    assert torch.get_num_threads() == threads


def test_half_precision_is_near(stored):
    full, half = (evaluate(checkpoint=stored[0], machine=MACHINE.replace(precision=precision)) for precision in ("fp32", "bf16"))
    assert half["loss"] == pytest.approx(full["loss"], rel=0.05)
    assert half["loss"] != full["loss"]


def test_json_holds_everything(stored, tmp_path):
    result = evaluate(checkpoint=stored[0], machine=MACHINE, out=str(tmp_path / "result.json"))
    text = (tmp_path / "result.json").read_text()
    assert "NaN" not in text
    read = json.loads(text)
    assert read.keys() == result.keys()
    assert (read["confusion"], read["accuracy"], read["split"]) == (result["confusion"], result["accuracy"], "test")


def test_csv_holds_everything(stored, tmp_path):
    result = evaluate(checkpoint=stored[0], machine=MACHINE, out=str(tmp_path / "result.csv"))
    with open(tmp_path / "result.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    values = {(row["measure"], row["class"], row["predicted"]): row["value"] for row in rows}
    assert float(values["accuracy", "", ""]) == result["accuracy"]
    for truth, entry in enumerate(result["classes"]):
        assert int(values["count", entry["name"], ""]) == entry["count"]
        recall = values["recall", entry["name"], ""]
        assert float(recall) == entry["recall"]
        for predicted, count in enumerate(result["confusion"][truth]):
            assert int(values.get(("confusion", entry["name"], f"class{predicted}"), 0)) == count


@pytest.mark.parametrize(
    ("out", "error"), [("result.txt", ConfigError), ("none/result.json", CheckpointError), ("folder.csv", CheckpointError)]
)
def test_a_file_that_cannot_be_written_is_found_before_the_work(stored, tmp_path, out, error):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(error) as caught:
        evaluate(checkpoint="not even looked at", machine=MACHINE, out=str(tmp_path / out))
    assert caught.value.fix


@pytest.mark.parametrize("classes", [2, 10, 12, 13, 50])
def test_the_tables_fit_80_columns_and_say_what_matters(tmp_path, monkeypatch, capsys, classes):
    small = {**SYNTHETIC, "classes": classes, "samples": 200, "test_samples": 2000, "image_size": 4}
    network, dataset = make(tmp_path / "a.safetensors", data=small)
    names = [f"[red]{'long ' * 9}$%s猫{k}" for k in range(classes)]
    monkeypatch.setattr("cnntrain.data.dataset.Data.class_counts", [1] * classes, raising=False)
    make(tmp_path / "a.safetensors", data=small, classes=names)

    def named(recipe, **facts):
        made = plain(recipe, **facts)
        if recipe.place == "data":
            made.classes = names
        return made

    plain = type(MACHINE).__call__
    monkeypatch.setattr(type(MACHINE), "__call__", named)
    monkeypatch.chdir(tmp_path)
    evaluate(checkpoint="a.safetensors", machine=MACHINE)
    lines = capsys.readouterr().out.splitlines()
    assert max(cell_len(line.rstrip()) for line in lines) <= 80
    text = "\n".join(lines)
    for words in ("accuracy", "95 % interval", "loss", "calibration error", "precision", "recall", "F1", "[red]", "2,000 pictures"):
        assert words in text
    assert ("top-5" in text) == (classes > 5)
    assert ("Confusion matrix" in text) == (classes <= 12)
    assert ("Most confused" in text) == (classes > 12)
    assert ("lowest F1" in text) == (classes > 40)


def test_a_checkpoint_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        evaluate(checkpoint=str(tmp_path / "none.safetensors"), machine=MACHINE)
    assert isinstance(caught.value, CnntrainError) and caught.value.exit_code == 4


def test_a_checkpoints_data_cannot_name_code_that_is_not_trusted(tmp_path, reordered):
    network, dataset = make(tmp_path / "a.safetensors")
    node = {"_target_": "outsider_for_evaluate.reordered", "names": dataset.classes}
    make(tmp_path / "a.safetensors", data=node)
    with pytest.raises(ConfigError) as caught:
        evaluate(checkpoint=str(tmp_path / "a.safetensors"), machine=MACHINE)
    assert "trust=[outsider_for_evaluate]" in caught.value.fix
    result = evaluate(checkpoint=str(tmp_path / "a.safetensors"), machine=MACHINE, trust=("outsider_for_evaluate",))
    assert result["data"] == "reordered"


FRACTAL = {
    "_target_": "cnntrain.model.fractalnet.FractalNet",
    "widths": [4, 6],
    "columns": 2,
    "column": None,
    "drop_path": 0.15,
    "global_share": 0.5,
    "paths": "drop",
    "dropout": [0.0, 0.0],
    "stem": "cifar",
}


def test_a_knob_of_the_model_is_laid_over_the_checkpoints(tmp_path, capsys):
    network, dataset = make(tmp_path / "a.safetensors", model=FRACTAL)
    path = str(tmp_path / "a.safetensors")
    images, labels = pictures_of(dataset.test)
    losses = set()
    for column in (None, 1, 2):
        for block in network.blocks:
            block.column = column
        expected = cross_entropy(logits_of(network, dataset, images), labels).item()
        result = evaluate(checkpoint=path, machine=MACHINE, knobs={"column": column} if column else {})
        assert result["loss"] == pytest.approx(expected, rel=1e-5)
        assert result.get("knobs") == ({"column": column} if column else None)
        assert (f", column={column}" in capsys.readouterr().out) == (column is not None)
        losses.add(result["loss"])
    assert len(losses) == 3


BEHIND = {"_target_": "cnntrain.model.filtered.Filtered", "filters": ["sobel_x"], "keep_image": True, "net": FRACTAL}


def test_knobs_reach_a_net_within_the_net(tmp_path, capsys):
    network, dataset = make(tmp_path / "a.safetensors", model=BEHIND)
    images, labels = pictures_of(dataset.test)
    for block in network.net.blocks:
        block.column = 1
    expected = cross_entropy(logits_of(network, dataset, images), labels).item()
    result = evaluate(checkpoint=str(tmp_path / "a.safetensors"), machine=MACHINE, knobs={"net": {"column": 1}})
    assert result["loss"] == pytest.approx(expected, rel=1e-5) and result["knobs"] == {"net": {"column": 1}}
    assert ", net.column=1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "knobs", "what", "where", "fix"),
    [
        (
            FRACTAL,
            {"colum": 2},
            "with knobs.colum=2: knobs.colum: FractalNet has no such parameter (did you mean 'column'?)",
            "knobs",
            "write knobs.column instead of knobs.colum",
        ),
        (FRACTAL, {"column": "two"}, "knobs.column: 'two' is not a whole number", "knobs", "set knobs.column to a whole number, 1 or more"),
        (FRACTAL, {"drop_path": 2}, "knobs.drop_path: 2 is not", "knobs", "set knobs.drop_path, e.g. knobs.drop_path=0.15"),
        (FRACTAL, {"column": 3}, "there is no column 3 of 2", "knobs.column", "knobs.column=2 (the deepest)"),
        (FRACTAL, {"widths": [4, 8]}, "with knobs.widths=[4, 8]: ", "knobs", "leave out knobs.widths=[4, 8]"),
        (FRACTAL, {"columns": 1}, "blocks.0.rows.1.0.0.weight is not in the model", "knobs", "leave out knobs.columns=1"),
        (FRACTAL, {"num_classes": 7}, "knobs.num_classes: is given by the run", "knobs", "remove knobs.num_classes"),
        (BEHIND, {"column": 2}, "(did you mean 'knobs.net.column'?)", "knobs", "write knobs.net.column instead of knobs.column"),
        (BEHIND, {"net": {"colum": 2}}, "knobs.net.colum: FractalNet has", "knobs", "write knobs.net.column instead of knobs.net.colum"),
        (BEHIND, {"net": {"column": 3}}, "with knobs.net.column=3: there is", "knobs.net.column", "knobs.net.column=2 (the deepest)"),
        (BEHIND, {"net": 3}, "knobs.net: 3 is not a node with a _target_", "knobs", "set knobs.net to a node with a _target_"),
    ],
)
def test_a_knob_that_does_not_fit_is_named(tmp_path, model, knobs, what, where, fix):
    make(tmp_path / "a.safetensors", model=model)
    with pytest.raises(ConfigError) as caught:
        evaluate(checkpoint=str(tmp_path / "a.safetensors"), machine=MACHINE, knobs=knobs)
    assert what in caught.value.what and caught.value.where == where and caught.value.fix.startswith(fix)
