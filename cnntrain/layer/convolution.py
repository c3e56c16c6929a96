"""A convolution with what follows it, the brick that GoogLeNet and its successors are built of.

Ioffe, Szegedy: "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift", ICML 2015,
arXiv 1502.03167, section 3.2: the norm stands between the convolution and the activation, and takes the place of the bias.
Names of parameters (`conv`, `bn`) and the norm's epsilon (0.001, TensorFlow's default then) are those of torchvision.
"""

from collections.abc import Callable

from torch import Tensor, nn


class ConvNormReLU(nn.Module):
    """Convolution, batch norm, ReLU: (B, in, H, W) → (B, out, H / stride, W / stride), rounded up.

    The map is padded by half the kernel (odd in both directions) on every side; `valid` pads nothing, so that the map shrinks.
    Without `norm` the convolution has a bias instead.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int] = 1,
        *,
        stride: int = 1,
        valid: bool = False,
        norm: bool = True,
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if valid else (height // 2, width // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, (height, width), stride, padding, bias=not norm)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001) if norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """relu(norm(conv(x)))."""
        return self.relu(self.bn(self.conv(x)))


def initialise(net: nn.Module, draw: Callable[[Tensor], object]) -> None:
    """Let `draw` fill the weights of all convolutions and dense layers in place; their biases become 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
