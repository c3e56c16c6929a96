"""TorchvisionClassifier: names, channels, auxiliary heads and trained weights (no download: the reading is faked)."""

import urllib.request
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision import models

from cnntrain.errors import ConfigError, DataError
from cnntrain.model import torchvision_classifier
from cnntrain.model.torchvision_classifier import TorchvisionClassifier


def facts(in_channels=3, num_classes=7, image_size=32):
    """Facts of a run."""
    return {"in_channels": in_channels, "num_classes": num_classes, "image_size": image_size}


@pytest.fixture
def trained(monkeypatch):
    """Pretend that a fresh 1000-class net of torchvision is its trained one; gives a function name → that net."""
    nets = {}

    def reference(name, **config):
        torch.manual_seed(3)
        nets[name] = models.get_model(name, weights=None, **config)
        monkeypatch.setattr(torchvision_classifier, "_read", lambda weights: nets[name].state_dict())
        return nets[name].eval()

    return reference


# the smallest of each family; regnet apart: torchvision computes its widths on the default device, so not on meta
FAMILIES = """alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5 mobilenet_v2
    mobilenet_v3_small resnet18 resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t vgg11 vgg11_bn vit_b_32 wide_resnet50_2"""


def check_name(name):
    """Builds for 1 channel and 7 classes on the meta device."""
    with torch.device("meta"):
        net = TorchvisionClassifier(name=name, **facts(1, 7, 224))
    layers = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert convolutions[0].in_channels == 1 and all(one.in_channels != 3 for one in convolutions)
    assert layers[-1].weight.shape[0] == 7
    assert list(net.choices) == ["first layer"]


@pytest.mark.parametrize("name", FAMILIES.split())
def test_each_family_is_built_for_other_channels_and_classes(name):
    check_name(name)


@pytest.mark.slow
def test_every_name_is_built_for_other_channels_and_classes():
    for name in models.list_models(module=models):
        if not name.startswith("regnet"):
            check_name(name)


def test_a_regnet():
    net = TorchvisionClassifier(name="regnet_y_400mf", **facts(5, 2)).eval()
    assert net(torch.zeros(1, 5, 32, 32)).shape == (1, 2)


def test_a_new_first_layer_keeps_the_variance_of_its_outputs():
    torch.manual_seed(0)
    three, twelve = (TorchvisionClassifier(name="resnet18", **facts(c)).net.conv1 for c in (3, 12))
    assert twelve.weight.std().item() == pytest.approx(three.weight.std().item() / 2, rel=0.03)
    assert (twelve.stride, twelve.padding, twelve.bias) == (three.stride, three.padding, None)


@pytest.mark.parametrize(("name", "near"), [("resnet81", "resnet18"), ("EfficientNet_B0", "efficientnet_b0"), ("vit_b16", "vit_b_16")])
def test_an_unknown_name_gets_the_nearest(name, near):
    with pytest.raises(ConfigError, match=f"'{name}'.*did you mean.*{near}"):
        TorchvisionClassifier(name=name, **facts())


def test_a_segmentation_net_is_no_classifier():
    with pytest.raises(ConfigError, match="no classifier 'fcn_resnet50'"):
        TorchvisionClassifier(name="fcn_resnet50", **facts())


@pytest.mark.parametrize(("name", "size", "fitting"), [("vit_b_16", 40, 48), ("vit_h_14", 32, 42), ("maxvit_t", 32, 224)])
def test_a_size_that_does_not_divide(name, size, fitting):
    with pytest.raises(ConfigError, match=f"{name} .*{size}x{size}.*data.image_size={fitting}"):
        TorchvisionClassifier(name=name, **facts(image_size=size))


def test_auxiliary_heads_in_training_only():
    net = TorchvisionClassifier(name="googlenet", **facts())
    images = torch.randn(2, 3, 32, 32)
    logits, *auxiliary = net(images)
    assert logits.shape == (2, 7) and [one.shape for one in auxiliary] == [(2, 7), (2, 7)]
    assert net.eval()(images).shape == (2, 7)
    without = TorchvisionClassifier(name="googlenet", auxiliary=False, **facts())
    assert without(images).shape == (2, 7)


def test_trained_weights_with_as_many_classes_are_torchvisions_net(trained):
    reference = trained("resnet18")
    net = TorchvisionClassifier(name="resnet18", pretrained=True, **facts(num_classes=1000)).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(net(images), reference(images))
    assert net.choices == {"weights": "ResNet18_Weights.IMAGENET1K_V1"}


def test_trained_weights_with_a_new_head_and_grey_pictures(trained):
    reference = trained("resnet18")
    net = TorchvisionClassifier(name="resnet18", pretrained=True, **facts(1, 5)).eval()
    assert net.choices["new layers"] == "fc" and net.net.fc.weight.shape == (5, 512)
    grey = torch.randn(2, 1, 32, 32)
    net.net.fc, reference.fc = nn.Identity(), nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(net(grey), reference(grey.expand(2, 3, 32, 32)), rtol=1e-4, atol=1e-4)


def test_trained_googlenet_takes_inputs_normalised_for_imagenet(trained):
    reference = trained("googlenet", init_weights=False, transform_input=True)
    net = TorchvisionClassifier(name="googlenet", pretrained=True, auxiliary=False, **facts(num_classes=1000)).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(images), reference(images))
        # a checkpoint is loaded into a net that was built without a download
        loaded = TorchvisionClassifier(name="googlenet", pretrained=False, auxiliary=False, **facts(num_classes=1000)).eval()
        loaded.load_state_dict(net.state_dict())
        assert torch.equal(loaded(images), net(images))


def test_a_vision_transformers_positions_are_interpolated():
    small, large = (
        models.VisionTransformer(image_size=size, patch_size=8, num_layers=1, num_heads=1, hidden_dim=4, mlp_dim=4) for size in (16, 32)
    )
    state = small.state_dict()
    torchvision_classifier._rename(state, name="vit_b_32", net=large, image_size=32)
    large.load_state_dict(state)
    corners = large.encoder.pos_embedding[0, 1:].view(4, 4, 4)[::3, ::3]
    torch.testing.assert_close(corners, small.encoder.pos_embedding[0, 1:].view(2, 2, 4))


def test_densenets_file_has_older_names(monkeypatch):
    torch.manual_seed(0)
    reference = models.densenet121(weights=None).eval()
    older = {}
    for key, value in reference.state_dict().items():
        for layer in ("norm1", "norm2", "conv1", "conv2"):
            key = key.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.") if "denselayer" in key else key
        older[key] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in older
    monkeypatch.setattr(torchvision_classifier, "_read", lambda weights: older)
    net = TorchvisionClassifier(name="densenet121", pretrained=True, **facts(num_classes=1000)).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(net(images), reference(images))


def test_weights_that_do_not_fit_are_not_loaded_by_half(monkeypatch):
    state = models.resnet18(weights=None).state_dict()
    del state["layer1.0.conv1.weight"]
    monkeypatch.setattr(torchvision_classifier, "_read", lambda weights: state)
    with pytest.raises(DataError, match="do not fit"):
        TorchvisionClassifier(name="resnet18", pretrained=True, **facts())


def test_no_network_says_what_to_do_by_hand(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        DataError,
        match=r"could not be downloaded: .*Fix: download https://download.pytorch.org/models/resnet18-\w+.pth to .*pretrained=false",
    ):
        TorchvisionClassifier(name="resnet18", pretrained=True, **facts())


def test_a_damaged_file_is_not_read(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not the weights")
    with pytest.raises(DataError, match="resnet18-f37072fd.pth is damaged: its sha256 begins [0-9a-f]{8} .*delete it"):
        TorchvisionClassifier(name="resnet18", pretrained=True, **facts())


def test_nothing_is_downloaded_on_the_meta_device(monkeypatch):
    monkeypatch.setattr(torchvision_classifier, "_read", lambda weights: pytest.fail("download"))
    with torch.device("meta"):
        TorchvisionClassifier(name="resnet18", pretrained=True, **facts())
