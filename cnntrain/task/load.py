"""From a checkpoint to a network that can be used, with nothing but that file: ``cnntrain.load("best.safetensors")``."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnntrain.config.recipe import FACTS, Recipe, check, moved
from cnntrain.data.decode import Rules, UnreadableError, decode, pillow_rules
from cnntrain.engine import checkpoint as checkpoints
from cnntrain.engine.checkpoint import Checkpoint
from cnntrain.engine.evaluation import evaluating
from cnntrain.engine.machine import Machine
from cnntrain.engine.state import judged_prefix, load_weights
from cnntrain.engine.trace import build_unfilled
from cnntrain.engine.views import Views, averaged
from cnntrain.errors import CheckpointError, ConfigError, DataError, OutOfMemoryError
from cnntrain.task.assemble import unfetched
from cnntrain.task.outcome import flatten


class Predictor(nn.Module):
    """A trained network with its preprocessing: pixels, uint8 or float in [0,1] (B,C,H,W) → logits (B,K), or what else it gives.

    ``rules`` say how a picture file is brought to the network's size and channels: as the data it was trained on were. ``tta`` names the
    views of a picture whose outputs are averaged.
    """

    byte_scale: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        rules: Rules,
        tta: Views = "none",
    ) -> None:
        super().__init__()
        self.model, self.rules, self.tta = model, rules, tta
        self.classes, self.mean, self.std = list(classes), list(mean), list(std)
        # The same arithmetic as engine/inputs.py, as buffers: they go where the module goes, and into what it is exported to.
        centre, spread = (torch.tensor(values, dtype=torch.float64).reshape(1, -1, 1, 1) for values in (self.mean, self.std))
        self.register_buffer("byte_scale", (1 / (255 * spread)).float(), persistent=False)
        self.register_buffer("scale", (1 / spread).float(), persistent=False)
        self.register_buffer("offset", (-centre / spread).float(), persistent=False)

    @property
    def image_size(self) -> int:
        """Height and width of the pixels that the network takes."""
        return self.rules.image_size

    @property
    def in_channels(self) -> int:
        """Channels of the pixels that the network takes."""
        return self.rules.channels

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B,K), or an autoencoder's normalised pixels (B,C,H,W), of pixels, uint8 or float in [0,1], of the network's size."""
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise TypeError(f"pixels are uint8 or floats in [0, 1], not {images.dtype}")
        scale = self.byte_scale if images.dtype == torch.uint8 else self.scale
        return averaged(self.model, torch.addcmul(self.offset, images.to(self.offset.dtype), scale), self.tta)

    def predict(self, pictures: Any, top: int = 5) -> Any:
        """The likeliest classes of a picture, [(class, probability), …], best first; of a list of pictures, a list of these.

        A picture is a path, a PIL image, or pixels (C,H,W), uint8 or float in [0,1], of the network's image size.

        Raises:
            DataError: a file cannot be read as a picture, pixels do not have the network's size, or the network knows no classes.
        """
        if not isinstance(pictures, list | tuple):
            return self.predict([pictures], top)[0]
        return [self.rank(self.probabilities(self.pixels(picture)[None]), top)[0] for picture in pictures]

    def outputs(self, images: Tensor) -> Tensor:
        """What the network gives in evaluation mode, without gradients: float32 on the CPU, from pixels (B,C,H,W) on any device."""
        with evaluating(self), torch.no_grad():
            return self(images.to(self.offset.device)).float().cpu()

    def probabilities(self, images: Tensor) -> Tensor:
        """Softmax of the logits: float32 (B,K) on the CPU, from pixels (B,C,H,W) on any device.

        Raises:
            DataError: the network knows no classes.
        """
        logits = self.outputs(images)
        if logits.dim() != 2:
            raise DataError("This network gives pictures, not classes", fix="call reconstruct(pixels (B,C,H,W)) for them")
        return logits.softmax(dim=1)

    def reconstruct(self, images: Tensor) -> Tensor:
        """An autoencoder's pictures: float32 in [0,1] (B,C,H,W) on the CPU, from pixels (B,C,H,W) on any device.

        Raises:
            DataError: the network gives no pictures.
        """
        outputs = self.outputs(images)
        if outputs.shape != images.shape:
            raise DataError("This network gives no pictures", fix="call predict(picture) for its classes")
        return self.as_pixels(outputs)

    def as_pixels(self, normalised: Tensor) -> Tensor:
        """Normalised pixels (B,C,H,W) on the CPU as fractions of white, in [0,1]."""
        mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (self.mean, self.std))
        return torch.addcmul(mean, normalised, std).clamp(0, 1)

    def rank(self, probabilities: Tensor, top: int) -> list[list[tuple[str, float]]]:
        """Of each row of probabilities (B,K), the ``top`` likeliest classes, best first."""
        values, places = probabilities.topk(min(top, len(self.classes)), dim=1)
        return [
            [(self.classes[place], value) for place, value in zip(*row, strict=True)]
            for row in zip(places.tolist(), values.tolist(), strict=True)
        ]

    def pixels(self, picture: Any) -> Tensor:
        """One picture as the network takes it: uint8 (C,H,W) of a file or PIL image; a tensor as it is.

        Raises:
            DataError: it cannot be read, or has another size.
        """
        if isinstance(picture, Tensor):
            shape = (self.in_channels, self.image_size, self.image_size)
            if picture.shape != shape:
                raise DataError(
                    f"Pixels are {tuple(picture.shape)}, the network takes {shape}", fix="resize them, or give a path or a PIL image"
                )
            _check_range(picture)
            return picture
        if isinstance(picture, str | Path):
            with pillow_rules():
                return read_picture(picture, self.rules)
        # By way of a file, so that nothing about a picture depends on who opened it.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "picture.png")
            image = picture if picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else picture.convert("RGB")
            image.save(path, exif=picture.getexif())
            return self.pixels(path)


def _check_range(pixels: Tensor) -> None:
    """Floats are fractions, give or take what resizing overshoots by: in any other range the network would answer, but nonsense.

    Raises:
        DataError: they are not finite, or were normalised already, or are bytes as floats.
    """
    low, high = (0.0, 1.0) if pixels.dtype == torch.uint8 else (pixels.min().item(), pixels.max().item())
    if not (low >= -0.1 and high <= 1.1):  # NaN, too, is neither
        raise DataError(
            f"Pixels are {pixels.dtype} from {low:.3g} to {high:.3g}, not in [0, 1]", fix="give them as uint8 or fractions, not normalised"
        )


def read_picture(path: str | Path, rules: Rules) -> Tensor:
    """The pixels of a file, uint8 (C,S,S), or (C,H,W) where the rules leave it its size. To be called within ``pillow_rules()``.

    Raises:
        DataError: it cannot be read as a picture, or the network takes neither grey nor colour.
    """
    if rules.channels not in (1, 3):
        raise DataError(
            f"The network takes {rules.channels} channels, a picture file has 1 or 3", fix="give it pixels in Python: cnntrain.load(…)"
        )
    try:
        pixels, _ = decode(path, rules)
    except UnreadableError as error:
        raise DataError(f"{path} cannot be read as a picture: {error}", fix="give a whole picture file") from error
    return torch.from_numpy(pixels.copy())  # Pillow's memory is read-only


def load(checkpoint: str | Path, *, device: torch.device | str = "cpu", trust: Sequence[str] = (), tta: Views | None = None) -> Predictor:
    """The network of a checkpoint with its judged weights (the average's, if the run kept one), in evaluation mode.

    ``trust`` lists modules outside cnntrain that the checkpoint's config may name. ``tta`` names the views of a picture whose logits are
    averaged (``none``, ``mirror``, ``mirror_shift``); None: those by which the run was judged. torch's generators are left as they were.

    Raises:
        CheckpointError: the file is missing, damaged or of another model.
        ConfigError: the checkpoint names code that is not trusted.
    """
    return predictor(checkpoints.read(checkpoint), trust=trust, tta=tta).to(device)


def predictor(checkpoint: Checkpoint, *, trust: Sequence[str] = (), tta: Views | None = None) -> Predictor:
    """A checkpoint that was read, as a network that can be used (on the CPU, in evaluation mode)."""
    meta = checkpoint.meta
    facts = meta["model"]["facts"]
    chosen = {
        key: value for key, value in meta["config"]["data"].items() if key in ("resize", "max_pixels")
    }  # a folder's; others have none
    return Predictor(
        build_model(checkpoint, trust),
        classes=meta["classes"],
        mean=meta["mean"],
        std=meta["std"],
        rules=Rules(image_size=facts["image_size"], channels=facts["in_channels"], **chosen),
        tta=tta or meta["config"].get("tta", "none"),
    ).eval()


def build_model(checkpoint: Checkpoint, trust: Sequence[str] = (), knobs: dict[str, Any] | None = None) -> nn.Module:
    """The checkpoint's network with its judged weights, on the CPU; with ``knobs`` in place of its own values.

    Raises:
        CheckpointError: the weights do not fit the network that its config now makes (the first five differences), or are not finite.
        ConfigError: the config names code that is not trusted, the model has no such knob, or with it the weights do not fit.
    """
    recipe = unfetched(check(checkpoint.meta["model"]["recipe"], place="model", trust=trust))
    if not knobs:
        return _built(checkpoint, recipe)
    try:
        return _built(checkpoint, recipe.replace(**knobs))
    except (CheckpointError, ConfigError) as error:
        _built(checkpoint, recipe)  # what is wrong without them, too, is told as such
        shown = ", ".join(f"knobs.{name}={value}" for name, value in flatten(knobs).items())
        what, where, fix = (moved(text, "model", "knobs", {*recipe.values, *knobs}) for text in (error.what, error.where, error.fix))
        if isinstance(error, CheckpointError):  # of the weights, with which nothing is wrong but for the knobs
            where, fix = "knobs", f"leave out {shown}"
        raise ConfigError(f"the model cannot be run with {shown}: {what}", where=where or "knobs", fix=fix) from error


def _built(checkpoint: Checkpoint, recipe: Recipe) -> nn.Module:
    """What a recipe makes, with the checkpoint's weights."""
    described = checkpoint.meta["model"]
    facts = {name: described["facts"][name] for name in FACTS["model"]}
    try:
        # Without a start, which would be overwritten: it would cost the caller's generator its place, and facts that somebody has edited
        # all memory before the weights could tell that they are false.
        model = build_unfilled(lambda: recipe(**facts))
    except (RuntimeError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{checkpoint.path} describes a network that cannot be built: {error!s:.200}",
            where="checkpoint",
            fix="name a checkpoint that cnntrain itself has written",
        ) from error
    prefix = judged_prefix(checkpoint.tensors)
    load_weights(model, checkpoint.tensors, prefix, source=str(checkpoint.path))
    return model


@contextmanager
def using(machine: Machine) -> Iterator[None]:
    """The machine's session for a task that trains nothing: torch's generators are afterwards as they were.

    Raises:
        OutOfMemoryError: with the advice that fits these tasks.
    """
    try:
        with torch.random.fork_rng(devices=[machine.device] if machine.device.type == "cuda" else []), machine.session(0):
            yield
    except OutOfMemoryError as error:
        raise OutOfMemoryError(error.what, where=error.where, fix="batch_size=32 (the same result in less memory)") from error
