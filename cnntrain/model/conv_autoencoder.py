"""A convolutional autoencoder: pictures to a small code, and back.

Masci, Meier, Cireşan, Schmidhuber: "Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction", ICANN 2011,
doi 10.1007/978-3-642-21735-7_7. Here: the idea, in the form that is common today. The decoder's transposed convolutions are those of
Zeiler, Krishnan, Taylor, Fergus: "Deconvolutional Networks", CVPR 2010, doi 10.1109/CVPR.2010.5539957 (their arithmetic:
Dumoulin, Visin: "A guide to convolution arithmetic for deep learning", 2016, arXiv 1603.07285).

Train it with `objective=reconstruction`. Its `encode` gives the code, `decode` a picture of it.

Deviations:
- Convolutions of stride 2 in place of max pooling; ReLU and batch norm in place of tanh.
- The decoder has weights of its own (the paper turns the encoder's round), and all layers are trained at once, not one after another.
- The transposed convolutions are 4×4 of stride 2: a kernel that the stride divides treats all pixels alike (Odena, Dumoulin, Olah 2016,
  doi 10.23915/distill.00003). They double the size exactly; what is beyond the input's size, where it does not divide, is cut off.
- Starting weights are torch's own; the paper does not say.
"""

from torch import Tensor, nn

from cnntrain.errors import ConfigError
from cnntrain.units import Count


class ConvAutoencoder(nn.Module):
    """Encoder and decoder: (B, C, H, W) → (B, C, H, W), any image size.

    The code has `code_channels` maps of ceil(H / 2^n) × ceil(W / 2^n) pixels, n being the number of `widths`.
    """

    def __init__(self, *, widths: list[Count], code_channels: Count = 16, in_channels: int, image_size: int) -> None:
        super().__init__()
        if not widths:
            raise ConfigError("an autoencoder has one layer at least", where="model.widths", fix="model.widths=[32,64,128]")
        size = -(-image_size // 2 ** len(widths))
        numbers, pixels = code_channels * size**2, in_channels * image_size**2
        self.choices = {"code": f"{code_channels}x{size}x{size} = {numbers:,} numbers of {pixels:,}"}
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for before, after in zip([in_channels, *widths], widths, strict=False):
            down += [nn.Conv2d(before, after, 3, 2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        for before, after in zip(widths[::-1], widths[-2::-1], strict=False):
            up += [nn.ConvTranspose2d(before, after, 4, 2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        deepest = widths[-1]
        self.encoder = nn.Sequential(*down, nn.Conv2d(deepest, code_channels, 1))
        widen = [nn.Conv2d(code_channels, deepest, 1, bias=False), nn.BatchNorm2d(deepest), nn.ReLU(inplace=True)]
        self.decoder = nn.Sequential(*widen, *up, nn.ConvTranspose2d(widths[0], in_channels, 4, 2, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → its reconstruction (B, C, H, W), in the same units (normalised pixels: no activation bounds them)."""
        return self.decode(self.encode(x))[:, :, : x.shape[2], : x.shape[3]]

    def encode(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → code (B, code_channels, ceil(H / 2^n), ceil(W / 2^n))."""
        return self.encoder(x)

    def decode(self, code: Tensor) -> Tensor:
        """Code (B, code_channels, h, w) → (B, C, h·2^n, w·2^n)."""
        return self.decoder(code)
