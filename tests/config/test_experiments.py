"""Every shipped experiment composes, fits the parts that it names, and says how to start it and whether that was done."""

from pathlib import Path

import pytest

from cnntrain.config import compose, find
from cnntrain.job import Job

FOLDER = Path(__file__).parents[2] / "conf" / "experiment"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


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
