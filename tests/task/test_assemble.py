"""Parts that do not suit each other, told before anything is trained."""

import pytest

from cnntrain import cli
from cnntrain.errors import ConfigError

BOUVRIE = "Bouvrie is made for loss=mse loss.targets="


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("model=bouvrie", BOUVRIE + "zero_one;"),
        ("model=bouvrie loss=mse", ""),
        ("model=bouvrie model.activation=tanh loss=mse", BOUVRIE + "plus_minus;"),
        ("model=bouvrie model.activation=tanh loss=mse loss.targets=plus_minus", ""),
        ("model=lenet5_classic", "LeNet5Classic is made for loss=map_criterion;"),
        ("model=lenet5_classic loss=map_criterion", ""),
        ("model=filtered model@model.net=bouvrie", "Filtered is made for loss=mse"),
        ("model=lenet5", ""),
    ],
)
def test_a_network_that_is_made_for_a_loss_says_so_under_another(words, said, capsys):
    cli.call("summary", *words.split())
    notes = [line for line in capsys.readouterr().out.splitlines() if "is made for" in line]
    assert len(notes) == bool(said) and all(note.startswith(f"note: {said}") for note in notes)


def test_training_says_it_once(small, capsys):
    small("model=lenet5_classic", "epochs=2it", "checkpoint.minutes=0")
    assert capsys.readouterr().out.count("is made for") == 1


def test_pictures_of_a_size_that_the_network_cannot_take_name_the_list_without_that_operation(small):
    with pytest.raises(ConfigError) as caught:
        small("augment=[crop,progressive,flip]", "augment.progressive.multiple=2")
    assert (caught.value.where, caught.value.fix) == ("augment.progressive", "augment=[crop,flip], or a model for any image size")
