"""Windows (kernels, pools) that slide over a square map: padding, sizes, and the smallest image that fits a row of them.

SPEC L2; `same` and `valid` as TensorFlow and Keras define them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from cnntrain.errors import ConfigError


@dataclass(frozen=True)
class Window:
    """A convolution or pool called `name`: `kernel` and `stride` in pixels, `padding` a number a side, `same` or `valid`."""

    name: str
    kernel: int
    stride: int = 1
    padding: int | str = 0


def padding_sides(padding: int | str, *, size: int, kernel: int, stride: int = 1) -> tuple[int, int]:
    """Pixels of padding before and after a map of `size` pixels.

    `valid` is none. `same` makes the output ceil(size / stride); where the total is odd, the side after gets one more (torch's own
    `same` refuses a stride, and a symmetric number cannot express it).
    """
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2
    return int(padding), int(padding)


def output_size(size: int, *, kernel: int, stride: int = 1, padding: int | str = 0) -> int:
    """Size of the map that comes out: floor((W - F + P) / S) + 1 with P the padding of both sides; 0 if the window does not fit."""
    padded = size + sum(padding_sides(padding, size=size, kernel=kernel, stride=stride))
    return (padded - kernel) // stride + 1 if padded >= kernel else 0


def final_map_size(image_size: int, windows: Callable[[int], Sequence[Window]], *, net: str) -> int:
    """Size of the last map of `windows(image_size)`, for a dense layer that must know it.

    `windows` is asked again with larger sizes to find the smallest that works, so it may depend on the size.

    Raises:
        ConfigError: a map is smaller than the window over it; names the layer and the smallest image size that works.
    """
    size, misfit = _walk(image_size, windows)
    if misfit is None:
        return size
    smallest = next(larger for larger in count(image_size + 1) if _walk(larger, windows)[1] is None)
    raise ConfigError(
        f"images of {image_size}x{image_size} are too small for {net}: "
        f"layer {misfit.name} has a {misfit.kernel}x{misfit.kernel} window, its map is {size}x{size}",
        where=f"model layer {misfit.name}",
        fix=f"use images of at least {smallest}x{smallest} pixels",
    )


def _walk(size: int, windows: Callable[[int], Sequence[Window]]) -> tuple[int, Window | None]:
    """The last map's size and None, or the size of the map before the first window that does not fit, and that window."""
    for window in windows(size):
        out = output_size(size, kernel=window.kernel, stride=window.stride, padding=window.padding)
        if out < 1:
            return size, window
        size = out
    return size, None
