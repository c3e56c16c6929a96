"""The pictures as torchvision's users load them, for the hand loop, Lightning and (from JPEGs) Keras."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T
from torchvision.datasets import ImageFolder
from work import BATCH, WORKERS, Work


class Arrays(Dataset):
    """Pictures in memory that are PIL images for a moment, as those of torchvision's MNIST and CIFAR10."""

    def __init__(self, folder: Path, transform: Callable) -> None:
        images = np.load(folder / "images.npy")  # (N, C, S, S)
        self.images = np.ascontiguousarray(images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1))
        self.labels = np.load(folder / "labels.npy").tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def transform_of(work: Work) -> Callable:
    """Torchvision's classic pipeline."""
    augment = [T.RandomCrop(work.shape[1], padding=4), T.RandomHorizontalFlip()] if work.augment else []
    return T.Compose([*augment, T.ToTensor(), T.Normalize(work.mean, work.std)])


def loader_of(work: Work, transform: Callable) -> DataLoader:
    """ImageFolder or arrays, in a DataLoader with two workers."""
    dataset = ImageFolder(work.folder, transform) if work.jpeg else Arrays(Path(work.folder), transform)
    return DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=WORKERS, drop_last=True)
