"""Lightning, by the module of lightning-hydra-template: loss and accuracy by torchmetrics, logged an epoch; the hand loop's loader.

Fair: logger, checkpoints, progress bar and validation are off, which costs a user's run more than it costs this one.
"""

import lightning as L
import torch
from nets import NETS
from pictures import loader_of, transform_of
from torch import nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from work import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Window, given


class Module(L.LightningModule):
    """The template's module, but for its validation and test steps."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.criterion = net, nn.CrossEntropyLoss()
        self.train_loss, self.train_accuracy = MeanMetric(), MulticlassAccuracy(num_classes=10, average="micro")

    def training_step(self, batch, batch_idx):
        """One step's loss; the metrics are logged as the template does."""
        images, labels = batch
        logits = self.net(images)
        loss = self.criterion(logits, labels)
        self.train_loss(loss)
        self.train_accuracy(logits.argmax(dim=1), labels)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/acc", self.train_accuracy, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def configure_optimizers(self):
        """The optimizer of all peers."""
        return torch.optim.SGD(self.net.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)


class Stop(L.Callback):
    """Ends the run when the time is up."""

    def __init__(self, window: Window) -> None:
        self.window = window

    def on_train_batch_end(self, trainer, *args) -> None:
        """After a step."""
        trainer.should_stop = self.window.step()


def main() -> None:
    work, seconds = given()
    window = Window(seconds)
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_epochs=1000, callbacks=[Stop(window)], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(NETS[work.net]()), loader_of(work, transform_of(work)))
    window.tell(f"lightning {L.__version__}")


if __name__ == "__main__":
    main()
