"""Convolution as one matrix product over the windows of the map (SPEC L12): a reference for tests."""

import torch.nn.functional as F
from torch import Tensor


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Tensor:
    """What `F.conv2d` computes of (B, C, H, W) and (K, C / groups, h, w): each window is a column, each filter a row."""
    size = (x.shape[2] + 2 * padding - dilation * (weight.shape[2] - 1) - 1) // stride + 1
    columns = F.unfold(x, weight.shape[2:], dilation=dilation, padding=padding, stride=stride)  # (B, C·h·w, L)
    columns = columns.unflatten(1, (groups, -1))  # (B, G, C/G·h·w, L)
    rows = weight.flatten(1).unflatten(0, (groups, -1))  # (G, K/G, C/G·h·w)
    out = (rows @ columns).flatten(1, 2).unflatten(2, (size, -1))  # (B, K, H', W')
    return out if bias is None else out + bias[:, None, None]
