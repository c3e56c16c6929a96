"""Networks of other packages: found by name without importing them."""

import subprocess
import sys

import pytest

from cnntrain.config.elsewhere import built_by
from cnntrain.config.source import find_module

OPTIONS = ["lenet5", "torchvision", "timm"]


def test_every_classifier_of_torchvision_is_found_and_nothing_else():
    from torchvision import models

    names = models.list_models(module=models)
    assert len(names) > 70 and {built_by(name, OPTIONS) for name in names} == {"torchvision"}
    others = {"get_model", "fcn_resnet50", "fasterrcnn_resnet50_fpn", "AlexNet", "list_models", "nothing", "a b", "x.y", "", "resnet18)"}
    assert {built_by(name, ["torchvision"]) for name in others} == {None}
    assert built_by("resnet18", ["lenet5"]) is None


@pytest.mark.skipif(find_module("timm") is None, reason="timm is not installed")
@pytest.mark.parametrize("name", ["convnext_atto", "resnet26", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_those_of_timm_are_found_where_it_is_installed(name):
    assert built_by(name, OPTIONS) == "timm"


def test_nothing_is_imported():
    code = "import sys; from cnntrain.config.elsewhere import built_by as by"
    code += "; print(by('vit_b_16', ['torchvision', 'timm']), by('no_net', ['timm']))"
    code += "; sys.exit(any(name in sys.modules for name in ('torch', 'torchvision', 'timm')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "torchvision None"), done.stderr
