"""A model of the user's own, with all that draws or remembers: batch norm, dropout, stochastic depth; for pictures of any size."""

import torch
from torch import Tensor, nn

from cnntrain.units import Fraction


class Dropping(nn.Module):
    """(B, C, H, W) → (B, K)."""

    def __init__(self, *, p: Fraction = 0.3, in_channels: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 8, 3, padding=1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.block = nn.Conv2d(8, 8, 3, padding=1)
        self.p = p
        self.drop = nn.Dropout(p)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        kept = torch.rand(len(x), 1, 1, 1) >= self.p if self.training else 1.0 - self.p
        x = x + kept * torch.relu(self.block(x))
        return self.head(self.drop(x.mean((2, 3))))
