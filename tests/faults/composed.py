"""The command ``cnntrain``, composed once and then run in many forks: composing takes longer than these runs do."""

import importlib
import json
from pathlib import Path

from cnntrain import cli
from cnntrain.config import compose, find, run_folder
from cnntrain.job import Job
from hydra_plugins.cnntrain_launcher.preload import import_what_they_need

RUN = "model=lenet5 epochs=2 batch_size=16 machine.threads=1 machine.device=cpu report.every=2it report.images=0".split()
DATA = "data=synthetic data.image_size=16 data.channels=1 data.samples=80 data.test_samples=20 data.classes=2".split()
SMALL = [*RUN, *DATA]  # two epochs of five steps


def composition(*words: str) -> compose.Composed:
    """What ``cnntrain WORDS`` composes, unchecked."""
    folders = find.led_by(find.folders(None), "train")
    with compose.session(folders):
        return compose.Composer("train", folders)(list(words))


def composed(*words: str, base: list[str] = SMALL) -> Job:
    """The checked job of ``cnntrain BASE WORDS``."""
    made = composition(*base, *words)
    job = Job.of(made.tree, files=made.files)
    import_what_they_need([job.recipe])
    importlib.import_module("cnntrain.task.resume")
    return job


def main(job: Job, folder: Path, *, again: bool = False) -> int:
    """All that the command does once it has composed; ``again``: that ``cnntrain resume`` does. To be called in a fork."""

    def run(invocation):
        made = [] if folder.exists() else [folder]
        if not again:
            run_folder.create(folder, given=True)
        return job.call(folder, invocation.command, again=again, made=None if again else made)

    cli.Invocation.run = run
    return cli.main(["train"])


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())
