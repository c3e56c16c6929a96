"""What is paid beside training: help, errors, the start of a run, and the jobs of a sweep, each beside its target.

python bench/start.py [--rounds 5] [--markdown]
Every figure is of fresh processes by the clock on the wall; in a round each is measured once, in turn, so that what disturbs one disturbs
its neighbours. Shown are the median over the rounds, least and most.

- The first step: from the start of the process to the end of the first training step (default net and data, digits); "beyond torch" is
  that less ``import torch`` in a process of its own, of the same round.
- A sweep's cost a job: (the whole sweep - import torch, of the same round - training) ÷ jobs. It has everything in it that is no
  training: composing, checks, processes, data, evaluation, checkpoints, pictures. Training is what each job says of itself (images ÷ its
  images/s), summed over the jobs and divided by as many as ran at once.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

CNNTRAIN = [sys.executable, "-m", "cnntrain"]
NUM_JOBS = 8
FIRST, TORCH = "first step of a run", "python -c 'import torch'"
TARGETS = {  # row: largest median, s
    "cnntrain --help": 0.6,
    "cnntrain --cfg job": 0.6,
    "cnntrain modle=lenet5 (an error)": 1.0,
    TORCH: None,
    FIRST: None,
    "… beyond torch": 1.8,
    "sweep of 8, parallel=1": None,
    "… a job beyond its training": 0.5,
    "sweep of 8, parallel=auto": None,
    "… a job beyond its training, auto": 0.5,
}


def timed(command: list[str], folder: Path, *, code: int = 0) -> tuple[float, float]:
    """Run a command in a folder; when it began (seconds since 1970), and how long it took."""
    began, start = time.time(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != code:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return began, seconds


def first_step(folder: Path) -> float:
    """Seconds from the start of the process to the end of the first training step."""
    began, _ = timed([*CNNTRAIN, "epochs=1it", "hydra.run.dir=run"], folder)
    run_began, status = life(folder / "run")
    return run_began + status["seconds_to_first_step"] - began


def sweep(folder: Path, parallel: str, torch_seconds: float) -> tuple[float, float]:
    """Seconds of a whole sweep of tiny runs, and of each job beyond its training."""
    words = ["-m", "epochs=1", f"seed={','.join(map(str, range(NUM_JOBS)))}", f"sweep.parallel={parallel}", "hydra.sweep.dir=sweep"]
    _, whole = timed([*CNNTRAIN, *words], folder)
    spans, training = [], 0.0
    for run in sorted((folder / "sweep").glob("*_seed=*")):
        began, status = life(run)
        spans.append((began, began + status["seconds"]))
        images = re.search(r"([\d,]+) train ·", (run / "train.log").read_text())
        assert images is not None
        training += int(images[1].replace(",", "")) / status["images_per_second"]
    return whole, (whole - torch_seconds - training / at_once(spans)) / NUM_JOBS


def life(run: Path) -> tuple[float, dict]:
    """When a run that is done began (seconds since 1970), and what its status says."""
    path = run / "status.json"
    status = json.loads(path.read_text())
    return path.stat().st_mtime - status["seconds"], status


def at_once(spans: list[tuple[float, float]]) -> int:
    """How many of the (beginning, end) lie over each other at most."""
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)


def one_round(folder: Path) -> dict[str, float]:
    """Every figure once."""
    found = {TORCH: timed([sys.executable, "-c", "import torch"], folder)[1]}
    for row, words, code in (
        ("--help", ["--help"], 0),
        ("--cfg job", ["--cfg", "job"], 0),
        ("modle=lenet5 (an error)", ["modle=lenet5"], 2),
    ):
        found[f"cnntrain {row}"] = timed([*CNNTRAIN, *words], folder, code=code)[1]
    found[FIRST] = first_step(folder)
    found["… beyond torch"] = found[FIRST] - found[TORCH]
    for parallel, place, cost in (("1", "one", "… a job beyond its training"), ("auto", "auto", "… a job beyond its training, auto")):
        (folder / place).mkdir()
        found[f"sweep of {NUM_JOBS}, parallel={parallel}"], found[cost] = sweep(folder / place, parallel, found[TORCH])
    return found


def show(rounds: list[dict[str, float]], *, markdown: bool) -> None:
    """Print the table."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{platform.processor() or platform.machine()}, {cores} cores, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "hydra-core"))
    title = f"Fixed costs, seconds, median of {len(rounds)} (least – most): {machine}, Python {platform.python_version()}, {versions}"
    table = Table(title=title, box=box.MARKDOWN if markdown else box.SIMPLE_HEAD)
    for name in ("", "seconds", "least – most", "target", ""):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for row, target in TARGETS.items():
        values = [one[row] for one in rounds]
        median = statistics.median(values)
        met = "" if target is None else "met" if median <= target else "missed"
        table.add_row(row, f"{median:.2f}", f"{min(values):.2f} – {max(values):.2f}", f"≤ {target}" if target else "", met)
    Console(width=110).print(table)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument("--markdown", action="store_true", help="print a table for a document")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as warm:  # files read from the disk, byte code written
        timed([*CNNTRAIN, "epochs=1it", "hydra.run.dir=run"], Path(warm))
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(one_round(Path(folder)))
    show(rounds, markdown=options.markdown)


if __name__ == "__main__":
    main()
