"""The benchmark's pictures as a data set of cnntrain, by the way that is open to every user (``conf/data/arrays.yaml``)."""

from pathlib import Path

import numpy as np
import torch

from cnntrain.data.dataset import Data, Source
from cnntrain.data.split import Split


def arrays(*, folder: str, seed: int) -> Data:
    """``images.npy``, uint8 (N, C, S, S), and ``labels.npy``, int64 (N,), all of them for training: the peers, too, hold nothing out."""
    images, labels = (torch.from_numpy(np.load(Path(folder) / f"{name}.npy")) for name in ("images", "labels"))
    classes = [str(k) for k in range(int(labels.max()) + 1)]
    source = Source("arrays", classes, images.shape[1], images.shape[2], lambda part: Split(images, labels), parts=("train",))
    return Data(source, val=0.0, mean=None, std=None, seed=seed)
