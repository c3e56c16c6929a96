"""Colour, noise, mixup and cutmix against their definitions and torchvision's colour functions."""

import numpy as np
import pytest
import torch

from cnntrain.augment.color import Color, luma, turn_hue
from cnntrain.augment.cutmix import CutMix
from cnntrain.augment.mixup import Mixup
from cnntrain.augment.noise import Noise
from cnntrain.draws import Draws


class Fixed:
    """The four colour draws of each sample."""

    def __init__(self, *rows: tuple[float, ...]) -> None:
        self.rows = torch.tensor(rows)

    def uniform(self, operation: str, columns: int = 1) -> torch.Tensor:
        assert (operation, columns) == ("color", 4)
        return self.rows


def at(step: int, number: int):
    return Draws(0, number).at(0, step, torch.arange(number))


def test_each_colour_change_equals_torchvision():
    """One change at a time, per sample, at the factor that the draw stands for."""
    from torchvision.transforms.v2 import functional

    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    draws = Fixed((0.0, 0.1, 0.2, 0.3), (0.5, 0.6, 0.7, 0.8), (0.9, 0.95, 0.99, 0.0))
    for column, (key, strength, function) in enumerate(
        [
            ("brightness", 0.8, functional.adjust_brightness),
            ("contrast", 0.8, functional.adjust_contrast),
            ("saturation", 3.0, functional.adjust_saturation),
            ("hue", 0.5, functional.adjust_hue),
        ]
    ):
        operation = Color(**({"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0} | {key: strength}))
        result = operation(images, None, draws)[0]
        for sample in range(3):
            u = draws.rows[sample, column].item()
            low = max(0, 1 - strength)
            factor = (2 * u - 1) * strength if key == "hue" else low + u * (1 + strength - low)
            torch.testing.assert_close(result[sample], function(images[sample], factor), rtol=0, atol=2e-5)


def test_grey_pictures_keep_their_hue():
    """Saturation and hue leave a grey picture as it is, in one channel or three."""
    for channels in (1, 3):
        images = torch.rand(4, 1, 5, 5).expand(4, channels, 5, 5)
        operation = Color(brightness=0, contrast=0, saturation=1.0, hue=0.5)
        torch.testing.assert_close(operation(images, None, at(0, 4))[0], images, rtol=0, atol=2e-4)


def test_hue_turns():
    """A third of the circle makes red green; a whole turn changes nothing."""
    red = torch.tensor([0.8, 0.1, 0.1]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(turn_hue(red, torch.full((1, 1, 1, 1), 1 / 3)).flatten(), torch.tensor([0.1, 0.8, 0.1]))
    images = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(turn_hue(images, torch.ones(2, 1, 1, 1)), images)
    assert luma(torch.ones(1, 3, 1, 1)).item() == pytest.approx(0.9999)


def test_noise_has_its_standard_deviation():
    """Mean, deviation and clipping."""
    images = torch.full((64, 3, 16, 16), 0.5)
    added = Noise(std=0.05)(images, None, at(0, 64))[0] - images
    assert abs(added.mean()) < 0.001 and abs(added.std() - 0.05) < 0.001
    clipped = Noise(std=5)(images, None, at(0, 64))[0]
    assert clipped.min() == 0 and clipped.max() == 1


def test_mixup_blends_pictures_and_targets_alike():
    """With pictures that are their own targets, both come out the same; the shares follow Beta(α, α)."""
    shares = []
    for step in range(200):
        targets = torch.eye(8)
        images, labels = Mixup(alpha=0.4)(targets.reshape(8, 8, 1, 1), targets, at(step, 8))
        assert torch.equal(images.reshape(8, 8), labels)
        shares.append(labels.diagonal().min().item())
        # The partners are a permutation: every class keeps its weight in the batch.
        torch.testing.assert_close(labels.sum(0), torch.ones(8))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.09)  # Beta(0.4, 0.4): mean 1/2, standard deviation 0.37
    assert np.std(shares) == pytest.approx(0.37, abs=0.05)


def test_cutmix_weights_are_the_pasted_area():
    """Targets are mixed by the share of pixels that really come from the partner, clipped boxes included."""
    boxes = set()
    for step in range(100):
        targets = torch.eye(6)
        pictures = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1).expand(6, 3, 10, 14)
        images, labels = CutMix(alpha=1.0, p=1)(pictures, targets, at(step, 6))
        for sample in range(6):
            area = torch.bincount(images[sample, 0].flatten().long(), minlength=6) / 140
            torch.testing.assert_close(labels[sample], area)
        boxes.add(round(labels.diagonal().min().item(), 3))
    assert len(boxes) > 20


def test_cutmix_probability():
    """A share p of the batches is mixed."""
    images, targets = torch.rand(6, 1, 8, 8), torch.eye(6)
    mixed = sum(not torch.equal(CutMix(p=0.3)(images, targets, at(step, 6))[0], images) for step in range(300))
    assert 60 < mixed < 115  # 90 less those whose box is empty
