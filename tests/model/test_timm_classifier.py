"""TimmClassifier: names, channels, image sizes, and trained weights (no download: timm's reading is faked)."""

import builtins

import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError, DataError
from cnntrain.model.timm_classifier import TimmClassifier

timm = pytest.importorskip("timm")


def build(name, **changes):
    facts = {"in_channels": 1, "num_classes": 7, "image_size": 64, **changes}
    with torch.device("meta"):
        return TimmClassifier(name=name, **facts)


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224", "resnet18.a1_in1k"])
def test_families_are_built_for_other_channels_classes_and_sizes(name):
    net = build(name)
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    assert first.in_channels == 1 and last.out_features == 7
    assert net.eval()(torch.zeros(2, 1, 64, 64, device="meta")).shape == (2, 7)
    assert net.choices == ({"image size": "built for 64x64"} if name.startswith("vit") else {})


@pytest.mark.parametrize("image_size", [32, 100])
def test_a_vision_transformer_of_other_sizes(image_size):
    """100 is no multiple of its patches of 16: what is left over is not looked at."""
    net = TimmClassifier(name="vit_tiny_patch16_224", in_channels=3, num_classes=4, image_size=image_size).eval()
    assert net.net.pos_embed.shape[1] == (image_size // 16) ** 2 + 1
    with torch.no_grad():
        assert net(torch.zeros(1, 3, image_size, image_size)).shape == (1, 4)


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet51", "resnet50"), ("ConvNext_Atto", "convnext_atto"), ("resnet50.a1_in2k", "resnet50.a1_in1k"), ("hf-hub:timm/resnet50", "")],
)
def test_an_unknown_name_gets_the_nearest_and_no_address_is_taken(name, near):
    with pytest.raises(ConfigError, match="timm has no classifier") as caught:
        build(name)
    assert near in str(caught.value) and caught.value.fix.startswith("model.name=")


def test_without_timm_the_command_is_told(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "timm":
            raise ImportError("No module named 'timm'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match="No module named 'timm'") as caught:
        build("resnet50")
    assert caught.value.fix == "pip install 'timm>=1.0'"


@pytest.fixture
def trained(monkeypatch):
    """timm reads these numbers in place of the files of a hub."""
    torch.manual_seed(3)
    reference = timm.create_model("mobilenetv3_small_050")
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *args, **kwargs: dict(reference.state_dict()))
    return reference.eval()


def test_trained_weights_are_timms_net(trained):
    facts = {"in_channels": 3, "num_classes": 1000, "image_size": 32}
    net = TimmClassifier(name="mobilenetv3_small_050", pretrained=True, **facts).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(net(images), trained(images))
        loaded = TimmClassifier(name="mobilenetv3_small_050", **facts).eval()
        loaded.load_state_dict(net.state_dict())  # a checkpoint needs no download
        assert torch.equal(loaded(images), net(images))
    assert net.choices["weights"].startswith("mobilenetv3_small_050.") and "new layers" not in net.choices


def test_a_new_head_is_told_and_the_rest_is_the_trained_one(trained):
    net = TimmClassifier(name="mobilenetv3_small_050", pretrained=True, in_channels=3, num_classes=5, image_size=32)
    assert net.choices["new layers"] == "classifier" and net.net.classifier.out_features == 5
    theirs = trained.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in net.net.state_dict().items() if not key.startswith("classifier."))


def test_weights_that_cannot_be_had_say_so(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    with pytest.raises(DataError, match="could not be had: no route to the hub.*model.pretrained=false"):
        TimmClassifier(name="mobilenetv3_small_050", pretrained=True, in_channels=3, num_classes=5, image_size=32)
    without = next(name for name in timm.list_models() if not timm.models.is_model_pretrained(name))
    with pytest.raises(ConfigError, match="no trained weights of"):
        TimmClassifier(name=without, pretrained=True, in_channels=3, num_classes=5, image_size=32)


def test_nothing_is_downloaded_on_the_meta_device(monkeypatch):
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *args, **kwargs: pytest.fail("download"))
    build("mobilenetv3_small_050", pretrained=True, in_channels=3)


def test_other_outputs_become_auxiliary_logits():
    net = TimmClassifier(name="mobilenetv3_small_050", in_channels=3, num_classes=5, image_size=32)
    net.net = Listed()
    assert isinstance(net(torch.zeros(2, 3)), tuple)


class Listed(nn.Module):
    def forward(self, x):
        return [x, x]
