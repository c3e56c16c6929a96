"""TensorBoard: scalars, pictures, histograms, and the hyper-parameters in the same run as their metrics."""

import threading
from collections.abc import Callable
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

    def settings(self, settings: dict[str, Any], figures: list[str]) -> None:
        """The run's hyper-parameters, beside these figures."""

    def cut_back(self, step: int) -> None:
        """Take back what was said of the steps after ``step``."""

    def flush(self) -> None:
        """Hand all to the file."""

    def close(self) -> None:
        """Close the file."""


class Board(NoBoard):
    """A TensorBoard event file in the run's folder, opened when the first value comes (its import takes a second).

    ``purge_step``: a resumed run's events from that step on replace those of the life before. Where the storage fails, TensorBoard is
    given up for the rest of the run and ``warn`` is told so, once: curves are no reason to lose a training.
    """

    def __init__(self, folder: Path, *, purge_step: int | None, warn: Callable[[str], object]) -> None:
        self.folder, self.purge_step, self.warn = folder, purge_step, warn
        self._writer: Any = None
        self._lost = False
        self._hook = threading.excepthook

    @property
    def writer(self) -> Any:
        """The writer of torch, made at its first use."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._hook, threading.excepthook = threading.excepthook, self._overheard  # making it writes already
            self._writer = SummaryWriter(str(self.folder), purge_step=self.purge_step)
        return self._writer

    def scalars(self, row: dict[str, float], step: int) -> None:
        """Scalars by tag."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        # One event with all of them: add_scalar writes one a value, which took 2 % of LeNet's training time.
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in row.items()]
        self._try(lambda: self.writer.file_writer.add_summary(Summary(value=values), step))

    def pictures(self, tag: str, images: Tensor, step: int) -> None:
        """Pictures (B,C,H,W) as one grid."""
        from cnntrain.engine.pictures import grid

        picture = grid(images)
        self._try(lambda: self.writer.add_image(tag, picture, step, dataformats="HWC"))

    def confusion(self, tag: str, counts: Tensor, classes: list[str], step: int) -> None:
        """A confusion matrix (K,K) as a picture."""
        from cnntrain.engine.pictures import confusion_picture

        picture = confusion_picture(counts, classes)
        self._try(lambda: self.writer.add_image(tag, picture, step, dataformats="HWC"))

    def histograms(self, model: nn.Module, step: int) -> None:
        """The weights of every layer."""

        def write() -> None:
            for name, parameter in model.named_parameters():
                self.writer.add_histogram(f"weights/{name}", parameter.detach().float().cpu(), step)

        self._try(write)

    def settings(self, settings: dict[str, Any], figures: list[str]) -> None:
        """The run's hyper-parameters, beside these figures, in the run itself: ``SummaryWriter.add_hparams`` would open an extra one."""
        from torch.utils.tensorboard.summary import hparams

        plain = {key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in settings.items()}
        names = [f"val/{name}" for name in figures] + [f"test/{name}" for name in figures if name != "loss"] + ["epoch/loss"]
        summaries = hparams(plain, dict.fromkeys(names, 0.0))
        self._try(lambda: [self.writer.file_writer.add_summary(summary) for summary in summaries])

    def cut_back(self, step: int) -> None:
        """Take back what was said of the steps after ``step``: the next file begins there."""
        self.close()
        self._writer, self.purge_step = None, step + 1

    def flush(self) -> None:
        """Hand all to the file."""
        self._try(lambda: self.writer.flush())

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._try(lambda: self._writer.close())
        if threading.excepthook == self._overheard:
            threading.excepthook = self._hook

    def _try(self, act: Callable[[], object]) -> None:
        """Do it, unless the event file was given up."""
        if self._lost:
            return
        try:
            act()
        except Exception as error:  # of the storage; beside OSError, TensorFlow's own kinds where that is installed
            self._lost = True
            self.warn(f"TensorBoard's events cannot be written ({getattr(error, 'strerror', None) or error}): the run goes on without")

    def _overheard(self, args: threading.ExceptHookArgs) -> None:
        """The end of the thread that writes: its error comes back at the next call, and is told there."""
        if type(args.thread).__name__ != "_AsyncWriterThread":
            self._hook(args)
