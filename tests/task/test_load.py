"""A checkpoint alone gives a network that answers as the trained one did; nothing in it can make us run other code."""

import copy

import pytest
import torch
from PIL import Image
from stored import NETWORK, SYNTHETIC, logits_of, make, pictures_of
from torch import nn

from cnntrain.engine.checkpoint import read
from cnntrain.engine.inputs import Normalise
from cnntrain.errors import CheckpointError, ConfigError, DataError
from cnntrain.task.load import build_model, load


@pytest.fixture
def stored(tmp_path):
    network, dataset = make(tmp_path / "best.safetensors")
    return tmp_path / "best.safetensors", network, dataset


def test_logits_are_those_of_the_network_that_was_saved(stored):
    path, network, dataset = stored
    images, _ = pictures_of(dataset.test)
    predictor = load(path)
    with torch.no_grad():
        torch.testing.assert_close(predictor(images), logits_of(network, dataset, images), rtol=0, atol=1e-5)
        torch.testing.assert_close(predictor(images / 255), predictor(images), rtol=0, atol=1e-5)
    assert (predictor.classes, predictor.mean, predictor.std) == (dataset.classes, dataset.mean, dataset.std)
    assert (predictor.image_size, predictor.in_channels) == (8, 3)
    assert not any(module.training for module in predictor.modules())


def test_its_arithmetic_is_the_engines_bit_by_bit(stored):
    path, _, dataset = stored
    images, _ = pictures_of(dataset.test)
    predictor = load(path)
    predictor.model = nn.Identity()
    normalise = Normalise(dataset.mean, dataset.std, device=torch.device("cpu"), memory_format=torch.contiguous_format)
    assert predictor(images).equal(normalise(images))
    assert predictor(images / 255).equal(normalise(images / 255))


def test_the_averaged_weights_are_taken_where_there_are_some(tmp_path):
    network, dataset = make(tmp_path / "a.safetensors", average=True)
    images, _ = pictures_of(dataset.test)
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path / "a.safetensors")(images), logits_of(network, dataset, images), rtol=0, atol=1e-5)
    plain = read(tmp_path / "a.safetensors")
    plain = plain._replace(tensors={name: value for name, value in plain.tensors.items() if not name.startswith("average.")})
    assert not build_model(plain).conv1.weight.equal(network.conv1.weight)


def test_generators_and_modes_are_left_as_they_were(stored):
    before = torch.get_rng_state()
    predictor = load(stored[0]).train()
    predictor.predict(torch.zeros(3, 8, 8, dtype=torch.uint8))
    assert torch.get_rng_state().equal(before)
    assert all(module.training for module in predictor.modules())


def drop(tensors):
    for name in list(tensors)[:7]:
        del tensors[name]


def rename(tensors):
    tensors["model.fc9.weight"] = tensors.pop(list(tensors)[0])


def reshape(tensors):
    name = list(tensors)[0]
    tensors[name] = tensors[name][:1].clone()


@pytest.mark.parametrize(
    ("change", "words"), [(drop, r"is missing.* and 2 more"), (rename, "fc9.weight is not in the model"), (reshape, r"is \(1,")]
)
def test_weights_of_another_network_are_refused(tmp_path, change, words):
    make(tmp_path / "a.safetensors", change=change)
    with pytest.raises(CheckpointError, match=words) as caught:
        load(tmp_path / "a.safetensors")
    assert caught.value.what.count(";") <= 4
    assert caught.value.fix


def test_weights_that_are_nan_are_refused_by_name(tmp_path):
    def spoil(tensors):
        tensors["model.conv1.weight"][0, 0, 0, 0] = torch.nan

    make(tmp_path / "a.safetensors", change=spoil)
    with pytest.raises(CheckpointError, match=r"not finite: conv1\.weight"):
        load(tmp_path / "a.safetensors")


CANARY = """
open({path!r}, "w").close()
from torch import nn
class Net(nn.Module):
    def __init__(self, *, in_channels: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_channels, num_classes)
    def forward(self, x):
        return self.layer(x.mean((2, 3)))
"""


def test_code_outside_is_imported_only_when_it_is_trusted(tmp_path, monkeypatch):
    canary, name = tmp_path / "canary", "outsider_for_load"
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{name}.py").write_text(CANARY.format(path=str(canary)))
    make(tmp_path / "a.safetensors", model={"_target_": f"{name}.Net"})
    canary.unlink()
    monkeypatch.delitem(__import__("sys").modules, name)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "a.safetensors")
    assert f"trust=[{name}]" in caught.value.fix
    assert not canary.exists()
    assert load(tmp_path / "a.safetensors", trust=[name]).model.layer.weight.shape == (7, 3)


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "torch.load", "torch.hub.load", "subprocess.run"])
def test_a_recipe_of_anything_else_is_refused(tmp_path, target):
    make(tmp_path / "a.safetensors")
    checkpoint = read(tmp_path / "a.safetensors")
    checkpoint.meta["model"]["recipe"] = {"_target_": target}
    with pytest.raises(ConfigError):
        build_model(checkpoint)


def test_pretrained_weights_are_not_fetched_again(tmp_path, monkeypatch):
    model = {"_target_": "cnntrain.model.torchvision_classifier.TorchvisionClassifier", "name": "squeezenet1_1", "pretrained": False}
    make(tmp_path / "a.safetensors", model=model, data={**SYNTHETIC, "image_size": 32})
    checkpoint = copy.deepcopy(read(tmp_path / "a.safetensors"))
    checkpoint.meta["model"]["recipe"]["pretrained"] = True

    def refuse(weights):
        raise AssertionError("fetched")

    monkeypatch.setattr("cnntrain.model.torchvision_classifier._read", refuse)
    assert build_model(checkpoint).net is not None


def test_predict_takes_paths_images_pixels_and_lists(stored, tmp_path):
    path, network, dataset = stored
    images, _ = pictures_of(dataset.test)
    image = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    image.save(tmp_path / "a.png")
    predictor = load(path)
    answer = predictor.predict(tmp_path / "a.png", top=3)
    probabilities = logits_of(network, dataset, images[:1]).softmax(1)[0]
    assert [name for name, _ in answer] == [dataset.classes[place] for place in probabilities.argsort(descending=True)[:3]]
    assert [value for _, value in answer] == pytest.approx(probabilities.sort(descending=True).values[:3].tolist(), abs=1e-5)
    for same in (str(tmp_path / "a.png"), image, images[0], images[0] / 255):
        assert predictor.predict(same, top=3) == [(name, pytest.approx(value, abs=1e-5)) for name, value in answer]
    assert predictor.predict([image, images[1]], top=1) == [answer[:1], predictor.predict(images[1], top=1)]
    assert len(predictor.predict(image, top=99)) == 7
    assert predictor.predict([]) == []


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_predict_takes_pil_images_of_any_mode(stored, mode):
    image = Image.new(mode, (20, 10))
    assert len(load(stored[0]).predict(image)) == 5


def test_what_cannot_be_predicted_is_an_error_with_a_fix(stored, tmp_path):
    predictor = load(stored[0])
    (tmp_path / "a.png").write_text("no picture")
    for picture in (tmp_path / "a.png", tmp_path / "none.png", torch.zeros(3, 9, 9), torch.zeros(1, 8, 8)):
        with pytest.raises(DataError) as caught:
            predictor.predict(picture)
        assert caught.value.fix
    with pytest.raises(TypeError, match="int64"):
        predictor(torch.zeros(1, 3, 8, 8, dtype=torch.int64))


def test_only_the_networks_own_tensors_are_its_state(stored):
    assert all(name.startswith("model.") for name in load(stored[0]).state_dict())


def test_a_network_of_five_channels_takes_pixels_but_no_files(tmp_path):
    make(tmp_path / "a.safetensors", data={**SYNTHETIC, "channels": 5}, model=NETWORK)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    predictor = load(tmp_path / "a.safetensors")
    assert predictor(torch.zeros(1, 5, 8, 8)).shape == (1, 7)
    with pytest.raises(DataError, match="5 channels"):
        predictor.predict(tmp_path / "a.png")
