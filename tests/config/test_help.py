import os
import subprocess
import sys

from fake_verb import lay_out

from cnntrain.config import find
from cnntrain.config.complete import complete
from cnntrain.config.help import render


def files():
    return find.files([find.shipped()])


def test_help_names_every_verb_group_option_and_key_with_its_meaning():
    text = render(files(), "train", whole=True, width=100)
    found = files()
    for verb in found[""]:
        assert f"\n  {verb} " in text
    for group in ("model", "data", "augment", "optimizer", "schedule"):
        assert f"{group}=" in text
        for option in found[group]:
            assert f" {option} " in text or f" {option}\n" in text, option
    assert "* lenet5" in text and "batch_size=" in text and "optimizer.lr=" in text and "sweep.parallel=auto" in text
    assert "cnntrain model=resnet18 data=cifar10" in text
    assert max(map(len, text.splitlines())) <= 110  # examples are not broken


def test_help_follows_the_chosen_option():
    text = render(files(), "train", ["optimizer=adamw"], width=100)
    assert "Keys of optimizer=adamw" in text and "Keys of optimizer=sgd" not in text


def test_help_of_a_data_set_shows_its_fitting_augmentation():
    assert "* flip" in render(files(), "train", ["data=cifar10"], width=100)
    assert "* flip" not in render(files(), "train", ["data=digits"], width=100)


def test_help_imports_neither_torch_nor_hydra():
    heavy = "('torch', 'hydra', 'pydantic', 'rich')"
    code = f"import sys; from cnntrain.cli import main; main(['--help']); sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def asked(line, word):
    return complete(files(), {"COMP_LINE": f"cnntrain {line}", "COMP_POINT": str(len(line) + 9)}, ["cnntrain", word, ""])


def test_completion():
    assert asked("eval", "eval") == ["evaluate ", "evaluate_every="]
    assert asked("model=resnet18 optimizer=adamw optimizer.l", "optimizer.l") == ["optimizer.lr="]
    # bash ends words at "=": it asks for what follows, and wants only that
    assert asked("model=lenet", "lenet") == ["lenet5 ", "lenet5_classic "]
    assert "resnet18 " in asked("model=", "=") and "resnet18 " in asked("model=", "")
    assert asked("augment=[crop,fli", "[crop,fli") == ["[crop,flip"]
    assert asked("--mul", "--mul") == ["--multirun "]
    assert asked("evaluate checkp", "checkp") == ["checkpoint="]
    assert "model=" in asked("train mod", "mod")
    assert asked("data.root=/tm", "/tm") == []  # the shell completes file names


def test_completion_at_the_cursor_not_the_end():
    environment = {"COMP_LINE": "cnntrain pred x=1", "COMP_POINT": "13"}
    assert complete(files(), environment, ["cnntrain", "pred", "cnntrain"]) == ["predict "]


def test_completion_by_the_documented_line(tmp_path):
    lay_out(tmp_path)
    environment = {**os.environ, "COMP_LINE": "cnntrain fake part=", "COMP_POINT": "19"}
    command = [sys.executable, "-m", "cnntrain", "--complete", "cnntrain", "", "part"]
    environment["PYTHONPATH"] = str(find.shipped().parent)
    assert subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == "a \nb \n"
