"""What a run leaves behind, to be compared bit for bit."""

import hashlib
import json
from pathlib import Path

import torch
from workload import fingerprint

from cnntrain.engine import checkpoint


def everything(folder: Path) -> str:
    """A hash of its last state and its rows, and of its best checkpoint if it has one; wall-clock figures do not count."""
    best = folder / "best.safetensors"
    if not best.exists():
        return fingerprint(folder)
    kept = checkpoint.read(best)
    digest = hashlib.sha256(json.dumps([kept.meta[key] for key in ("step", "epoch", "best", "metrics", "rows")]).encode())
    for name, tensor in sorted(kept.tensors.items()):
        digest.update(name.encode() + tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return fingerprint(folder) + digest.hexdigest()


def leftovers(folder: Path) -> list[Path]:
    """Half-written files that are there still."""
    return list(folder.rglob(".tmp-*"))
