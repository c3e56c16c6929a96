"""The most memory that a run takes, beside that of the bare model's training: the aim is the decoded set + the bare model + 250 MB.

python bench/memory.py
Each figure is of a fresh process: its private memory. The bare model trains on
one fixed batch of 128 in the same thread count and format, with torch's own allocator.
"""

import json
import subprocess
import sys
import tempfile

from footprint import watched
from rich.console import Console
from rich.table import Table
from throughput import BATCH, WORK, bare_steps

ALLOWED = 250e6  # bytes beyond the set and the bare model
SAMPLES = 60_000  # of each set
NAMES = [name for name in WORK if not name.startswith("resnet18")]  # which takes minutes, and its set is that of resnet20


def bare(name: str) -> dict[str, float]:
    """Bytes of the bare model's training."""
    _, node, shape, _ = WORK[name]
    steps = bare_steps(node, *shape)
    with watched() as peak:
        steps(20)
    return dict(peak)


def run(name: str) -> dict[str, float]:
    """Bytes of a run with everything on."""
    import cnntrain

    words = WORK[name][0]
    with tempfile.TemporaryDirectory() as folder, watched() as peak:
        cnntrain.train(
            *words.split(), f"batch_size={BATCH}", "optimizer.lr=0.01", "epochs=20it", "report.progress=off", f"hydra.run.dir={folder}/run"
        )
    return dict(peak)


def fresh(what: str, name: str) -> dict[str, float]:
    """One of the two in a new process."""
    done = subprocess.run([sys.executable, __file__, what, name], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the table."""
    if len(sys.argv) == 3:
        print(json.dumps({"bare": bare, "run": run}[sys.argv[1]](sys.argv[2])))
        return
    table = Table(title=f"Private memory, MB, batch {BATCH}")
    for head in ("work", "decoded set", "bare model", "cnntrain", "beyond both", "allowed"):
        table.add_column(head, justify="left" if head == "work" else "right")
    for name in NAMES:
        channels, size = WORK[name][2]
        own, whole = fresh("bare", name), fresh("run", name)
        pixels = SAMPLES * channels * size**2
        beyond = whole["anon"] - own["anon"] - pixels
        table.add_row(name, *(f"{value / 1e6:,.0f}" for value in (pixels, own["anon"], whole["anon"], beyond, ALLOWED)))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
