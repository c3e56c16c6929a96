"""Did you mean: every slip of a finger leads back to the right name."""

import random

import pytest

from cnntrain.config.suggest import did_you_mean, key_meant, nearest, slips

TREE = {
    "": "model data augment loss optimizer schedule objective weights machine report average stopping checkpoint epochs batch_size "
    "microbatch clip evaluate_every seed",
    "model": "blocks block stem width groups zero_init shortcut drop pool activation norm",
    "data": "root val mean std residency workers cache timeout image_size unreadable download",
    "augment.crop": "padding fill",
    "augment.color": "brightness contrast saturation hue",
    "augment.mixup": "alpha probability",
    "loss": "smoothing class_weights",
    "optimizer": "lr momentum nesterov weight_decay decay_norms betas eps fused",
    "schedule": "base cycle warmup shape momentum_low momentum_high gamma per",
    "machine": "device threads precision channels_last compile deterministic",
    "report": "every histograms pictures tensorboard console",
    "average": "decay every",
    "stopping": "patience min_delta",
    "checkpoint": "every minutes keep_previous",
}
GROUPS = TREE[""].split()[:10]
OPTIONS = [f"resnet{depth}" for depth in (18, 20, 32, 34, 44, 50, 56, 101, 110, 152)] + ["lenet5", "simple_convnet", "cats_dogs_cnn"]


def dropped(word: str) -> list[str]:
    return [word[:i] + word[i + 1 :] for i in range(len(word))]


def doubled(word: str) -> list[str]:
    return [word[:i] + word[i] + word[i:] for i in range(len(word))]


def swapped(word: str) -> list[str]:
    return [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)]


def inserted(word: str) -> list[str]:
    letter = random.Random(word).choice
    return [word[:i] + letter("abcdefghijklmnopqrstuvwxyz_") + word[i:] for i in range(len(word) + 1)]


@pytest.mark.parametrize("slip", [dropped, doubled, swapped, inserted])
def test_a_slip_leads_back_to_the_key(slip):
    right = total = 0
    misses = []
    for keys in map(str.split, TREE.values()):
        for key in keys:
            for wrong in {word for word in slip(key) if word and word not in keys}:
                total += 1
                right += nearest(wrong, keys) == key
                misses += [(wrong, key, nearest(wrong, keys))] if nearest(wrong, keys) != key else []
    assert total > 400
    assert right / total >= 0.98, misses


@pytest.mark.parametrize("slip", [dropped, doubled, swapped])
def test_a_slip_leads_back_in_the_whole_tree(slip):
    """By the rule that the config check uses, with all other keys of the tree to be mistaken for."""
    paths = [f"{place}.{key}" if place else key for place, keys in TREE.items() for key in keys.split()]
    outcomes = []
    for keys in map(str.split, TREE.values()):
        for key in keys:
            outcomes += [key_meant(wrong, keys, paths)[:1] == [key] for wrong in {word for word in slip(key) if word and word not in keys}]
    assert sum(outcomes) / len(outcomes) >= 0.95


def test_options_that_differ_in_digits():
    outcomes = [nearest(wrong, OPTIONS) == option for option in OPTIONS for wrong in swapped(option) if wrong not in OPTIONS]
    assert sum(outcomes) / len(outcomes) >= 0.95
    assert nearest("resnet81", OPTIONS) == "resnet18"
    assert nearest("Resnet-18", OPTIONS) == "resnet18"


@pytest.mark.parametrize(
    ("short", "right"),
    [
        ("bs", "batch_size"),
        ("wd", "weight_decay"),
        ("optim", "optimizer"),
        ("sched", "schedule"),
        ("aug", "augment"),
        ("learning_rate", "lr"),
        ("mom", "momentum"),
        ("num_epochs", "epochs"),
        ("smooth", "smoothing"),
        ("ckpt", "checkpoint"),
        ("modle", "model"),
    ],
)
def test_abbreviations(short, right):
    everything = " ".join(TREE.values()).split()
    assert nearest(short, everything) == right


@pytest.mark.parametrize("word", ["zzz", "foo", "q", "", "transformer", "__class__"])
def test_what_is_like_nothing_has_no_suggestion(word):
    assert nearest(word, GROUPS) is None
    assert did_you_mean(word, GROUPS) == ""


def test_key_that_lives_elsewhere():
    paths = ["optimizer.lr", "optimizer.momentum", "epochs", "data.val", "model.depth", "schedule.cycle", "average.every", "report.every"]
    assert key_meant("lr", ["model", "epochs"], paths) == ["optimizer.lr"]
    assert key_meant("depth", ["lr", "momentum"], paths) == ["model.depth"]
    assert key_meant("epochs", ["lr", "momentum"], paths) == ["epochs"]
    assert key_meant("every", ["lr"], paths) == ["average.every", "report.every"]
    assert key_meant("momentun", ["model", "epochs"], paths) == ["optimizer.momentum"]
    assert key_meant("lrr", ["lr", "momentum"], paths) == ["lr"]
    assert key_meant("nothing_like_it", ["lr"], paths) == []


def test_words():
    assert did_you_mean("lrr", ["lr", "momentum"]) == " (did you mean 'lr'?)"


def test_slips_counts_single_letters():
    assert [slips("lr", "lr"), slips("lrr", "lr"), slips("rl", "lr"), slips("xr", "lr"), slips("", "lr")] == [0, 1, 1, 1, 2]
    assert slips("abcd", "badc") == 2
