"""Our networks beside torchvision's of the same function: forward and backward, in turn in one process, channels_last.

python bench/models.py [--pairs 8] [--only densenet]
The ratio is of the seconds of each pair of steps, its interval Student's over the pairs (on the logarithm); above 1 ours is the faster.
"fastest" is the ratio of the fastest step of each: what other work on the machine disturbs least.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
import yaml
from interleave import ratio
from rich.console import Console
from rich.table import Table
from torch import nn

from cnntrain.config.recipe import check

ROOT = Path(__file__).resolve().parents[1]
PIXELS = 4 * 224 * 224  # of a batch, at least two pictures of the ledger's size
WARM_UP = 2


def twins() -> dict[str, tuple[str, list[int]]]:
    """Every variant that torchvision has too: its name there, and channels, classes and image size."""
    lines: dict[str, dict] = {}
    for path in sorted((ROOT / "tests" / "model" / "ledger").glob("*.yaml")):
        lines |= yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: (line["twin"], line["at"]) for name, line in lines.items() if line["twin"]}


def step(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], float]:
    """A function that makes one forward and backward pass and returns its seconds."""
    model.train().to(memory_format=torch.channels_last)

    def run() -> float:
        start = time.perf_counter()
        outputs = model(images)
        heads = [outputs] if isinstance(outputs, torch.Tensor) else [logits for logits in outputs if logits is not None]
        sum(F.cross_entropy(logits, labels) for logits in heads).backward()
        model.zero_grad(set_to_none=True)
        return time.perf_counter() - start

    return run


def pair(name: str, theirs: str, at: list[int]) -> tuple[Callable[[], float], Callable[[], float], int]:
    """A step of ours, a step of torchvision's, and the pictures in each."""
    from torchvision.models import get_model

    channels, classes, size = at
    batch = max(2, PIXELS // size**2)
    node = yaml.safe_load((ROOT / "conf" / "model" / f"{name}.yaml").read_text(encoding="utf-8"))
    own = check(node, place="model")(in_channels=channels, num_classes=classes, image_size=size)
    special = {"init_weights": False} if theirs in ("googlenet", "inception_v3") else {}
    other = get_model(theirs, weights=None, num_classes=classes, **special)
    images = torch.randn(batch, channels, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(classes, (batch,))
    return step(own, images, labels), step(other, images, labels), batch


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8, help="steps of each (8)")
    parser.add_argument("--only", default="", help="only names with this in them")
    options = parser.parse_args()
    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    table = Table(title=f"Forward + backward, images/s: {machine}")
    for column in ("model", "torchvision", "ours", "theirs", "ratio", "95 % interval", "fastest"):
        table.add_column(column, justify="left" if column in ("model", "torchvision") else "right")
    for name, (theirs, at) in twins().items():
        if options.only not in name:
            continue
        own, other, batch = pair(name, theirs, at)
        times = []
        for number in range(WARM_UP + options.pairs):  # whoever is second finds other caches: they change places
            first, second = (own, other) if number % 2 else (other, own)
            one, two = first(), second()
            times.append((one, two) if number % 2 else (two, one))
        low, middle, high = ratio(times[WARM_UP:])
        columns = list(zip(*times[WARM_UP:], strict=True))
        speeds = [batch / sorted(column)[len(column) // 2] for column in columns]
        fastest = min(columns[1]) / min(columns[0])
        table.add_row(name, theirs, f"{speeds[0]:.2f}", f"{speeds[1]:.2f}", f"{middle:.3f}", f"{low:.3f} – {high:.3f}", f"{fastest:.3f}")
        print(f"{name}: {middle:.3f} ({low:.3f} – {high:.3f}), fastest {fastest:.3f}", file=sys.stderr)  # the whole takes a while
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
