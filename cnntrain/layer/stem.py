"""Which form the first layers of a net have: for ImageNet's pictures, or for CIFAR's.

Nets for ImageNet begin by bringing 224 pixels down to 56: a 7×7 convolution of stride 2, a 3×3 pool of stride 2. A picture of 32×32 would
reach their last stage as a single pixel. So for small pictures they begin with a 3×3 convolution of stride 1 and no pool, as the nets that
the papers have for CIFAR-10 do (He et al. 2016, arXiv 1512.03385, section 4.2; Huang et al. 2017, arXiv 1608.06993, section 3).
"""

from typing import Literal

Stem = Literal["auto", "cifar", "imagenet"]

LARGEST_SMALL = 64  # pixels a side: `auto` takes larger pictures for ImageNet's


def choose_stem(
    stem: Stem,
    image_size: int,
    *,
    small_form: str = "3x3, stride 1, no pooling",
    large_form: str = "7x7, stride 2, 3x3 pool",
    largest_small: int = LARGEST_SMALL,
) -> tuple[bool, dict[str, str]]:
    """Whether it is the form for small pictures, and, where `auto` chose that, the words for the net's `choices`.

    Up to `largest_small` pixels a side `auto` takes the small one; the two forms are described in words.
    """
    small = stem == "cifar" or (stem == "auto" and image_size <= largest_small)
    if stem != "auto":
        return small, {}
    form = small_form if small else large_form
    return small, {"stem": f"{form} (image {image_size} {'<=' if small else '>'} {largest_small})"}
