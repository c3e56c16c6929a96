"""Convolutions whose padding has a name, and what torch's convolution is not: a convolution.

`nn.Conv2d` slides its kernel as it stands, which is cross-correlation: y(p) = Σ x(p + q)·k(q). A true convolution, Σ x(p - q)·k(q), is the
same with the kernel turned by 180°; a net that learns its kernels cannot tell them apart.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from cnntrain.layer.window import padding_sides


class Conv1d(nn.Conv1d):
    """torch's convolution of lines, but `padding` may be `same`, `valid` or `full` with any stride and dilation, or a number.

    (B, in, L) → (B, out, L'); for the rest as :class:`Conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, dilation=dilation, groups=groups, bias=bias)
        self.rule = padding

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        x, within = _padded(x, self, self.rule)
        return F.conv1d(x, self.weight, self.bias, self.stride, within, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"{super().extra_repr()}, padding={self.rule!r}"


class Conv2d(nn.Conv2d):
    """torch's convolution, but `padding` may be `same`, `valid` or `full` with any stride and dilation, or a number.

    (B, in, H, W) → (B, out, H', W'), of the sizes that `layer/window.py` gives; `padding` may differ from one size of map to the next.
    Parameters have the names and the start of torch's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, dilation=dilation, groups=groups, bias=bias)
        self.rule = padding

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        x, within = _padded(x, self, self.rule)
        return F.conv2d(x, self.weight, self.bias, self.stride, within, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"{super().extra_repr()}, padding={self.rule!r}"


def _padded(x: Tensor, layer: nn.Conv1d | nn.Conv2d, rule: int | str) -> tuple[Tensor, tuple[int, ...]]:
    """The map, and what padding is left to the convolution: an uneven one is added before it, an even one within it, which is cheaper."""
    sides = [
        padding_sides(rule, size=size, kernel=kernel, stride=stride, dilation=dilation)
        for size, kernel, stride, dilation in zip(x.shape[2:], layer.kernel_size, layer.stride, layer.dilation, strict=True)
    ]
    if all(before == after for before, after in sides):
        return x, tuple(before for before, _ in sides)
    return F.pad(x, [pixels for side in reversed(sides) for pixels in side]), (0,) * len(sides)


def rot180(kernel: Tensor) -> Tensor:
    """A kernel (…, h, w) turned by 180°: cross-correlation with it is true convolution with the kernel."""
    return kernel.flip(-2, -1)
