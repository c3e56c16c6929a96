"""Any net behind a bank of fixed filters: edges and blurs as its first layer, computed and never trained.

The filters and their sources are in `layer/filters.py`. The net is any of the group `model`: `model=filtered model@model.net=resnet20`.
It is given the filters' responses in place of the picture, or beside it.
"""

from collections.abc import Callable

from torch import Tensor, nn

from cnntrain.errors import ConfigError
from cnntrain.layer.filters import Filter, FixedFilters


class Filtered(nn.Module):
    """Fixed filters, each over each channel, then the net: (B, C, H, W) → what the net gives."""

    def __init__(
        self,
        *,
        filters: list[Filter],
        keep_image: bool = True,
        net: Callable[..., nn.Module],
        in_channels: int,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        if not filters:
            raise ConfigError("a bank without filters", where="model.filters", fix="model.filters=[sobel_x,sobel_y]")
        self.filters = FixedFilters(filters, in_channels, keep_image=keep_image)  # (B, C·n, H, W), or (B, C·(n + 1), H, W)
        self.net = net(in_channels=self.filters.out_channels, num_classes=num_classes, image_size=image_size)
        self.choices: dict[str, str] = dict(getattr(self.net, "choices", {}))
        self.made_for: str = getattr(self.net, "made_for", "")

    def penalty(self) -> Tensor:
        """The net's own, if it has one."""
        own = getattr(self.net, "penalty", None)
        return own() if callable(own) else self.filters.weight.new_zeros(())

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, C, H, W) → the net's output: logits (B, K), in training with those of its auxiliary heads, if it has any."""
        return self.net(self.filters(x))
