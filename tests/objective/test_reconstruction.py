"""Reconstruction: losses, PSNR and damage against closed forms; every sample counts once."""

import math

import pytest
import torch
from torch import nn

from cnntrain.objective.reconstruction import SHOWN, Reconstruction, psnr

MEAN, STD = [0.4, 0.6], [0.2, 0.5]


def objective(**changes):
    return Reconstruction(num_classes=3, mean=MEAN, std=STD, **changes)


def pictures(number=4, size=6):
    """Pixels in [0, 1], and the same normalised."""
    pixels = torch.rand(number, 2, size, size, generator=torch.Generator().manual_seed(number))
    return pixels, normalised(pixels)


def normalised(pixels):
    mean, std = (torch.tensor(values).reshape(1, 2, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


class Shifted(nn.Module):
    """Gives the input back, brighter by so much of white."""

    def __init__(self, by=0.1):
        super().__init__()
        self.by, self.seen = nn.Parameter(torch.tensor(by)), []

    def forward(self, inputs):
        self.seen.append(inputs)
        return inputs + self.by / torch.tensor(STD).reshape(1, 2, 1, 1)


@pytest.mark.parametrize(("error", "power"), [("squared", 2), ("absolute", 1)])
def test_loss_and_statistics(error, power):
    """The loss is of normalised pixels, channel by channel; the ratio of pixels in [0, 1]."""
    pixels, inputs = pictures()
    pixels *= 0.8  # nothing to be cut off
    goal, model = objective(error=error), Shifted()
    loss, stats = goal(model, normalised(pixels), goal.targets(torch.tensor([0, 1, 2, 0])))
    expected = sum((0.1 / std) ** power for std in STD) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5) and stats["loss_sum"].item() == pytest.approx(4 * expected, rel=1e-5)
    assert stats["psnr_sum"].item() == pytest.approx(4 * 20, rel=1e-5) and stats["count"] == 4
    assert set(goal.means.values()) <= set(stats) and next(iter(goal.means.values())) == "loss_sum"
    loss.backward()
    assert model.by.grad is not None and not stats["loss_sum"].requires_grad and not stats["psnr_sum"].requires_grad


def test_psnr():
    black = torch.zeros(3, 1, 4, 4)
    other = torch.stack([torch.full((1, 4, 4), 0.1), torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    assert psnr(other, black).tolist() == pytest.approx([20, 100, 0])


def test_what_is_outside_of_0_and_1_is_cut_off_for_the_ratio_alone():
    goal = objective()
    white = normalised(torch.ones(1, 2, 4, 4))
    judged = goal.judge(white + 3, white, torch.zeros(1, dtype=torch.int64), seen=0)
    assert judged.figures[1].item() == pytest.approx(100) and judged.figures[0].item() == pytest.approx(9)


def test_damage_is_what_the_network_sees_and_not_what_it_has_to_give():
    torch.manual_seed(0)
    _, inputs = pictures(64, 16)
    goal, model = objective(noise=0.3), Shifted(0.0)
    loss, _ = goal(model, inputs, torch.zeros(64, 3))
    gone = (model.seen[0] == 0).all(1)  # (B, H, W)
    assert gone.double().mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(model.seen[0], inputs * ~gone[:, None]), "all channels of a pixel, and nothing else"
    assert loss.item() == pytest.approx((inputs.square() * gone[:, None]).mean().item(), rel=1e-5)
    clean = objective()
    clean(model, inputs, torch.zeros(64, 3))
    assert torch.equal(model.seen[1], inputs)


def test_damage_comes_from_torchs_generator():
    """Which a checkpoint stores."""
    _, inputs = pictures()
    seen = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = Shifted()
        objective(noise=0.5)(model, inputs, torch.zeros(4, 3))
        seen += model.seen
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])


def evaluation(inputs, outputs, batch_size):
    goal, judged, seen = objective(), [], 0
    for some, made in zip(inputs.split(batch_size), outputs.split(batch_size), strict=True):
        judged.append(goal.judge(made, some, torch.zeros(len(some), dtype=torch.int64), seen=seen))
        seen += len(some)
    return goal.evaluation(judged)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_an_evaluation_counts_every_sample_once(batch_size):
    pixels, inputs = pictures(23)
    made = (pixels + 0.2 * torch.rand(pixels.shape, generator=torch.Generator().manual_seed(9))).clamp(0, 1)
    found = evaluation(inputs, normalised(made), batch_size)
    losses = [(a - b).square().mean().item() for a, b in zip(inputs, normalised(made), strict=True)]
    ratios = [-10 * math.log10((a - b).square().mean().item()) for a, b in zip(pixels, made, strict=True)]
    assert found.metrics == pytest.approx({"loss": sum(losses) / 23, "psnr": sum(ratios) / 23}, rel=1e-5)
    assert len(found) == 23 and found.interval is None
    described = found.describe(["a", "b", "c"])
    worst = [dict(one) for one in described.pop("worst")]
    order = sorted(range(23), key=lambda place: ratios[place])
    assert [one["place"] for one in worst] == order[: len(worst)] and len(worst) == 10
    assert [(one["psnr"], one["loss"]) for one in worst] == [pytest.approx((ratios[k], losses[k]), rel=1e-5) for k in order[:10]]
    given = {"psnr_median": ratios[order[11]], "psnr_lowest": ratios[order[0]]}
    assert described == {"pictures": 23, **found.metrics, **{name: pytest.approx(value, rel=1e-5) for name, value in given.items()}}


@pytest.mark.parametrize("batch_size", [3, 64])
def test_the_first_pictures_are_shown_beside_their_reconstructions(batch_size):
    shown = {}

    class Board:
        def pictures(self, tag, images, step):
            shown[tag, step] = images

    pixels, inputs = pictures(SHOWN + 7)
    evaluation(inputs, normalised(1 - pixels), batch_size).show(Board(), "val", [], 5)
    pairs = shown["val/reconstructions", 5]
    assert pairs.shape == (SHOWN, 2, 6, 12)
    torch.testing.assert_close(pairs, torch.cat([pixels, 1 - pixels], dim=3)[:SHOWN])


def test_a_models_penalty_counts_in_the_loss_alone():
    _, inputs = pictures()
    model = Shifted()
    plain, before = objective()(model, inputs, torch.zeros(4, 3))
    model.penalty = lambda: torch.tensor(2.0)
    loss, after = objective()(model, inputs, torch.zeros(4, 3))
    assert loss.item() == pytest.approx(plain.item() + 2) and torch.equal(before["loss_sum"], after["loss_sum"])


def test_half_precision_is_left_before_the_loss():
    class Half(nn.Module):
        def forward(self, inputs):
            return inputs.bfloat16()

    _, inputs = pictures()
    loss, _ = objective()(Half(), inputs, torch.zeros(4, 3))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx((inputs.bfloat16().float() - inputs).square().mean().item())
