"""timm, by the parts of its train.py: create_dataset, create_loader, create_optimizer_v2, a schedule by the step, an averaged loss.

Fair: the loader keeps its prefetcher (bytes are collated, normalised as a batch), the pictures get the other peers' crop and mirror in
place of timm's costlier resized crop and colour jitter; the loss is read at timm's log interval, every 50 steps; no checkpoints.
"""

from itertools import count

import timm
import torch
from nets import NETS
from timm.data import create_dataset, create_loader
from timm.data.transforms import ToNumpy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter
from torchvision import transforms as T
from work import BATCH, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, WORKERS, Window, Work, given

LOG_INTERVAL = 50


def loader_of(work: Work):
    channels, size = work.shape
    loader = create_loader(
        create_dataset("", root=work.folder, split="train"), input_size=(channels, size, size), batch_size=BATCH, is_training=True,
        mean=work.mean, std=work.std, num_workers=WORKERS, device=torch.device("cpu"), pin_memory=False,
    )  # fmt: skip
    loader.dataset.transform = T.Compose([T.RandomCrop(size, padding=4), T.RandomHorizontalFlip(), ToNumpy()])
    return loader


def main() -> None:
    work, seconds = given()
    loader, model, window, losses = loader_of(work), NETS[work.net](), Window(seconds), AverageMeter()
    optimizer = create_optimizer_v2(model, opt="nesterov", lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    scheduler, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=100, step_on_epochs=False, updates_per_epoch=len(loader))
    criterion, updates = torch.nn.CrossEntropyLoss(), count(1)
    model.train()
    while True:
        for images, labels in loader:
            loss = criterion(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            update = next(updates)
            if update % LOG_INTERVAL == 0:
                losses.update(loss.item(), len(images))
            scheduler.step_update(num_updates=update, metric=losses.avg)
            if window.step():
                return window.tell(f"timm {timm.__version__}")


if __name__ == "__main__":
    main()
