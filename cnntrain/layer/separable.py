"""Convolutions taken apart: by channels and pixels, and by rows and columns.

- Depthwise separable: one F×F filter a channel, then a 1×1 convolution over the channels. H·W·D·F² + H·W·D·K multiply-adds against
  H·W·D·K·F² of the dense convolution D → K. Sifre, Mallat: "Rigid-motion scattering for image classification", 2014 (thesis of Sifre,
  chapter 6.2); Chollet: "Xception", CVPR 2017, arXiv 1610.02357; Howard et al.: "MobileNets", 2017, arXiv 1704.04861.
- Spatially separable: kernels of rank one, a column times a row. 2F weights a kernel against F². Rigamonti, Sironi, Lepetit, Fua:
  "Learning Separable Filters", CVPR 2013, doi 10.1109/CVPR.2013.355.

`cnntrain summary` counts the multiply-adds of a depthwise pair, and those of the dense convolution in its place.
"""

import torch
from torch import Tensor, nn


class DepthwiseSeparable(nn.Module):
    """A depthwise F×F and a pointwise 1×1 convolution, nothing between: (B, in, H, W) → (B, out, H / stride, W / stride), rounded up.

    `kernel` is odd; the padding is half of its span. `bias` is that of the pointwise one (a depthwise bias would only add to it).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, dilation: int = 1, bias: bool = False) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.depthwise = nn.Conv2d(in_channels, in_channels, kernel, stride, padding, dilation, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Depthwise, then pointwise."""
        return self.pointwise(self.depthwise(x))


class SpatiallySeparable(nn.Module):
    """A column F×1 and then a row 1×F for each pair of an input and an output channel: (B, in, H, W) → (B, out, H / stride, W / stride).

    Equals the dense convolution whose kernels are the outer products (:meth:`dense_weight`), with 2F weights a pair in place of F².
    `kernel` is odd; between the two stand in·out maps.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        between, padding = in_channels * out_channels, (kernel - 1) // 2
        self.in_channels, self.out_channels = in_channels, out_channels
        self.column = nn.Conv2d(in_channels, between, (kernel, 1), (stride, 1), (padding, 0), groups=in_channels, bias=False)
        self.row = nn.Conv2d(between, out_channels, (1, kernel), (1, stride), (0, padding), groups=out_channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """All columns, then all rows and their sums over the input channels."""
        x = self.column(x)  # (B, in·out, H / stride, W), an input channel's maps side by side
        x = x.unflatten(1, (self.in_channels, self.out_channels)).transpose(1, 2).flatten(1, 2)  # now an output channel's
        return self.row(x)

    def dense_weight(self) -> Tensor:
        """The same as dense kernels (out, in, F, F): column times row."""
        columns = self.column.weight.unflatten(0, (self.in_channels, self.out_channels))[:, :, 0, :, 0]  # (in, out, F)
        return torch.einsum("iof,oig->oifg", columns, self.row.weight[:, :, 0])
