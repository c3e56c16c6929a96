"""TensorBoard: scalars, pictures, histograms, and the hyper-parameters in the same run as their metrics."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn


class NoBoard:
    """No TensorBoard: every call does nothing."""

    def scalars(self, row: dict[str, float], step: int) -> None:
        """Scalars by tag."""

    def pictures(self, tag: str, images: Tensor, step: int) -> None:
        """Pictures (B,C,H,W) as one grid."""

    def confusion(self, tag: str, counts: Tensor, classes: list[str], step: int) -> None:
        """A confusion matrix (K,K) as a picture."""

    def histograms(self, model: nn.Module, step: int) -> None:
        """The weights of every layer."""

    def settings(self, settings: dict[str, Any]) -> None:
        """The run's hyper-parameters."""

    def flush(self) -> None:
        """Hand all to the file."""

    def close(self) -> None:
        """Close the file."""


class Board(NoBoard):
    """A TensorBoard event file in the run's folder, opened when the first value comes (its import takes a second).

    ``purge_step``: a resumed run's events from that step on replace those of the life before.
    """

    def __init__(self, folder: Path, *, purge_step: int | None) -> None:
        self.folder, self.purge_step = folder, purge_step
        self._writer: Any = None

    @property
    def writer(self) -> Any:
        """The writer of torch, made at its first use."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=self.purge_step)
        return self._writer

    def scalars(self, row: dict[str, float], step: int) -> None:
        """Scalars by tag."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        # One event with all of them: add_scalar writes one a value, which took 2 % of LeNet's training time.
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in row.items()]
        self.writer.file_writer.add_summary(Summary(value=values), step)

    def pictures(self, tag: str, images: Tensor, step: int) -> None:
        """Pictures (B,C,H,W) as one grid."""
        from cnntrain.engine.pictures import grid

        self.writer.add_image(tag, grid(images), step, dataformats="HWC")

    def confusion(self, tag: str, counts: Tensor, classes: list[str], step: int) -> None:
        """A confusion matrix (K,K) as a picture."""
        from cnntrain.engine.pictures import confusion_picture

        self.writer.add_image(tag, confusion_picture(counts, classes), step, dataformats="HWC")

    def histograms(self, model: nn.Module, step: int) -> None:
        """The weights of every layer."""
        for name, parameter in model.named_parameters():
            self.writer.add_histogram(f"weights/{name}", parameter.detach().float().cpu(), step)

    def settings(self, settings: dict[str, Any]) -> None:
        """The run's hyper-parameters, in the run itself: ``SummaryWriter.add_hparams`` would open an extra one."""
        from torch.utils.tensorboard.summary import hparams

        plain = {key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in settings.items()}
        names = ("val/accuracy", "val/loss", "test/accuracy", "epoch/loss")
        for summary in hparams(plain, dict.fromkeys(names, 0.0)):
            self.writer.file_writer.add_summary(summary)

    def flush(self) -> None:
        """Hand all to the file."""
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
