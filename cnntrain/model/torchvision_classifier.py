"""Any classifier of torchvision by name, with or without its trained weights, for any number of channels and classes.

The networks and their papers: https://docs.pytorch.org/vision/stable/models.html#classification. They are torchvision's own code; here
is what fits them to a run:
- `num_classes` goes through torchvision's own argument. With `pretrained`, all layers whose shape hangs on the number of classes (the
  head, and auxiliary heads) start anew if it is not the 1000 of the weights.
- `in_channels` other than 3: the first convolution is replaced. From scratch its weights are drawn with the old one's deviation times
  sqrt(3 / C), which keeps the variance of its outputs. With `pretrained` each channel gets the sum of the RGB kernels divided by
  C, so that a grey picture (C = 1, or copied to all channels) answers as it would have in RGB.
- Vision transformers are built for the run's image size; with `pretrained` their position embedding is interpolated to it.
- googlenet and inception_v3 give (logits, *auxiliary logits) in training, not torchvision's named tuple.

Deviations from torchvision:
- `transform_input` of the pretrained googlenet and inception_v3 (inputs normalised as for ImageNet → as for these two) is kept in two
  buffers here, so that a checkpoint carries it; for other than 3 channels it is the mean over RGB.
- Weight files are read with `weights_only=True`, and also those downloaded before are checked against the sha256 in their name.
"""

import difflib
import hashlib
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnntrain.errors import ConfigError, DataError

# normalised for ImageNet → the [-1, 1] that Google's two nets were trained with, as in torchvision's `transform_input`
_GOOGLE_SCALE = [0.229 / 0.5, 0.224 / 0.5, 0.225 / 0.5]
_GOOGLE_SHIFT = [(0.485 - 0.5) / 0.5, (0.456 - 0.5) / 0.5, (0.406 - 0.5) / 0.5]
_GOOGLE_NETS = ("googlenet", "inception_v3")


class TorchvisionClassifier(nn.Module):
    """torchvision's classifier `name`: (B, C, H, W) → (B, K); in training (logits, *auxiliary logits) where the net has such heads.

    Raises:
        ConfigError: no such classifier, or one that cannot take this image size.
        DataError: the trained weights cannot be had, or are damaged.
    """

    def __init__(
        self, *, name: str, pretrained: bool = False, auxiliary: bool = True, in_channels: int, num_classes: int, image_size: int
    ) -> None:
        super().__init__()
        _check_name(name)
        self.choices: dict[str, str] = {}
        self.net = _build(name, auxiliary=auxiliary, num_classes=num_classes, image_size=image_size)
        first = next(key for key, module in self.net.named_modules() if isinstance(module, nn.Conv2d))
        if in_channels != 3:
            self.net.set_submodule(first, _for_channels(self.net.get_submodule(first), in_channels))
            self.choices["first layer"] = f"{first} takes {in_channels} channel{'s' if in_channels > 1 else ''} in place of 3"
        if name in _GOOGLE_NETS:
            self.register_buffer("input_scale", torch.ones(in_channels, 1, 1))
            self.register_buffer("input_shift", torch.zeros(in_channels, 1, 1))
        # on the meta device there is nothing to load into
        if pretrained and not self.net.get_submodule(first).weight.is_meta:
            self._load_trained(name, first, in_channels=in_channels, image_size=image_size)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, C, H, W) → logits (B, K), or (logits, *auxiliary logits)."""
        if hasattr(self, "input_scale"):
            x = x * self.input_scale + self.input_shift
        out = self.net(x)
        if isinstance(out, Tensor):
            return out
        logits, *auxiliary = (part for part in out if part is not None)
        return (logits, *auxiliary) if auxiliary else logits

    def _load_trained(self, name: str, first: str, *, in_channels: int, image_size: int) -> None:
        """Put torchvision's best weights into the net; what hangs on the number of classes stays new if that differs."""
        from torchvision.models import get_model_weights

        weights = get_model_weights(name).DEFAULT
        state, own = _read(weights), self.net.state_dict()
        _rename(state, name=name, net=self.net, image_size=image_size)
        kernel = state[f"{first}.weight"]
        if in_channels != 3:
            state[f"{first}.weight"] = (kernel.sum(dim=1, keepdim=True) / in_channels).repeat(1, in_channels, 1, 1)
        classes = len(weights.meta["categories"])
        heads = {key for key in state if key in own and state[key].shape != own[key].shape and state[key].shape[:1] == (classes,)}
        unused = {key for key in state if key.lower().startswith("aux") and key not in own}
        for key in heads | unused:
            del state[key]
        missing, unexpected = self.net.load_state_dict(state, strict=False)
        if set(missing) != heads or unexpected:
            raise DataError(
                f"the weights {weights} do not fit this torchvision's {name}",
                where="model.pretrained",
                fix="install the torch and torchvision that belong together, or model.pretrained=false",
            )
        self.choices["weights"] = str(weights)
        if heads:
            self.choices["new layers"] = ", ".join(sorted({key.rpartition(".")[0] for key in heads}))
        if name in _GOOGLE_NETS:
            scale, shift = torch.tensor(_GOOGLE_SCALE), torch.tensor(_GOOGLE_SHIFT)
            self.input_scale.copy_((scale if in_channels == 3 else scale.mean().expand(in_channels))[:, None, None])
            self.input_shift.copy_((shift if in_channels == 3 else shift.mean().expand(in_channels))[:, None, None])


def _check_name(name: str) -> None:
    """Raise ConfigError, with the nearest names, if torchvision has no such classifier."""
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        raise ConfigError(
            f"torchvision has no classifier '{name}'" + (f" (did you mean {' or '.join(near)}?)" if near else ""),
            where="model.name",
            fix=f"model.name={near[0]}" if near else "a name such as resnet50, efficientnet_b0, convnext_tiny, vit_b_16",
        )


def _build(name: str, *, auxiliary: bool, num_classes: int, image_size: int) -> nn.Module:
    """The net with fresh weights, for this number of classes and, where it matters to the net, this image size."""
    from torchvision.models import get_model

    special: dict[str, Any] = {}
    step, layer = 1, ""
    if name in _GOOGLE_NETS:  # without the second, torchvision warns of a default that will change
        special = {"aux_logits": auxiliary, "init_weights": True}
    elif name.startswith("vit_"):
        special, layer = {"image_size": image_size}, "conv_proj"
        step = int(name.rpartition("_")[2])  # vit_b_16: patches of 16 pixels
    elif name == "maxvit_t":
        special, layer = {"input_size": (image_size, image_size)}, "blocks"
        step = 224  # windows of 7 pixels on maps down to 1/32
    if image_size % step:
        fitting = -(-image_size // step) * step
        raise ConfigError(
            f"{name} takes images whose size is a multiple of {step} pixels, not {image_size}x{image_size}",
            where=f"model layer {layer}",
            fix=f"data.image_size={fitting}",
        )
    return get_model(name, weights=None, num_classes=num_classes, **special)


def _for_channels(old: nn.Module, in_channels: int) -> nn.Conv2d:
    """A convolution like `old` (of 3 channels) for `in_channels`, with weights whose outputs have the same variance."""
    assert isinstance(old, nn.Conv2d)
    new = nn.Conv2d(in_channels, old.out_channels, old.kernel_size, old.stride, old.padding, old.dilation, old.groups, old.bias is not None)
    with torch.no_grad():
        new.weight.copy_(torch.randn_like(new.weight) * old.weight.std() * math.sqrt(old.in_channels / in_channels))
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    return new


def _read(weights: Any) -> dict[str, Tensor]:
    """The state dict of a torchvision weights entry, downloaded on first use, checked against the sha256 that its file name begins."""
    file = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
    by_hand = f"download {weights.url} to {file}, or model.pretrained=false"
    digest = re.search(r"-([0-9a-f]{8,})\.", file.name)
    if digest and file.is_file():
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if not found.startswith(digest[1]):
            raise DataError(f"{file} is damaged: its sha256 begins {found[:8]}", where="model.pretrained", fix=f"delete it, then {by_hand}")
    try:
        return weights.get_state_dict(progress=True, check_hash=True, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError) as error:  # no network or refused (URLError is an OSError), no space; a sum that is wrong
        raise DataError(f"the weights {weights} could not be downloaded: {error}", where="model.pretrained", fix=by_hand) from error


def _rename(state: dict[str, Tensor], *, name: str, net: nn.Module, image_size: int) -> None:
    """Bring an older file's names and a position embedding of another image size to the net's, in place (keeps the file's versions)."""
    if name.startswith("densenet"):  # written when `norm.1` was a valid name of a layer
        for key in list(state):
            state[re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)] = state.pop(key)
    elif name.startswith("vit_"):
        from torchvision.models.vision_transformer import interpolate_embeddings

        interpolate_embeddings(image_size, net.patch_size, state)
