import re

import pytest
from omegaconf import OmegaConf

from cnntrain.config import find
from cnntrain.config.compose import Composer, session
from cnntrain.errors import ConfigError

FILES = {
    "experiment/mine": """\
# @package _global_
defaults:
  - override /model: resnet20
epochs: ${batch_size}
optimizer:
  lr: ${oc.env:NO_SUCH_RATE,0.25}
weights:
  lr_scale: {'*.bias': 64, head: 2}
data:
  mean: [0.5]
""",
    "optimizer/own": "_target_: cnntrain.optimizer.sgd.sgd\nlr: ${batch_size}\nmomentum: ${..seed}\n",
}
LAID = [  # told by laying values over
    "",
    "seed=3",
    "seed=3 seed=4",
    "optimizer.lr=0.1 seed=3 epochs=2000it clip=null debug=true",
    "model=resnet20 data=cifar10 augment=[flip,crop] augment.crop.padding=2 optimizer.lr=1e-3",
    "experiment=mine batch_size=7",
    "experiment=mine epochs=3 data.mean=[0.1,0.2] model.depth=32",
    "data=folder data.root='a b, ${oops}' seed=1",
    r"data=folder data.root='it\'s {x: 1}'",
    "optimizer=own optimizer.lr=${epochs} epochs=9",
    "batch_size=${seed} seed=12",
    "weights.lr_scale={head.*:2,*.bias:3}",
    "experiment=mine weights.lr_scale={head.*:2} weights.lr_scale={tail.*:3}",
    "stopping={patience:3,min_delta:0.5} stopping.patience=4",
    "hydra.run.dir='there/${seed}_${hydra.job.override_dirname}' seed=5 epochs=1",
    "hydra.job.config.override_dirname.exclude_keys=[seed] hydra.sweep.subdir='${hydra.job.override_dirname}' seed=5 epochs=1",
    "hydra/sweeper=basic data=synthetic data.val=0.2",
    "experiment=null machine.threads=2",
    "++epochs=3 ++data.val=0.25",
    "data.mean=[] data.mean=[0.3]",
    "+hydra.job.env_set.X=1 +hydra.job.env_set.Y=2 seed=1",
]
LEFT_TO_HYDRA = [
    "experiment=mine ~weights.lr_scale.head epochs=3",
    "experiment=mine weights.lr_scale={tail:2} ~weights.lr_scale.tail seed=1",
    "optimizer={lr:0.5} optimizer.lr=0.25",
    "optimizer.lr=0.25 optimizer={lr:0.5}",
    "+weights.lr_scale.head=3",
]


@pytest.fixture
def composers(tmp_path, monkeypatch):
    """One of a sweep, which lays values over, and one that has Hydra compose everything; and how often the first one asked Hydra."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    where = find.led_by(find.folders(), "train")
    with session(where):
        many, asked = Composer("train", where, many=True), []
        by_hydra = many._by_hydra
        monkeypatch.setattr(many, "_by_hydra", lambda lines: asked.append(lines) or by_hydra(lines))
        yield many, Composer("train", where), asked


def whole(composed):
    """All that a config is, in its order: unresolved, resolved, and what is asked of Hydra's node."""
    flags = {
        key: [node._get_flag(flag) for flag in ("struct", "readonly")] for key, node in composed.config.items() if OmegaConf.is_config(node)
    }
    return (
        OmegaConf.to_yaml(composed.config),
        str(composed.tree),
        re.sub(r"\d\d-\d\d-\d\d", "TIME", composed.setting("run.dir")),
        composed.setting("job.override_dirname"),
        composed.files,
        flags,
    )


def told(composer, words):
    """The config, or the error."""
    try:
        return whole(composer(words))
    except ConfigError as error:
        return str(error)


@pytest.mark.parametrize("line", LAID + LEFT_TO_HYDRA)
def test_laying_values_over_gives_what_hydra_gives(composers, line):
    many, single, asked = composers
    words = re.split(r" (?=[+~]*[a-z_./]+=|~)", line) if line else []
    many(["seed=99", "optimizer.lr=77", "weights.lr_scale={z:1}"])  # of which nothing may stay
    assert told(many, words) == told(single, words)
    count = len(asked)
    assert told(many, words) == told(single, words)
    assert (len(asked) == count) == (line in LAID)


@pytest.mark.parametrize(
    "word", ["epochs.x=1", "optimizer.lr.x=1", "seed=${nothing}", "seed=${seed}", "~optimizer", "~optimizer.lr", "modle=lenet5"]
)
def test_errors_are_those_of_a_single_run(composers, word):
    many, single, _ = composers
    many(["seed=2"])
    assert isinstance(told(single, [word]), str)
    assert told(many, ["seed=1", word]) == told(single, ["seed=1", word])


def test_a_sweep_of_values_is_composed_once(composers):
    many, _, asked = composers
    jobs = many.combinations(["optimizer.lr=0.1,0.2,0.3", "model=lenet5,resnet20", "seed=1,2"])
    assert len({many(job).tree["optimizer"]["lr"] for job in jobs}) == 3
    assert len(jobs) == 12 and len(asked) == 3  # what they have in common, and one for each model
