"""What checkpoints cost: in a run, beside plain torch.save with fsync, and in memory; of resnet18's weights and SGD's momentum (89 MB).

python bench/checkpoint.py [pairs [folder]]
In a run: blocks of steps in one process, every second one with a save at its end; what the saving blocks take longer is a save's cost, and
its share is that of the wall time at the default interval: every epoch (of CIFAR-10 here) and every five minutes. Writing: our writer and
torch.save + flush + fsync of the same tensors, in turn, to the same folder. Memory: the most that a save adds to the process.
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from interleave import ratio
from marked import Marked
from rich.console import Console
from rich.table import Table
from scipy import stats

import cnntrain
from cnntrain.config.recipe import check
from cnntrain.engine import checkpoint

BLOCK, BATCH, WARM_UP = 4, 32, 2
EPOCH, MINUTES = 45_000, 5  # samples of CIFAR-10's training part, and the default of checkpoint.minutes
RUN = (
    "model=resnet18 augment=[crop,flip] data=synthetic data.samples=20000 data.mean=[0.5,0.5,0.5] data.std=[0.2,0.2,0.2] data.val=0 "
    "report.progress=off report.tensorboard=false"
)


def in_a_run(pairs: int, folder: Path) -> tuple[list[float], float]:
    """Seconds that each save costs, and seconds of a step."""
    Marked.times = []
    cnntrain.train(
        *RUN.split(),
        f"--config-dir={Path(__file__).parent / 'conf'}",
        "schedule=marked",
        f"schedule.block={BLOCK}",
        f"batch_size={BATCH}",
        f"epochs={BLOCK * 2 * (pairs + WARM_UP) + 1}it",
        f"checkpoint.every={2 * BLOCK}it",  # at the end of every second block
        "checkpoint.minutes=0",
        f"hydra.run.dir={folder}/run",
    )
    blocks = [after - before for before, after in zip(Marked.times, Marked.times[1:], strict=False)][2 * WARM_UP :]
    plain, saving = blocks[::2], blocks[1::2]
    return [b - a for a, b in zip(plain, saving, strict=True)], statistics.median(plain) / BLOCK


def tensors() -> dict[str, torch.Tensor]:
    """resnet18 after a step of SGD, as a checkpoint has it."""
    model = check({"_target_": "cnntrain.model.resnet.ResNet", "depth": 18}, place="model")(in_channels=3, num_classes=10, image_size=32)
    model = model.to(memory_format=torch.channels_last)
    kept = {f"model.{name}": value for name, value in model.state_dict().items()}
    return kept | {f"optimizer.{name}/momentum_buffer": torch.randn_like(value) for name, value in model.named_parameters()}


def beside_torch(pairs: int, folder: Path, held: dict[str, torch.Tensor]) -> list[tuple[float, float]]:
    """Seconds of (cnntrain, torch.save + fsync), in turn."""

    def plainly() -> None:
        with open(folder / "plain.pt", "wb") as file:
            torch.save(held, file)
            file.flush()
            os.fsync(file.fileno())

    def ours() -> None:
        checkpoint.write(folder / "ours.safetensors", held, {"step": 1}, keep=folder / "previous.safetensors")

    def timed(work: Callable[[], None]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return [(timed(ours), timed(plainly)) for _ in range(pairs + WARM_UP)][WARM_UP:]


def memory(folder: Path, held: dict[str, torch.Tensor]) -> float:
    """Bytes that a save adds at most to this process's resident memory (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = status("VmRSS")
    checkpoint.write(folder / "memory.safetensors", held, {"step": 1})
    return status("VmHWM") - before


def status(name: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and Student's interval of 95 %: lower end, middle, upper end."""
    middle = statistics.mean(values)
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return middle - half, middle, middle + half


def main() -> None:
    """Print the table."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    table = Table(title=f"Checkpoints of resnet18: {machine}")
    for name in ("what", "aim", "found", "95 % interval", "pairs"):
        table.add_column(name, justify="left" if name == "what" else "right")
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        held = tensors()
        size = sum(value.numel() * value.element_size() for value in held.values())
        added = memory(folder, held)
        low, middle, high = ratio(beside_torch(pairs, folder, held))
        costs, step = in_a_run(pairs, folder)
    least, cost, most = interval(costs)
    epoch = EPOCH / BATCH * step
    every = min(epoch, 60 * MINUTES)
    table.add_row("a save in a run", "", f"{cost:.3f} s", f"{least:.3f} – {most:.3f} s", str(len(costs)))
    shares = [f"{100 * value / (every + value):.2f} %" for value in (cost, least, most)]
    table.add_row(f"its share of the time, every {every:.0f} s", "≤ 2 %", shares[0], f"{shares[1]} – {shares[2]}", str(len(costs)))
    table.add_row("writing ÷ torch.save + fsync", "≤ 1.3", f"{1 / middle:.3f}", f"{1 / high:.3f} – {1 / low:.3f}", str(pairs))
    table.add_row("memory that a save adds ÷ the checkpoint", "≤ 1", f"{added / size:.3f}", f"{size / 1e6:.0f} MB", "1")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
