"""Every shipped experiment composes, fits the parts that it names, and says how to start it and whether that was done."""

from pathlib import Path

import pytest

from cnntrain.config import compose, find
from cnntrain.errors import ConfigError
from cnntrain.job import Job

FOLDER = Path(__file__).parents[2] / "conf" / "experiment"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
VARIED = ("cifar10_fast_cpu", "cifar10_stochastic_depth", "digits_bouvrie_sparse", "imagenet_inception_v3")  # keys of every group


@pytest.mark.parametrize("name", NAMES)
def test_it_composes_and_passes_the_check(name):
    folders = find.led_by(find.folders(None), "train")
    words = [f"experiment={name}", *(["data.root=pictures"] if "/data: folder" in (FOLDER / f"{name}.yaml").read_text() else [])]
    with compose.session(folders):
        made = compose.Composer("train", folders)(words)
    job = Job.of(made.tree, files=made.files)
    assert job.recipe.target == "cnntrain.task.train.train"


@pytest.mark.parametrize("name", NAMES)
def test_its_first_lines_say_how_to_start_it(name):
    head = [line for line in (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert head[0] == "# @package _global_" and any(f"experiment={name}" in line and "cnntrain" in line for line in head)


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in VARIED else pytest.mark.slow) for name in NAMES])
def test_it_goes_with_other_parts(name):
    """All at once: the keys that those do not have must not stand in the way."""
    folders = find.led_by(find.folders(None), "train")
    with compose.session(folders):
        made = compose.Composer("train", folders)(
            [f"experiment={name}", "data=digits", "model=lenet5", "optimizer=adamw", "schedule=cosine", "augment=[shift]"]
        )
    job = Job.of(made.tree, files=made.files)
    assert job.config["optimizer"]["lr"] == (0.003 if name == "fashion_mnist_autoencoder" else 0.001)


@pytest.mark.parametrize("verb", ["summary", "lr_find"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in VARIED else pytest.mark.slow) for name in NAMES])
def test_other_verbs_take_it(verb, name):
    folders = find.led_by(find.folders(None), verb)
    with compose.session(folders):
        made = compose.Composer(verb, folders)([f"experiment={name}", "data=digits"])
    assert Job.of(made.tree, files=made.files).recipe.target == f"cnntrain.task.{verb}.{verb}"


@pytest.mark.parametrize("verb", ["summary", "lr_find"])
def test_other_verbs_take_it_as_far_as_they_go(verb):
    folders = find.led_by(find.folders(None), verb)
    with compose.session(folders):
        composer = compose.Composer(verb, folders)
        made = composer(["experiment=cifar10_fast_cpu", "data=digits"])
        job = Job.of(made.tree, files=made.files)
        assert job.config["optimizer"]["lr"] == 0.15 and "tta" not in job.config
        with pytest.raises(ConfigError, match=f"tta: {verb} has no such parameter"):
            made = composer(["experiment=cifar10_fast_cpu", "data=digits", "tta=none"])
            Job.of(made.tree, files=made.files)
