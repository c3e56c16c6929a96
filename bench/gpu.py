"""Training images/s of cnntrain on one GPU beside the bare compiled model: resnet18, bf16, batch 512, crop + flip.

python bench/gpu.py [blocks [mode of machine.compile]]
As bench/throughput.py, in blocks of steps, in turn in one process; at a block's border the host waits for the device. The bare model is
compiled in the same mode and trains, under autocast, on one fixed batch that lies ready on the device, in channels_last, by the same fused
optimizer. Every epoch of cnntrain's has full batches only, so that nothing is compiled within the measured blocks. What was there before
the first block (starting, compiling) is printed apart.
"""

import json
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
from cnntrain.errors import CnntrainError

BATCH, BLOCK, WARM_UP = 512, 50, 3
SHAPE, CLASSES = (3, 32, 32), 10
MODEL = {"_target_": "cnntrain.model.resnet.ResNet", "depth": 18, "stem": "cifar"}
WORDS = (
    "model=resnet18 model.stem=cifar augment=[crop,flip] data=synthetic data.samples=51200 data.val=0 data.test_samples=512 "
    "machine.device=cuda machine.precision=bf16 schedule=interleaved optimizer.lr=0.01 report.progress=off"
).split()


def now() -> float:
    """The time when the device is done with all it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def bare_steps(mode: str, device: torch.device):
    """A function that runs n bare steps and returns their time in seconds."""
    channels, size, _ = SHAPE
    model = check(MODEL, place="model")(in_channels=channels, num_classes=CLASSES, image_size=size)
    model = model.to(device).to(memory_format=torch.channels_last)
    model.compile(mode=mode, dynamic=False)
    optimizer = check({"_target_": "cnntrain.optimizer.sgd.sgd", "lr": 0.01}, place="optimizer")(
        params=[{"params": list(model.parameters()), "lr_scale": 1.0}]
    )
    images = torch.randn(BATCH, *SHAPE, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (BATCH,), device=device)

    def run(steps: int) -> float:
        start = now()
        for _ in range(steps):
            with torch.autocast(device.type, dtype=torch.bfloat16):
                logits = model(images)
            F.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return now() - start

    return run


def measure(blocks: int, mode: str) -> tuple[list[tuple[float, float]], float]:
    """Seconds of (cnntrain, bare) of each block after the warm-up, and the seconds to cnntrain's first step."""
    torch.backends.cudnn.benchmark = True
    bare = bare_steps(mode, torch.device("cuda"))
    bare(1)
    Interleaved.bare, Interleaved.now, Interleaved.times = staticmethod(bare), staticmethod(now), []
    with tempfile.TemporaryDirectory() as folder:
        cnntrain.train(
            *WORDS,
            f"--config-dir={Path(__file__).parent / 'conf'}",
            f"machine.compile={mode}",
            f"schedule.block={BLOCK}",
            f"batch_size={BATCH}",
            f"epochs={BLOCK * (blocks + WARM_UP) + 1}it",
            f"hydra.run.dir={folder}/run",
        )
        start = json.loads(Path(folder, "run", "status.json").read_text())["seconds_to_first_step"]
    return Interleaved.times[WARM_UP:], start


def main() -> None:
    """Print the table."""
    if not torch.cuda.is_available():
        sys.exit(f"error: bench/gpu.py needs a CUDA device, and torch {torch.__version__} finds none. Fix: make bench measures on the CPU")
    blocks = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    mode = sys.argv[2] if len(sys.argv) > 2 else "default"
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    table = Table(title=f"{torch.cuda.get_device_name()}: {versions}, Python {platform.python_version()}", title_justify="left")
    for name in ("resnet18, bf16, batch 512", "cnntrain", "bare compiled", "ratio", "95 % interval", "blocks", "first step after"):
        table.add_column(name, justify="right")
    try:
        times, start = measure(blocks, mode)
    except CnntrainError as error:
        sys.exit(f"error: {error}")
    own, bare = (BLOCK * BATCH / torch.tensor(times, dtype=torch.float64).median(dim=0).values).tolist()
    low, middle, high = ratio(times)
    words = (
        f"compile={mode}",
        f"{own:,.0f}/s",
        f"{bare:,.0f}/s",
        f"{middle:.3f}",
        f"{low:.3f} – {high:.3f}",
        str(len(times)),
        f"{start:.1f} s",
    )
    table.add_row(*words)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
