"""Windows (kernels, pools) that slide over a square map: padding, sizes, and the smallest image that fits a row of them.

A kernel of F pixels at dilation d spans d·(F - 1) + 1 of them (Yu, Koltun: "Multi-Scale Context Aggregation by Dilated Convolutions",
ICLR 2016, arXiv 1511.07122). Paddings have names: `valid` is none (the narrow convolution: W - F + 1 pixels come out), `same` keeps
the size (but for the stride), `full` lets the kernel touch the map with a single pixel (the wide convolution: W + F - 1).
`same` and `valid` are as TensorFlow and Keras define them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from cnntrain.errors import ConfigError


@dataclass(frozen=True)
class Window:
    """A convolution or pool called `name`: `kernel`, `stride`, `dilation` in pixels; `padding` a number a side, or its name."""

    name: str
    kernel: int
    stride: int = 1
    padding: int | str = 0
    dilation: int = 1
    ceil: bool = False  # a pool that also takes what is left at the end, less than its kernel, as torch's `ceil_mode`


def span(kernel: int, dilation: int = 1) -> int:
    """Pixels from a dilated kernel's first to its last: d·(F - 1) + 1."""
    return dilation * (kernel - 1) + 1


def padding_sides(padding: int | str, *, size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """Pixels of padding before and after a map of `size` pixels.

    `valid` is none; `full` is the kernel's span less one on each side. `same` makes the output ceil(size / stride); where the total is
    odd, the side after gets one more (torch's own `same` refuses a stride, and a symmetric number cannot express it).
    """
    if padding == "valid":
        return 0, 0
    if padding == "full":
        return span(kernel, dilation) - 1, span(kernel, dilation) - 1
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + span(kernel, dilation) - size, 0)
        return total // 2, total - total // 2
    return int(padding), int(padding)


def output_size(size: int, *, kernel: int, stride: int = 1, padding: int | str = 0, dilation: int = 1, ceil: bool = False) -> int:
    """Size of the map that comes out: floor((W + P - d(F - 1) - 1) / S) + 1, P the padding of both sides; 0 if the window does not fit.

    `ceil` rounds up; a window that would begin beyond the map and the padding before it is left out, as in torch.
    """
    before, after = padding_sides(padding, size=size, kernel=kernel, stride=stride, dilation=dilation)
    left = size + before + after - span(kernel, dilation)
    if not ceil:
        return left // stride + 1 if left >= 0 else 0
    out = -(-left // stride) + 1
    return max(out - ((out - 1) * stride >= size + before), 0)


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
    wide = span(misfit.kernel, misfit.dilation)
    raise ConfigError(
        f"images of {image_size}x{image_size} are too small for {net}: "
        f"layer {misfit.name} has a {wide}x{wide} window, its map is {size}x{size}",
        where=f"model layer {misfit.name}",
        fix=f"data.image_size={smallest}, the smallest that works",
    )


def _walk(size: int, windows: Callable[[int], Sequence[Window]]) -> tuple[int, Window | None]:
    """The last map's size and None, or the size of the map before the first window that does not fit, and that window."""
    for window in windows(size):
        padding, dilation = window.padding, window.dilation
        out = output_size(size, kernel=window.kernel, stride=window.stride, padding=padding, dilation=dilation, ceil=window.ceil)
        if out < 1:
            return size, window
        size = out
    return size, None
