"""Small picture files for the tests of cnntrain.data."""

from pathlib import Path

import numpy as np
from PIL import Image


def noise(width: int = 8, height: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray | None = None, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed=len(path.name)) if pixels is None else pixels).save(path, **options)
    return path


def make_folder(root: Path, classes: dict[str, int], *, size: int = 8) -> Path:
    """``classes`` names the class folders (``train/cat`` or ``cat``) and how many pictures each has."""
    seed = 0
    for name, number in classes.items():
        for k in range(number):
            seed += 1
            save(root / name / f"{k}.png", noise(size, size, seed=seed))
    return root
