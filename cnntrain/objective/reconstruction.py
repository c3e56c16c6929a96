"""Reconstruction: a network is to give back the picture that it is shown, as an autoencoder does.

Vincent, Larochelle, Bengio, Manzagol: "Extracting and Composing Robust Features with Denoising Autoencoders", ICML 2008,
doi 10.1145/1390156.1390294: with `noise` the network sees a damaged picture and is to give the whole one.

The wanted picture is the network's own input (augmented, normalised) before it is damaged. The error is taken on normalised pixels, so that
channels that vary little count as much as others. PSNR is of pixels in [0, 1], what is outside cut off, and the mean over the pictures.
Labels are not looked at, nor is the group `loss`.

Deviations: each pixel is damaged with the probability `noise`, in all its channels; the paper damages a fixed number of components, one by
one. A damaged pixel is the data's mean colour (0 of normalised pixels), in the paper black. Evaluation shows whole pictures.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from cnntrain.units import Decay

SHOWN = 16  # pictures for TensorBoard
WORST = 10  # pictures that a closer look names
LEAST_ERROR = 1e-10  # mean squared error of a picture that counts as none: 100 dB


class Judged(NamedTuple):
    """Of a batch: loss and PSNR of each sample, float32 (2, B), and of the first samples picture | reconstruction, (n, C, H, 2W)."""

    figures: Tensor
    pairs: Tensor


class Reconstruction:
    """The mean error of the reconstructed pixels; `squared` is the usual one, `absolute` blurs less."""

    outputs: ClassVar[str] = "images"
    means: ClassVar[dict[str, str]] = {"loss": "loss_sum", "psnr": "psnr_sum"}

    def __init__(
        self,
        *,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        error: Literal["squared", "absolute"] = "squared",
        noise: Decay = 0.0,
        monitor: Literal["loss", "psnr"] = "loss",
    ) -> None:
        self.num_classes, self.error, self.noise, self.monitor = num_classes, error, noise, monitor
        self._mean, self._std = (torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1) for values in (mean, std))

    def targets(self, labels: Tensor) -> Tensor:
        """Class numbers int64 (B,) to class probabilities float32 (B, K), which some augmentations change along with the pictures."""
        return torch.zeros(len(labels), self.num_classes, device=labels.device).scatter_(1, labels[:, None], 1.0)

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor | int]]:
        """Inputs (B, C, H, W) to the mean loss and the batch's sums; ``targets`` are not used.

        The damage is drawn from torch's global generator, which is what a checkpoint stores.
        """
        outputs = model(self._damaged(inputs) if self.noise else inputs)
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))  # of half precision: the loss is a difference
        losses = self._losses(outputs, inputs)  # (B,)
        total = losses.mean()
        if callable(penalty := getattr(model, "penalty", None)):
            total = total + penalty()
        ratios = psnr(self._pixels(outputs.detach()), self._pixels(inputs))
        return total, {"loss_sum": losses.detach().sum(), "psnr_sum": ratios.sum(), "count": len(inputs)}

    def judge(self, outputs: Tensor, inputs: Tensor, labels: Tensor, *, seen: int) -> Judged:
        """Loss and PSNR of each picture, from reconstructions and pictures (B, C, H, W); a split's first ones are kept to be shown."""
        found, wanted = self._pixels(outputs), self._pixels(inputs)
        few = max(SHOWN - seen, 0)
        pairs = torch.cat([wanted[:few], found[:few]], dim=3)
        return Judged(torch.stack([self._losses(outputs, inputs), psnr(found, wanted)]), pairs)

    def evaluation(self, judged: list[Judged]) -> "ReconstructionEvaluation":
        """Metrics over the samples of all batches."""
        losses, ratios = torch.cat([batch.figures for batch in judged], dim=1).cpu().double()
        return ReconstructionEvaluation(losses, ratios, torch.cat([batch.pairs for batch in judged]).cpu())

    def _losses(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """The mean error of each sample: (B,)."""
        difference = outputs - inputs
        errors = difference.square() if self.error == "squared" else difference.abs()
        return errors.mean(dim=(1, 2, 3))

    def _damaged(self, inputs: Tensor) -> Tensor:
        """The pictures without a share of their pixels."""
        kept = torch.rand_like(inputs[:, :1]) >= self.noise  # (B, 1, H, W)
        return inputs * kept

    def _pixels(self, images: Tensor) -> Tensor:
        """Normalised pixels (B, C, H, W) as they were, in [0, 1]."""
        if self._mean.device != images.device:
            self._mean, self._std = (values.to(images.device) for values in (self._mean, self._std))
        return torch.addcmul(self._mean, images, self._std).clamp(0, 1)


class ReconstructionEvaluation:
    """What is said of N reconstructions: ``losses`` and ``ratios`` (PSNR in dB) float64 (N,); ``pairs`` (n, C, H, 2W) to be shown."""

    interval = None

    def __init__(self, losses: Tensor, ratios: Tensor, pairs: Tensor) -> None:
        self.losses, self.ratios, self.pairs = losses, ratios, pairs
        self.metrics = {"loss": losses.mean().item(), "psnr": ratios.mean().item()}

    def __len__(self) -> int:
        return len(self.losses)

    def describe(self, classes: Sequence[str]) -> dict[str, Any]:
        """The metrics, and the worst pictures by their places in the split; nothing hangs on the classes."""
        worst = self.ratios.argsort()[:WORST].tolist()
        return {
            "pictures": len(self),
            **self.metrics,
            "psnr_median": self.ratios.median().item(),
            "psnr_lowest": self.ratios.min().item(),
            "worst": [{"place": k, "psnr": self.ratios[k].item(), "loss": self.losses[k].item()} for k in worst],
        }

    def show(self, board: Any, part: str, classes: Sequence[str], step: int) -> None:
        """TensorBoard gets pictures, each beside its reconstruction."""
        board.pictures(f"{part}/reconstructions", self.pairs, step)


def psnr(images: Tensor, wanted: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1] (B, C, H, W): (B,) of 10·log10(1 / mean squared error), 100 at most."""
    return -10 * torch.log10((images - wanted).square().mean(dim=(1, 2, 3)).clamp(min=LEAST_ERROR))
