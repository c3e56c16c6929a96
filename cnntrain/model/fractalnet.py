"""FractalNet: very deep without residuals, by a rule that doubles a block's depth and adds a shallow column beside it.

Larsson, Maire, Shakhnarovich: "FractalNet: Ultra-Deep Neural Networks without Residuals", ICLR 2017, arXiv 1605.07648.
f_1 is a convolution with batch norm and ReLU; f_{C+1}(z) is the mean of f_C(f_C(z)) and another such convolution of z. So a block has C
columns of 1, 2, 4, … 2^(C-1) layers, which meet wherever they end together; blocks follow each other, with 2×2 max pools between.
Here: the nets for CIFAR (five blocks of 64, 128, 256, 512, 512 channels, or a quarter of that) and FractalNet-34 for ImageNet (stem and
classifier of ResNet-34, four blocks of four columns, 128 to 1024 channels); drop-path, half local (15 %), half global; dropout by block;
any one column as a net of its own (`column`), with the weights of the whole.

Deviations:
- Drop-path and the choice between local and global are drawn per sample, not per batch; freeze-path is offered beside it: see
  `layer/drop_path.py`.
- A block's last join comes before its pool; the paper, for convenience, pools each column and joins then, which with means of maxima is
  not quite the same.
- Dropout lies between convolution and batch norm; the paper gives its rates (0 to 40 % by block), not its place.
- A global average precedes the classifier. At 32×32 with five pools, and in the paper's net for ImageNet, it is part of it anyway.
- Convolutions have no bias, which batch norm would take away; weights start as Glorot and Bengio 2010 have them ("Xavier"), uniform.
- The stem of ImageNet's form has batch norm, as ResNet-34's.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from cnntrain.errors import ConfigError
from cnntrain.layer.drop_path import PathJoin, global_columns
from cnntrain.layer.stem import Stem, choose_stem
from cnntrain.units import Count, Decay, Fraction

_MOST_COLUMNS = 8  # 255 convolutions a block; the paper has 6 at most


class FractalNet(nn.Module):
    """Stem (ImageNet's form), fractal blocks with pools, global average, dense layer: (B, C, H, W) → (B, K)."""

    def __init__(
        self,
        *,
        widths: tuple[Count, ...] = (64, 128, 256, 512, 512),
        columns: Count = 3,
        column: Count | None = None,
        drop_path: Decay = 0.15,
        global_share: Fraction = 0.5,
        paths: Literal["drop", "freeze"] = "drop",
        dropout: tuple[Decay, ...] = (0.0, 0.1, 0.2, 0.3, 0.4),
        stem: Stem = "auto",
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        _check(widths, columns, column, dropout)
        small, self.choices = choose_stem(stem, image_size, small_form="none")
        self.columns, self.global_share = columns, global_share
        self.draws = column is None and (drop_path > 0 or global_share > 0)
        self.stem = nn.Identity() if small else _stem(in_channels)
        channels = in_channels if small else 64
        self.blocks, self.pools = nn.ModuleList(), nn.ModuleList()
        for place, (width, rate) in enumerate(zip(widths, dropout, strict=True), start=1):
            join = PathJoin(rate=drop_path, paths=paths)
            self.blocks.append(FractalBlock(channels, width, columns=columns, column=column, dropout=rate, join=join))
            # the ImageNet form's last map, of 7×7 pixels, goes into the global average as it is
            self.pools.append(nn.MaxPool2d(2) if small or place < len(widths) else nn.Identity())
            channels = width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → logits (B, K). Shapes in the comments are those of the CIFAR form at 32 and of FractalNet-34 at 224."""
        x = self.stem(x)  # (B, 3, 32, 32) | (B, 64, 56, 56)
        only = None
        if self.training and self.draws:
            only = global_columns(len(x), columns=self.columns, share=self.global_share, device=x.device)
        for block, pool in zip(self.blocks, self.pools, strict=True):
            x = pool(block(x, only))  # (B, 64, 16, 16), … (B, 512, 1, 1) | (B, 128, 28, 28), … (B, 1024, 7, 7)
        return self.fc(self.flatten(self.avgpool(x)))


class FractalBlock(nn.Module):
    """C columns of 1, 2, 4, … 2^(C-1) layers from the same map, joined wherever several end: (B, in, H, W) → (B, width, H, W).

    With `column` (1 is the shallowest) that one runs alone.
    """

    def __init__(self, in_channels: int, width: int, *, columns: int, column: int | None, dropout: float, join: PathJoin) -> None:
        super().__init__()
        self.column, self.join = column, join
        rows = []
        for depth in range(columns):
            inputs = [in_channels, *[width] * (2**depth - 1)]
            rows.append(nn.ModuleList(_layer(channels, width, dropout) for channels in inputs))
        self.rows = nn.ModuleList(rows)

    def forward(self, x: Tensor, only: Sequence[Tensor] | None = None) -> Tensor:
        """Run all columns, or the one; `only` says which columns stay for which samples (`layer/drop_path.py`), None: all."""
        if self.column is not None:
            for layer in self.rows[self.column - 1]:
                x = layer(x)
            return x
        steps = len(self.rows[-1])  # layers of the deepest column
        maps = [x] * len(self.rows)  # what each column's next layer takes
        for step in range(1, steps + 1):
            # A layer of a column with n of them spans steps / n of the deepest one's: these columns have one that ends here.
            ending = [place for place, layers in enumerate(self.rows) if step * len(layers) % steps == 0]
            outputs = [self.rows[place][step * len(self.rows[place]) // steps - 1](maps[place]) for place in ending]
            joined = self.join(outputs, only) if len(outputs) > 1 else outputs[0]
            for place in ending:
                maps[place] = joined
        return maps[-1]


def _layer(in_channels: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
        nn.Dropout(dropout, inplace=True) if dropout else nn.Identity(),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def _stem(in_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, 64, 7, 2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1)
    )


def _check(widths: tuple[int, ...], columns: int, column: int | None, dropout: tuple[float, ...]) -> None:
    if len(dropout) != len(widths):
        rates = ",".join(str(rate) for rate in [*dropout, *[0.0] * len(widths)][: len(widths)])
        raise ConfigError(
            f"{len(widths)} blocks have {len(dropout)} rates of dropout", where="model.dropout", fix=f"model.dropout=[{rates}]"
        )
    if columns > _MOST_COLUMNS:
        raise ConfigError(
            f"{columns} columns are 2^{columns} - 1 convolutions a block",
            where="model.columns",
            fix=f"model.columns={_MOST_COLUMNS} or fewer",
        )
    if column is not None and column > columns:
        raise ConfigError(f"there is no column {column} of {columns}", where="model.column", fix=f"model.column={columns} (the deepest)")
