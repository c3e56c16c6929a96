"""Any classifier of timm by name, with or without its trained weights, for any number of channels and classes.

Wightman: "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models, doi 10.5281/zenodo.4414861; each network's paper is
named in its source there. They are timm's own code (the extra `timm` of cnntrain's installation); here is what fits them to a run:
- `num_classes` and `in_channels` go through timm's own arguments. With `pretrained` the classifier starts anew if its number of classes
  is not that of the weights, and the first convolution's kernels are summed or repeated over the channels, as timm does it.
- Nets that are built for one image size (vision transformers, Swin, MaxViT, mixers …) are built for the run's; what hangs on the size in
  their trained weights is interpolated by timm.
- A name may have a tag for the weights, as timm has it: `resnet50.a1_in1k`. Only timm's own names are taken, no address of a hub or folder.
- Outputs beside the logits, which a few nets give in training, become auxiliary logits.
"""

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from cnntrain.errors import ConfigError, DataError


class TimmClassifier(nn.Module):
    """timm's classifier `name`: (B, C, H, W) → (B, K); in training (logits, *auxiliary logits) where the net has such heads.

    Raises:
        ConfigError: timm is not installed, or has no such classifier or weights.
        DataError: the trained weights cannot be had.
    """

    def __init__(self, *, name: str, pretrained: bool = False, in_channels: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        timm = _timm()
        _check_name(timm, name)
        given: dict[str, Any] = {"in_chans": in_channels, "num_classes": num_classes}
        described = timm.models.get_pretrained_cfg(name)
        self.choices: dict[str, str] = {}
        if described is not None and described.fixed_input_size:
            given["img_size"] = image_size
            self.choices["image size"] = f"built for {image_size}x{image_size}"
        # on the meta device there is nothing to load into
        self.net: nn.Module = _trained(timm, name, given) if pretrained and not torch.empty(0).is_meta else timm.create_model(name, **given)
        if pretrained:
            self.choices["weights"] = f"{described.architecture}.{described.tag}" if described.tag else name
            if described.num_classes != num_classes:
                heads = described.classifier if isinstance(described.classifier, tuple | list) else [described.classifier]
                self.choices["new layers"] = ", ".join(map(str, heads))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, C, H, W) → logits (B, K), or (logits, *auxiliary logits)."""
        out = self.net(x)
        return out if isinstance(out, Tensor) else tuple(out)


def _timm() -> Any:
    """The package."""
    try:
        import timm
    except ImportError as error:
        raise ConfigError(f"timm is not there: {error}", where="model", fix="pip install 'timm>=1.0'") from error
    return timm


def _check_name(timm: Any, name: str) -> None:
    """Raise ConfigError, with the nearest names, if timm has no such classifier, or no weights of that tag."""
    network, _, tag = name.partition(".")
    known = timm.is_model(network)
    tagged = [each for each in timm.list_models(pretrained=True) if each.startswith(f"{network}.")] if known and tag else []
    if known and (not tag or name in tagged):
        return
    near = difflib.get_close_matches(name.lower(), tagged or timm.list_models(), n=3, cutoff=0.5)
    raise ConfigError(
        f"timm has no classifier '{name}'" + (f" (did you mean {' or '.join(near)}?)" if near else ""),
        where="model.name",
        fix=f"model.name={near[0]}" if near else "model.name=resnet50, or another of timm.list_models()",
    )


def _trained(timm: Any, name: str, given: dict[str, Any]) -> nn.Module:
    """The net with its trained weights, downloaded on first use."""
    if not timm.models.is_model_pretrained(name):
        raise ConfigError(f"timm has no trained weights of '{name}'", where="model.pretrained", fix="model.pretrained=false")
    try:
        return timm.create_model(name, pretrained=True, **given)
    except Exception as error:  # of timm, its hub and the client beneath, which share no kind of their own
        raise DataError(
            f"timm's weights of '{name}' could not be had: {(str(error) or type(error).__name__).splitlines()[0]}",
            where="model.pretrained",
            fix="check the network (the file is kept after its first download), or model.pretrained=false",
        ) from error
