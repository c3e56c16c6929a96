"""Training images/s of cnntrain (augmentation, metrics, logging on) beside the bare model's forward, backward and step.

python bench/throughput.py [blocks [lenet5, resnet20 or resnet18]]
The bare model trains on one fixed batch that lies ready, normalised, in channels_last. Both run in blocks of some steps, in turn, in one
process; the ratio is of each block to the one beside it, its interval is Student's over the blocks (on the logarithm).
"""

import platform
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from interleave import Interleaved, ratio
from rich.console import Console
from rich.table import Table

import cnntrain
from cnntrain.config.recipe import check
from cnntrain.engine.lean import avoid_dynamo

BATCH, WARM_UP = 128, 2
FASHION = Path("/usr/share/datasets/fashion-mnist")
SYNTHETIC = "data=synthetic data.samples=60000"
WORK = {
    "lenet5, Fashion-MNIST, crop + flip": (
        "model=lenet5 augment=[crop,flip] "
        + ("data=fashion_mnist" if FASHION.exists() else f"{SYNTHETIC} data.image_size=28 data.channels=1"),
        {"_target_": "cnntrain.model.lenet.LeNet5"},
        (1, 28),
        20,
    ),
    "resnet20, 32×32×3, crop + flip": (
        f"model=resnet20 augment=[crop,flip] {SYNTHETIC} data.image_size=32 data.channels=3",
        {"_target_": "cnntrain.model.cifar_resnet.CifarResNet", "depth": 20},
        (3, 32),
        10,
    ),
    "resnet18, 32×32×3, crop + flip": (
        f"model=resnet18 augment=[crop,flip] {SYNTHETIC} data.image_size=32 data.channels=3",
        {"_target_": "cnntrain.model.resnet.ResNet", "depth": 18},
        (3, 32),
        2,
    ),
}


def bare_steps(node: dict, channels: int, size: int):
    """A function that runs n bare steps and returns their time in seconds."""
    avoid_dynamo()
    model = check(node, place="model")(in_channels=channels, num_classes=10, image_size=size).to(memory_format=torch.channels_last)
    optimizer = check({"_target_": "cnntrain.optimizer.sgd.sgd", "lr": 0.01}, place="optimizer")(
        params=[{"params": list(model.parameters()), "lr_scale": 1.0}]
    )
    images = torch.randn(BATCH, channels, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,))

    def run(steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - start

    return run


def measure(words: str, node: dict, shape: tuple[int, int], block: int, blocks: int) -> list[tuple[float, float]]:
    """Seconds of (cnntrain, bare) of each block after the warm-up."""
    Interleaved.bare, Interleaved.times = staticmethod(bare_steps(node, *shape)), []
    with tempfile.TemporaryDirectory() as folder:
        cnntrain.train(
            *words.split(),
            f"--config-dir={Path(__file__).parent / 'conf'}",
            "schedule=interleaved",
            f"schedule.block={block}",
            f"batch_size={BATCH}",
            "optimizer.lr=0.01",
            f"epochs={block * (blocks + WARM_UP) + 1}it",
            "report.progress=off",
            f"hydra.run.dir={folder}/run",
        )
    return Interleaved.times[WARM_UP:]


def main() -> None:
    """Print the table."""
    blocks = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    table = Table(title=f"Training images/s, batch {BATCH}: {machine}")
    for name in ("work", "cnntrain", "bare model", "ratio", "95 % interval", "blocks"):
        table.add_column(name, justify="left" if name == "work" else "right")
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    for name, (words, node, shape, block) in WORK.items():
        if only not in name:
            continue
        times = torch.tensor(measure(words, node, shape, block, blocks), dtype=torch.float64)  # (blocks, 2)
        own, bare = (block * BATCH / times.median(dim=0).values).tolist()
        low, middle, high = ratio(times.tolist())
        table.add_row(name, f"{own:,.0f}", f"{bare:,.0f}", f"{middle:.3f}", f"{low:.3f} – {high:.3f}", str(len(times)))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
