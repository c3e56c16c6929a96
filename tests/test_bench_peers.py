"""``make bench-peers``: its statistics, its clock, and that the peers' nets are cnntrain's own."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from cnntrain.model.cifar_resnet import CifarResNet
from cnntrain.model.lenet import LeNet5

FOLDER = Path(__file__).resolve().parents[1] / "bench" / "peers"


def load(name):
    spec = importlib.util.spec_from_file_location(f"bench_peers_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_spread_is_of_the_rounds_that_gave_a_figure():
    spread = load("ratios").spread
    assert spread([3.0, None, 1.0, 10.0]) == (3.0, 1.0, 10.0)
    assert spread([None, None]) is None


def test_a_ratio_is_taken_within_its_round():
    ratio = load("ratios").ratio
    assert ratio([100.0, 300.0, 50.0], [50.0, 100.0, 100.0]) == (2.0, 0.5, 3.0)  # of the medians it would be 1
    assert ratio([100.0, None, 50.0], [50.0, 100.0, None]) == (2.0, 2.0, 2.0)


def test_lenet5_is_cnntrains():
    own, peers = LeNet5(in_channels=1, num_classes=10, image_size=28), load("nets").lenet5()
    kinds = [type(module) for module in own.modules() if not list(module.children()) and type(module).__name__ != "PixelMajorFlatten"]
    assert kinds == [type(module) for module in peers if not isinstance(module, torch.nn.Flatten)]
    assert [p.shape for p in own.parameters()] == [p.shape for p in peers.parameters()]
    assert own(torch.zeros(2, 1, 28, 28)).shape == peers(torch.zeros(2, 1, 28, 28)).shape


def test_resnet20_is_cnntrains():
    own, peers = CifarResNet(depth=20, in_channels=3, num_classes=10), load("nets").resnet20()
    mine, theirs = own.state_dict(), peers.state_dict()
    assert [value.shape for value in mine.values()] == [value.shape for value in theirs.values()]
    peers.load_state_dict(dict(zip(theirs, mine.values(), strict=True)))
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(own(images), peers(images), rtol=1e-4, atol=1e-4)


def test_the_clock_leaves_the_warm_up_out(monkeypatch, capsys):
    work = load("work")
    now = iter([10.0, 11.0, 12.5, 12.9, 13.3, 13.7, 14.4, 14.6])  # the warm-up ends at 12.5
    monkeypatch.setattr(work.time, "perf_counter", lambda: next(now))
    window = work.Window(seconds=2.0)
    assert [window.step() for _ in range(8)] == [False] * 7 + [True]
    window.tell("torch")
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == 5 and told["images_per_second"] == pytest.approx(5 * work.BATCH / 2.1)
    assert told["memory_mb"] > 10


def test_a_short_window_has_five_steps(monkeypatch):
    work = load("work")
    now = iter([10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0])
    monkeypatch.setattr(work.time, "perf_counter", lambda: next(now))
    window = work.Window(seconds=0.5)
    assert [window.step() for _ in range(8)] == [False] * 7 + [True]


@pytest.mark.parametrize(("seconds", "speed", "steps"), [(8, 128.0, 30), (8, 1280.0, 110), (8, 1300.0, 120)])
def test_cnntrain_gets_whole_rows_of_steps(monkeypatch, seconds, speed, steps):
    monkeypatch.syspath_prepend(str(FOLDER))
    assert load("compare").steps_for(seconds, {"images_per_second": speed}) == steps
