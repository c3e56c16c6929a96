"""Every option that exists, in combinations: a run that is killed at each kind of place ends as if nothing had been.

The table is made from ``conf/``: a new optimizer, schedule, augmentation … is in it by itself, and a new key of ``train.yaml`` must be
given its values here, or the reason why it has none.
"""

import itertools
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
import yaml
from faults import forked
from faults.disk import room
from faults.remains import everything, leftovers
from model.entries import read as read_ledger

from cnntrain.config import compose, find, signature
from cnntrain.config.source import load
from cnntrain.config.stored import read_config
from cnntrain.engine.run import targets
from cnntrain.engine.shapes import check_shapes
from cnntrain.engine.trace import build_unfilled
from cnntrain.job import Job

KILLED = 128 + signal.SIGKILL
CONF = find.shipped()
COMMON = {
    "data": "synthetic", "data.image_size": 16, "data.channels": 3, "data.samples": 45, "data.test_samples": 12, "data.classes": 3,
    "epochs": 3, "batch_size": 8, "machine.threads": 1, "machine.device": "cpu", "report.progress": "off", "report.tensorboard": False,
    "report.every": "2it",
}  # fmt: skip
LARGE = COMMON | {"data.image_size": 32, "data.samples": 25, "epochs": 2, "data.val": 0.2, "checkpoint.every": "1it"}
CHEAP_MODELS = ("lenet5", "cats_dogs_cnn", "simple_convnet", "speedrun", "conv_autoencoder")  # all others: once each, in the slow share
MOST_PARAMETERS = 12e6  # larger ones are the same code, and a disk full of weights
VALUES: dict[str, list[Any]] = {  # keys of train.yaml and of its nodes; the first value is what is shipped
    "microbatch": [None, 5],  # of 8: 5 and 3
    "clip": [None, 0.1],
    "evaluate_every": [1, 2],
    "stopping.patience": [None, 1],
    "checkpoint.every": ["1it", "4it", 1],
    "data.val": [0.2, 0.0],
    "machine.channels_last": [True, False],
}
BY_ANNOTATION = ("nan", "tta", "machine.precision")  # Literals: all that they allow
ELSEWHERE = {
    "epochs": "COMMON", "batch_size": "COMMON", "seed": "nothing depends on which one", "stopping.min_delta": "a number of the judge",
    "checkpoint.minutes": "wall-clock time: saves more often, and no save changes anything",
}  # fmt: skip
WORDS = {  # what makes an option do something in 15 steps, or be quick
    "average=swa": ["average.start=0", "average.every=1it"],
    "model=speedrun": ["model.widths=[8,16,16]"],
    "model=conv_autoencoder": ["model.widths=[8,16]"],
    "optimizer=sgd": ["optimizer.lr=0.01"],  # no combination is to diverge
}
CLASSIFIERS = {f"model={name}" for name in (*CHEAP_MODELS, "dropping") if name != "conv_autoencoder"}
NEEDS = {  # options that go with some of another group only
    "model=conv_autoencoder": ("objective", {"objective=reconstruction"}),
    "objective=reconstruction": ("model", {"model=conv_autoencoder"}),
    "objective=classification": ("model", CLASSIFIERS),
    "tta=mirror_shift": ("model", CLASSIFIERS),
    "weights=whitened": ("model", {"model=speedrun"}),
    "augment=[progressive]": ("model", {"model=dropping"}),
}
SLOW = ("model=speedrun", "weights=whitened")  # in the quick share once
Row = dict[str, str]  # a word by what it chooses


def options(group: str) -> list[str]:
    return list(find.files([CONF])[group])


def names_in(annotation: Any) -> list[str]:
    """The words that an annotation allows: those of the Literals in it."""
    if get_origin(annotation) is Literal:
        return [word for word in get_args(annotation) if isinstance(word, str)]
    return [word for part in get_args(annotation) for word in names_in(part)]


def literal(key: str) -> list[str]:
    """The words that a key of train.yaml or of its machine allows."""
    node, _, name = key.rpartition(".")
    tree = yaml.safe_load((CONF / (f"{node}/auto.yaml" if node else "train.yaml")).read_text())
    return names_in(signature.read(tree["_target_"]).parameters[name].type)


def factors() -> dict[str, list[str]]:
    """Words to choose one of, by what they choose."""
    operations = options("augment")
    found = {
        "model": [f"model={name}" for name in (*CHEAP_MODELS, "dropping")],
        "augment": ["augment=[]", *(f"augment=[{name}]" for name in operations)],
    }
    together = ",".join(name for name in operations if name != "progressive")
    found["augment"].append(f"augment=[{together}]")
    for group in ("optimizer", "schedule", "average", "loss", "objective", "weights"):
        found[group] = [f"{group}={name}" for name in options(group)]
    every = VALUES | {key: literal(key) for key in BY_ANNOTATION}
    return found | {key: [f"{key}={'null' if value is None else value}" for value in values] for key, values in every.items()}


FACTORS = factors()


def fits(row: Row) -> bool:
    """Whether each option stands beside what it needs, or can, where that is not chosen yet."""
    allowed: dict[str, set[str]] = {}
    for name, words in (NEEDS[word] for word in row.values() if word in NEEDS):
        allowed[name] = allowed.get(name, words) & words
    return all(words and row.get(name, min(words)) in words for name, words in allowed.items())


def each_once(chance: random.Random) -> list[Row]:
    """Few combinations in which every option stands at least once."""
    rows: list[Row] = [{} for _ in range(max(map(len, FACTORS.values())))]
    for name, words in FACTORS.items():
        for word in words:
            free = [row for row in chance.sample(rows, len(rows)) if name not in row and fits(row | {name: word})]
            max(free, key=lambda row: row.get(*NEEDS.get(word, ("", set()))[:1]) is not None)[name] = word
    for row in rows:
        for name, words in FACTORS.items():
            if name not in row:
                fitting = [word for word in words if fits(row | {name: word})]
                row[name] = chance.choice([word for word in fitting if word not in SLOW] or fitting)
    return rows


def pairwise(chance: random.Random) -> list[Row]:
    """Combinations in which every two options that go together stand together at least once (greedy, as in Cohen et al. 1997)."""
    names = sorted(FACTORS, key=lambda name: -len(FACTORS[name]))
    left = dict.fromkeys(all_pairs())
    rows = []
    while left:
        row: Row = dict(next(iter(left)))
        for name in names:
            if name not in row:
                fitting = [word for word in chance.sample(FACTORS[name], len(FACTORS[name])) if fits(row | {name: word})]
                row[name] = max(fitting, key=lambda word: sum(frozenset([one, (name, word)]) in left for one in row.items()))
        rows.append(row)
        for pair in itertools.combinations(row.items(), 2):
            left.pop(frozenset(pair), None)
    return rows


def all_pairs() -> list[frozenset[tuple[str, str]]]:
    found = []
    for a, b in itertools.combinations(FACTORS, 2):
        found += [frozenset([(a, one), (b, other)]) for one, other in itertools.product(FACTORS[a], FACTORS[b]) if fits({a: one, b: other})]
    return found


SEED = os.environ["CNNTRAIN_TEST_SEED"]
QUICK = each_once(random.Random(f"{SEED} options"))


@pytest.fixture
def folders() -> Iterator[Path]:
    with room() as folder:
        (folder / "conf/model").mkdir(parents=True)
        (folder / "conf/model/dropping.yaml").write_text("# Draws and remembers\n_target_: faults.parts.Dropping\np: 0.3   # of each\n")
        yield folder


def job_of(words: list[str], folder: Path, common: dict[str, Any] = COMMON) -> Job:
    """The checked run of these words, as the command line makes it."""
    more = [extra for word in words for extra in WORDS.get(word, [])]
    where = find.led_by(find.folders(str(folder / "conf")), "train")
    with compose.session(where):
        chosen = {word.partition("=")[0]: word for word in [*(f"{key}={value}" for key, value in common.items()), *more, *words]}
        composed = compose.Composer("train", where)(list(chosen.values()))
    job = Job.of(composed.tree, files=composed.files)
    for target in targets(job.config):
        load(target)  # here, or each of its lives would have to
    check_shapes(
        lambda size: job.recipe.values["model"](in_channels=3, num_classes=3, image_size=size), 3, common["data.image_size"], None
    )  # likewise
    return job


def arm(place: str | int) -> None:
    """Let this process die at a place: a step, the first evaluation ("after the last batch"), or when it is done ("after validation")."""
    from cnntrain.engine.saving import Saving
    from cnntrain.engine.state import State
    from cnntrain.task import train

    def die(*arguments, **named):
        os.kill(os.getpid(), signal.SIGKILL)

    if place == "after the last batch":
        train.evaluate = die
    elif place == "after validation":
        Saving.due_after_evaluation = die
    elif isinstance(place, int):
        real = State.advance

        def advance(self, stats):
            real(self, stats)
            if self.step >= place:
                die()

        State.advance = advance


def live(job: Job, folder: Path, place: str | int) -> int:
    """Start the run, or go on with it, up to a place; returns the exit code."""
    from cnntrain.task.resume import resume

    def work():
        arm(place)
        if not (folder / "config.yaml").exists():
            folder.mkdir()
            job.call(folder, [])
        else:
            resume(run=str(folder), config=read_config(folder), trust=["faults.parts"])

    ended = forked.run(work, folder.with_suffix(".console"), timeout=280)
    assert ended.code in (0, KILLED), ended.output
    return ended.code


def check(job: Job, folders: Path, chance: random.Random, *, steps: int = 5, places: int = 4) -> int:
    """Kill the run at one of the last ``places`` after the other, and compare; returns the number of kills. ``steps``: of an epoch."""
    assert live(job, folders / "whole", "the end") == 0
    kills = 0
    ways = (chance.randrange(1, steps), steps + chance.randrange(1, steps), "after the last batch", "after validation")
    for place in (*ways[-places:], "the end"):
        if live(job, folders / "run", place) == 0:
            break
        kills += 1
    assert everything(folders / "run") == everything(folders / "whole") and not leftovers(folders / "run")
    return kills


@pytest.mark.parametrize("row", [pytest.param(row, id=" ".join(row.values())) for row in QUICK])
def test_every_option_resumes_exactly(folders, fault, chance, row):
    kills = check(job_of(list(row.values()), folders), folders, chance, places=3)
    assert kills >= (1 if row["data.val"] == "data.val=0.0" else 2)
    fault("A3", f"{kills} stops: {' '.join(row.values())}")


@pytest.mark.slow
@pytest.mark.parametrize("share", range(8))
def test_every_two_options_resume_exactly_together(folders, fault, chance, share):
    for number, row in enumerate(pairwise(random.Random(f"{SEED} pairs"))):
        if number % 8 == share:
            folder = folders / f"{number}"
            folder.mkdir()
            kills = check(job_of(list(row.values()), folders), folder, chance)
            assert kills >= 1, row
            fault("A3", f"{kills} stops: {' '.join(row.values())}")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in options("model") if name not in CHEAP_MODELS])
def test_every_other_model_resumes_exactly(folders, fault, chance, name):
    entries = read_ledger()
    size = max(LARGE["data.image_size"], entries[name].smallest)
    job = job_of([f"model={name}"], folders, LARGE | {"data.image_size": size})
    network = build_unfilled(lambda: job.recipe.values["model"](in_channels=3, num_classes=3, image_size=size))
    if sum(parameter.numel() for parameter in network.parameters()) > MOST_PARAMETERS:
        pytest.skip(f"more than {MOST_PARAMETERS:.0e} parameters")
    assert check(job, folders, chance, steps=3) == 4
    fault("A3", f"4 stops: model={name}")


def variants() -> list[tuple[str, str]]:
    """Options, each with another value of one of its settings: all words and yes-or-nos that are not shipped."""
    found = []
    for group in ("optimizer", "schedule", "average", "loss", "weights", "augment"):
        for name, path in find.files([CONF])[group].items():
            tree = yaml.safe_load(path.read_text())
            option, place, node = f"{group}={name}", group, tree
            if group == "augment":
                option, place, node = f"augment=[{name}]", f"augment.{name}", tree[name]
            for parameter in signature.read(node["_target_"]).parameters.values():
                shipped = node.get(parameter.name)
                others = [str(not shipped).lower()] if isinstance(shipped, bool) else names_in(parameter.type)
                found += [(option, f"{place}.{parameter.name}={other}") for other in others if other != shipped]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("option", "setting"), variants())
def test_every_setting_of_an_option_resumes_exactly(folders, fault, chance, option, setting):
    model = [word for name, words in [NEEDS.get(option, ("", {"model=cats_dogs_cnn"}))] for word in words]
    job = job_of(["optimizer=sgd", option, setting, *model, "checkpoint.every=1it"], folders)
    assert check(job, folders, chance) == 4
    fault("A3", f"4 stops: {option} {setting}")


def test_the_table_finds_an_option_that_remembers_something_beside_its_state(folders, chance, monkeypatch):
    real, steps = torch.optim.RMSprop.step, []

    def step(self, closure=None):
        steps.append(1)
        for group in self.param_groups:
            group["lr"] /= len(steps)
        return real(self, closure)

    monkeypatch.setattr(torch.optim.RMSprop, "step", step)
    with pytest.raises(AssertionError, match="assert"):
        check(job_of(["optimizer=rmsprop", "model=cats_dogs_cnn", "checkpoint.every=1it"], folders), folders, chance, places=3)


def test_the_tables_hold_every_option_and_every_pair():
    assert not [word for name, words in FACTORS.items() for word in words if not any(row[name] == word for row in QUICK)]
    rows = pairwise(random.Random(1))
    assert len(rows) >= 30 and all(fits(row) and row.keys() == FACTORS.keys() for row in [*rows, *QUICK])
    together = {frozenset(pair) for row in rows for pair in itertools.combinations(row.items(), 2)}
    assert together >= set(all_pairs())


def test_every_key_of_a_run_is_in_the_table():
    tree = yaml.safe_load((CONF / "train.yaml").read_text())
    own = {key for key in tree if key not in ("defaults", "hydra", "_target_", "sweep", "trust", "debug", "stopping", "checkpoint")}
    own |= {f"{node}.{key}" for node in ("stopping", "checkpoint") for key in tree[node] if key != "_target_"}
    unknown = own - set(FACTORS) - set(ELSEWHERE)
    assert not unknown, f"give {sorted(unknown)} values in VALUES (or in ELSEWHERE the reason why they have none)"
