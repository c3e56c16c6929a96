"""From a map to a row of numbers, for a dense layer."""

from torch import Tensor, nn


class PixelMajorFlatten(nn.Module):
    """(B, C, H, W) → (B, H·W·C): pixel by pixel, the channels of each side by side, as TensorFlow and Keras order them.

    For a tensor in channels_last format, the default here, this is a view; `nn.Flatten` would copy the whole map, and hand the
    backward pass a gradient of the other format. Measured on 2 shared CPU cores, one run each, forward + backward: CatsDogsCNN at
    300×300 (batch 32) 366 against 619 ms, SimpleConvNet at 28×28 (batch 128) 20 against 26 ms; in contiguous format it costs about a fifth.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Flatten all but the first axis, channels fastest; the values do not depend on the memory format."""
        return x.permute(0, 2, 3, 1).flatten(1)
