import os
import re
import subprocess
import sys

import pytest
from fake_verb import lay_out

from cnntrain.cli import main
from cnntrain.config import find
from cnntrain.config.complete import complete
from cnntrain.config.help import render
from cnntrain.config.outline import read
from cnntrain.errors import ConfigError


def files():
    return find.files([find.shipped()])


def of(*words, verb="train", **options):
    return render(files(), verb, words, **{"width": 80, **options})


def test_help_is_short_and_names_every_verb_group_and_option_and_the_keys_of_the_run():
    text = of(whole=True)
    found = files()
    for verb in found[""]:
        assert f"\n  {verb} " in text
    for group in read(found[""]["train"]).choices:
        assert f"\n  {group} " in text
        for option in found[group]:
            assert re.search(rf"[ *]{re.escape(option)}\s", text), option
    assert "*lenet5 " in text and "*crop" not in text and "batch_size=" in text and "sweep.parallel=auto" in text
    assert "cnntrain model=resnet18 data=cifar10" in text
    lines = text.splitlines()
    assert len(lines) < 130
    assert max(map(len, lines[: lines.index("Examples")])) <= 80  # examples are not broken
    assert text.index("plain56") < text.index("plain110"), "by their numbers, not letters"


@pytest.mark.parametrize("verb", sorted(files()[""]))
def test_every_key_of_a_verb_is_on_its_page(verb):
    text, outline = of(verb=verb), read(files()[""][verb])
    assert outline.keys and all(f"\n  {key.name}=" in text for key in outline.keys)
    groups = [group for group in outline.choices if group in files()]
    assert bool(groups) == (f"cnntrain {verb} " in text.partition("Every other key")[2].partition("Flags")[0]), (
        "where the other keys are told"
    )


@pytest.mark.parametrize("group", [group for group in read(files()[""]["train"]).choices if group in files()])
def test_every_key_of_a_group_is_found_by_what_help_says(group):
    page = of(group)
    for option, path in files()[group].items():
        assert re.search(rf"\n  [* ] {re.escape(option)}\s", page) and read(path).meaning[:20] in page
        keys = of(f"{group}={option}")
        assert all(f"{key.name}=" in keys for key in read(path).keys), option


def test_help_of_a_group_shows_the_keys_of_what_is_in_force():
    assert "* sgd" in of("optimizer") and "optimizer.lr=0.05" in of("optimizer") and "optimizer.betas" not in of("optimizer")
    assert "* flip" in of("augment", "data=cifar10") and "* flip" not in of("augment", "data=digits")


def test_help_of_options_shows_their_keys_at_their_places():
    text = of("optimizer=adamw", "augment=[crop,flip]")
    assert "optimizer.lr=" in text and "augment.crop.padding=4" in text and "augment.flip.p=" in text and "momentum" not in text
    assert "epochs=" in of("experiment=cifar10_resnet18")


def test_help_of_a_node_within_a_node():
    assert "model.net.pool=max" in of("model=filtered") and "another: model@model.net=OPTION" in of("model=filtered")
    assert "model.net.depth=20" in of("model=filtered", "model@model.net=resnet20")
    assert "* lenet5" not in of("model@model.net", "model=filtered") and "resnet20" in of("model@model.net", "model=filtered")


def test_help_of_a_key():
    assert of("lr") == "Keys called lr\n  optimizer.lr=0.05  peak learning rate, or auto (a range test finds it)\n"
    assert "checkpoint.minutes=5" in of("checkpoint") and "augment.shift.pixels" in of("pixels")
    assert "optimizer.lr" in of("optimizer.lr") and "epochs=40" in of("epochs", "epochs=3")
    assert "Verbs" in of("epochs=3", whole=True), "a value is no question"


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["modle"], "cnntrain model --help"),
        (["trian"], "cnntrain train --help"),
        (["epoch"], "cnntrain epochs --help"),
        (["zzzzzz"], "see cnntrain --help"),
        (["model=resnt20"], "cnntrain model=resnet20 --help"),
        (["model=???"], "cnntrain model --help"),
    ],
)
def test_help_of_what_is_not_there(words, fix):
    with pytest.raises(ConfigError) as caught:
        of(*words)
    assert caught.value.fix == fix


def test_help_by_the_command_line(capsys):
    for words in (["model", "--help"], ["--help", "model=resnet20"], ["evaluate", "--help"], ["evaluate", "data", "-h"], ["lr", "-h"]):
        assert main(words) == 0
    assert "model.depth=20" in capsys.readouterr().out
    assert main(["modle", "--help"]) == 2
    assert "did you mean 'model'" in capsys.readouterr().err


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
    assert asked("model=filtered model@", "model@") == ["model@model.net="]
    assert asked("model=filtered model@model.net=resnet11", "resnet11") == ["resnet110 "]
    assert asked("model=filtered model@model.net=resnet20 model.net.dep", "model.net.dep") == ["model.net.depth="]


def test_completion_at_the_cursor_not_the_end():
    environment = {"COMP_LINE": "cnntrain pred x=1", "COMP_POINT": "13"}
    assert complete(files(), environment, ["cnntrain", "pred", "cnntrain"]) == ["predict "]


def test_completion_by_the_documented_line(tmp_path):
    lay_out(tmp_path)
    environment = {**os.environ, "COMP_LINE": "cnntrain fake part=", "COMP_POINT": "19"}
    command = [sys.executable, "-m", "cnntrain", "--complete", "cnntrain", "", "part"]
    environment["PYTHONPATH"] = str(find.shipped().parent)
    assert subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == "a \nb \n"
