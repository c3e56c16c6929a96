"""What a run tells to type next: right, whole, and typeable as it stands."""

import shlex
from pathlib import Path

import pytest
import yaml

from cnntrain import cli
from cnntrain.engine.run import Run
from cnntrain.task.lr_find import to_train
from cnntrain.task.outcome import next_commands

WORDS = ["model=lenet5", "data=synthetic", "data.image_size=16", "data.samples=80", "data.test_samples=20", "epochs=1", "batch_size=16"]


def test_the_commands_after_a_run_can_be_typed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [*WORDS, "model.activation=tanh", "machine.threads=1", "seed=3", "optimizer.lr=0.02", "hydra.run.dir='my run/a=1, b'"]
    assert cli.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    board, evaluate, sweep = (line[2:] for line in lines[lines.index("Next:") + 1 :])
    assert board == "tensorboard --logdir 'my run/a=1, b'"
    assert evaluate == "cnntrain evaluate 'checkpoint=my run/a=1, b/best.safetensors'"
    assert cli.main(shlex.split(evaluate)[1:]) == 0 and "20 pictures" in capsys.readouterr().out
    assert sweep == f"cnntrain -m {' '.join(words[:-3])} optimizer.lr=0.007,0.02,0.06 seed=1,2,3"
    tried = shlex.split(sweep)[2:-2]  # behind cnntrain -m, and before what is swept
    assert cli.main([*tried, "seed=1", "--cfg", "job"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["model"]["activation"] == "tanh" and shown["data"]["samples"] == 80 and shown["seed"] == 1
    assert cli.main(["resume", "run=my run/a=1, b"]) == 0
    done, colon, longer = capsys.readouterr().out.strip().partition(": ")
    assert (done, longer) == ("my run/a=1, b is already done. To train twice as long", "cnntrain resume 'run=my run/a=1, b' epochs=2")
    assert cli.main(shlex.split(longer)[1:]) == 0 and "epoch 2/2" in capsys.readouterr().out


def run_of(*command, folder="outputs/2026-01-02/03_lenet5", lr=0.1):
    return Run(Path(folder), config={"optimizer": {"lr": lr}}, command=list(command))


def test_a_run_among_the_others_is_shown_with_them():
    assert run_of("cnntrain").tensorboard_command == "tensorboard --logdir outputs"
    assert run_of("cnntrain", folder="elsewhere/outputs/x").tensorboard_command == "tensorboard --logdir elsewhere/outputs/x"


def test_programs_are_named_as_the_user_did():
    run = run_of(".venv/bin/cnntrain", "model=nin")
    assert run.tensorboard_command == ".venv/bin/tensorboard --logdir outputs"
    assert run.resume_command == ".venv/bin/cnntrain resume run=outputs/2026-01-02/03_lenet5"
    lines = next_commands(run, {"test/loss": 1.0}, judged=run.folder / "best.safetensors")
    assert lines[2] == ".venv/bin/cnntrain -m model=nin optimizer.lr=0.03,0.1,0.3 seed=1,2,3"


@pytest.mark.parametrize(("script", "known", "program"), [
    (".venv/bin/cnntrain", True, "cnntrain"), (".venv/bin/cnntrain", False, ".venv/bin/cnntrain"), ("x/__main__.py", False, "cnntrain"),
])  # fmt: skip
def test_a_script_that_the_shell_does_not_find_is_named_by_its_path(monkeypatch, script, known, program):
    monkeypatch.setattr("sys.argv", [script])
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/cnntrain" if known else None)
    assert cli._program() == program


@pytest.mark.parametrize(("metrics", "part"), [(["val/loss", "test/loss"], ""), (["val/loss"], " split=val"), ([], " split=train")])
def test_what_is_evaluated_is_there(metrics, part):
    run = run_of("cnntrain")
    line = next_commands(run, dict.fromkeys(metrics, 1.0), judged=run.folder / "last.safetensors")[1]
    assert line == f"cnntrain evaluate checkpoint={run.folder}/last.safetensors{part}"


@pytest.mark.parametrize("command", [
    [], ["cnntrain", "resume", "run=x"], ["cnntrain", "-m", "seed=1,2"], ["cnntrain", "train", "--multirun", "seed=1,2"],
])  # fmt: skip
def test_nothing_is_told_of_words_that_are_not_the_runs_own(command):
    assert run_of(*command).words(but=()) is None
    assert len(next_commands(run_of(*command), {"test/loss": 1.0}, judged=Path("a"))) == 2


@pytest.mark.parametrize(
    ("lr", "rates"), [(0.1, "0.03,0.1,0.3"), (3e-4, "0.0001,0.0003,0.0009"), (24, "8,24,70"), (1e-6, "3e-07,1e-06,3e-06")]
)
def test_learning_rates_around_the_runs_own(lr, rates):
    line = next_commands(run_of("cnntrain", "train", "+x=1", lr=lr), {"test/loss": 1.0}, judged=Path("a"))[2]
    assert line == f"cnntrain -m +x=1 optimizer.lr={rates} seed=1,2,3"


def test_after_a_range_test_the_whole_training_command():
    run = run_of("cnntrain", "lr_find", "model=nin", "steps=50it", "optimizer.lr=1", "data.root=my pictures")
    assert to_train({"recommended": "optimizer.lr=0.12"}, run) == [
        "to train        cnntrain model=nin 'data.root=my pictures' optimizer.lr=0.12"
    ]
    assert to_train({}, run) == [] == to_train({"recommended": "optimizer.lr=0.12"}, run_of("cnntrain", "-m", "lr_find"))
