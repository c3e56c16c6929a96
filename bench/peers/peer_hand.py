"""A loop by hand, as in the tutorials: torchvision's transforms on PIL images, a DataLoader with two workers, SGD, the loss summed up.

Fair: nothing but loading, the step and one running sum; no accuracy, no logging, no validation.
"""

from itertools import chain, repeat

import torch
import torchvision
from nets import NETS
from pictures import loader_of, transform_of
from torch import nn
from work import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Window, given


def main() -> None:
    work, seconds = given()
    loader, model, criterion, window = loader_of(work, transform_of(work)), NETS[work.net](), nn.CrossEntropyLoss(), Window(seconds)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
    running_loss = 0.0
    model.train()
    for images, labels in chain.from_iterable(repeat(loader)):
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        if window.step():
            break
    window.tell(f"torchvision {torchvision.__version__}")


if __name__ == "__main__":
    main()
