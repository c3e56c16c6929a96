"""Made-up pictures for tests and for throughput (SPEC D5): a smooth pattern a class, under noise, so that a net can learn them."""

import torch

from cnntrain import draws
from cnntrain.data.dataset import Data, Source
from cnntrain.data.split import Split
from cnntrain.units import Count, Decay, Fraction, NonNegative, Positive


def synthetic(
    *,
    classes: Count = 10,
    image_size: Count = 32,
    channels: Count = 3,
    samples: Count = 2048,
    test_samples: Count = 512,
    noise: NonNegative = 1.0,
    val: Decay = 0.1,
    mean: list[Fraction] | None = None,
    std: list[Positive] | None = None,
    seed: int,
) -> Data:
    """``samples`` training pictures of ``image_size`` a side, the classes in turn; ``noise`` is in units of the patterns' own deviation."""

    def read(part: str) -> Split:
        number = samples if part == "train" else test_samples
        source = draws.generator(seed, "synthetic", "patterns")
        coarse = torch.randn(classes, channels, 4, 4, generator=source, dtype=torch.float64)
        patterns = torch.nn.functional.interpolate(coarse, size=(image_size, image_size), mode="bilinear", align_corners=False).float()
        labels = torch.arange(number) % classes
        images = torch.empty(number, channels, image_size, image_size, dtype=torch.uint8)
        source = draws.generator(seed, "synthetic", part)
        for rows in torch.arange(number).split(1024):  # in pieces: the noise is four times the bytes
            grain = torch.randn(len(rows), channels, image_size, image_size, generator=source)
            images[rows] = (127.5 + 40 * (patterns[labels[rows]] + noise * grain)).round().clamp(0, 255).to(torch.uint8)
        return Split(images, labels)

    counts = [len(range(k, samples, classes)) for k in range(classes)]
    names = [f"class{k}" for k in range(classes)]
    return Data(Source("synthetic", names, channels, image_size, read, counts=counts), val=val, mean=mean, std=std, seed=seed)
