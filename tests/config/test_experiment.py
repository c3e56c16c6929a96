"""An experiment with other parts than its own: what stays of its keys, what is left out and told, and what stays an error."""

import pytest

from cnntrain.config import find
from cnntrain.config.compose import Composer, session
from cnntrain.errors import ConfigError
from cnntrain.job import Job

MINE = """\
# @package _global_
defaults:
  - override /model: resnet50
  - override /data: folder
  - override /augment: [crop, flip]
  - override /schedule: step
model:
  zero_init_residual: true
data:
  root: ???
  image_size: 48
  resize: crop
  val: 0.0
augment:
  crop:
    padding: 6
optimizer:
  lr: 0.7
  momentum: 0.8
  weight_decay: 0.001
schedule:
  gamma: 0.2
  warmup: 2
"""


@pytest.fixture(params=[False, True], ids=["single", "many"])
def compose(tmp_path, monkeypatch, request):
    """Compose words with the experiment `mine`: the tree, and the notes; for one run, and as a sweep does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/mine.yaml").write_text(MINE)
    where = find.led_by(find.folders(), "train")
    with session(where):
        composer = Composer("train", where, many=request.param)

        def run(*words, text=None):
            if text is not None:
                (tmp_path / "conf/experiment/mine.yaml").write_text(text)
            made = composer(["experiment=mine", *words])
            Job.of(made.tree, files=made.files)
            return made.tree, made.notes

        yield run


def test_its_own_parts_are_left_alone(compose):
    tree, notes = compose("data.root=here")
    assert notes == [] and tree["data"]["resize"] == "crop" and tree["optimizer"]["lr"] == 0.7
    with pytest.raises(ConfigError, match=r"train needs data\.root"):
        compose()


def test_what_another_part_has_too_stays_and_the_rest_is_left_out_and_told(compose):
    tree, notes = compose("data=digits", "schedule=cosine", "model=resnet18", "augment=[flip]")
    assert (tree["data"]["image_size"], tree["data"]["val"]) == (48, 0.0) and not {"resize", "root"} & tree["data"].keys()
    assert tree["schedule"]["warmup"] == 2 and "gamma" not in tree["schedule"]
    assert tree["model"]["zero_init_residual"] is True and list(tree["augment"]) == ["flip"]
    assert notes == [
        "experiment mine sets root, resize for data=folder: left out with data=digits",
        "experiment mine sets crop for augment=[crop,flip]: left out with augment=[flip]",
        "experiment mine sets gamma for schedule=step: left out with schedule=cosine",
    ]


def test_another_optimizer_keeps_its_own_values_but_for_those_of_the_command(compose):
    tree, notes = compose("data.root=here", "optimizer=rmsprop", "optimizer.momentum=0.5")
    assert (tree["optimizer"]["lr"], tree["optimizer"]["weight_decay"], tree["optimizer"]["momentum"]) == (0.001, 0.0, 0.5)
    assert notes == ["experiment mine sets lr, weight_decay for optimizer=sgd: left out with optimizer=rmsprop"]


def test_what_the_command_asks_for_is_refused_where_it_does_not_exist(compose):
    with pytest.raises(ConfigError, match=r"data\.resize: digits has no such parameter"):
        compose("data=digits", "data.resize=crop")


@pytest.mark.parametrize("word", ["data=folder", "data=digits"])
def test_a_misspelt_key_of_an_experiment_stays_an_error(compose, word):
    with pytest.raises(ConfigError, match=r"data\.imagesize: (folder|digits) has no such parameter \(did you mean 'image_size'\?\)"):
        compose(word, *(["data.root=here"] if word == "data=folder" else []), text=MINE.replace("image_size", "imagesize"))
