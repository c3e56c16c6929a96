"""ResNet-18/34/50/101/152, the residual networks for ImageNet, their common form for small images, and the same without shortcuts.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385, table 1.
Here: the five depths, the shortcuts A, B and C of section 4.1, and with `shortcut: none` the plain nets of section 3.3 (18 and 34 layers),
which the paper shows to train worse the deeper they are. Parameter names are torchvision's: `load_state_dict` takes
torchvision's weights directly, and with `stem: imagenet`, `shortcut: B` the logits are the same.

Deviations:
- `stem: cifar` (and `auto` for images up to 64×64) has a 3×3 convolution of stride 1 and no pooling in place of the 7×7 of stride 2
  and the 3×3 pool: not of the paper, but what everybody means by "ResNet-18 on CIFAR-10"; a 32×32 picture would otherwise reach the
  last stage as a single pixel. (The paper's own nets for CIFAR are in `cifar_resnet.py`.)
- The bottleneck's stride is on its 3×3 convolution, and shortcut A's zeros come last: see `layer/residual.py`.
- A plain net of bottlenecks (50 layers and more) is not in the paper; nothing forbids it.
"""

from typing import Literal

from cnntrain.layer.four_stages import FourStages
from cnntrain.layer.residual import BasicBlock, Bottleneck, Shortcut
from cnntrain.layer.stem import Stem


class ResNet(FourStages):
    """Stem, four stages of residual blocks, global average, dense layer: (B, C, H, W) → (B, K), any image size.

    Raises:
        ConfigError: `zero_init_residual` without shortcuts.
    """

    def __init__(
        self,
        *,
        depth: Literal[18, 34, 50, 101, 152],
        shortcut: Shortcut = "B",
        stem: Stem = "auto",
        zero_init_residual: bool = False,
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__(
            BasicBlock if depth < 50 else Bottleneck,
            depth,
            shortcut=shortcut,
            stem=stem,
            zero_init_residual=zero_init_residual,
            in_channels=in_channels,
            num_classes=num_classes,
            image_size=image_size,
        )
