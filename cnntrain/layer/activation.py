"""Activation functions by name, for a net whose config chooses one.

- `relu`: max(0, x); `leaky_relu`: x, or 0.01·x below 0 (Maas, Hannun, Ng: "Rectifier Nonlinearities Improve Neural Network Acoustic
  Models", ICML workshop 2013); `elu`: x, or e^x - 1 below 0 (Clevert, Unterthiner, Hochreiter 2016, arXiv 1511.07289);
  `gelu`: x·Φ(x), by the error function (Hendrycks, Gimpel 2016, arXiv 1606.08415).
- `sigmoid`, `tanh`, and `scaled_tanh`: 1.7159·tanh(2x/3), through (1, 1) and (-1, -1) with its strongest curvature there
  (LeCun, Bottou, Bengio, Haffner: "Gradient-Based Learning Applied to Document Recognition", 1998, doi 10.1109/5.726791, appendix A).
"""

from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["relu", "leaky_relu", "tanh", "scaled_tanh", "sigmoid", "elu", "gelu"]


class ScaledTanh(nn.Module):
    """1.7159·tanh(2x/3), element by element, any shape."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return 1.7159 * torch.tanh(x * (2 / 3))


def activation(name: Activation, *, inplace: bool = True) -> nn.Module:
    """A new module of that name.

    `inplace` lets relu, leaky_relu and elu write over their input, which saves a map's memory. It fits behind a convolution, a dense layer
    or a norm, whose gradients do not need their own output; not where something else reads the input too.
    """
    match name:
        case "relu":
            return nn.ReLU(inplace=inplace)
        case "leaky_relu":
            return nn.LeakyReLU(inplace=inplace)
        case "elu":
            return nn.ELU(inplace=inplace)
        case "tanh":
            return nn.Tanh()
        case "scaled_tanh":
            return ScaledTanh()
        case "sigmoid":
            return nn.Sigmoid()
        case "gelu":
            return nn.GELU()
