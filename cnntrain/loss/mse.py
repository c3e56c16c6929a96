"""Squared error over one-of-c targets (Bouvrie, *Notes on Convolutional Neural Networks*, 2006, section 2)."""

from typing import Literal

import torch


class SquaredError:
    """``½·Σ_k (t_k - y_k)²`` per sample, y being what the model puts out.

    ``targets`` are 0 and 1 (outputs of a sigmoid) or -1 and +1 (of a tanh). Class probabilities p become p or 2p - 1.
    """

    def __init__(self, *, targets: Literal["zero_one", "plus_minus"] = "zero_one") -> None:
        self.targets = targets

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Outputs (B, K) and class probabilities (B, K) to losses (B,)."""
        if self.targets == "plus_minus":
            targets = 2 * targets - 1
        return (logits - targets).square().sum(1) / 2
