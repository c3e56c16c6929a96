"""What folders of 1,000, 10,000 and 100,000 JPEGs of mixed sizes cost: scan, first and second start, an epoch, and the memory of it.

python bench/folders.py [--counts 1000 10000 100000] [--folder DIR] [--markdown]
Every figure is of a fresh process. A start is all between the import of torch and the first batch: scan, decode (the second one finds it
done), mean and std. Its seconds are those of the clock on the wall; ``µs each`` is processor time a picture, of all processes together,
which other people's work on the machine spoils less. ``private`` is what the process and its workers have for themselves (a page that n
of them share counts 1/n in each); ``mapped`` are pages of files, which the system takes back when it needs them: the cache, but also
torch's own libraries. Pictures that ``--folder`` keeps are used again.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from footprint import KINDS, memory, watched
from PIL import Image
from rich.console import Console
from rich.table import Table

CLASSES, SIDES, ASPECTS = 10, (32, 48, 64, 96, 128, 192, 256), (1.0, 4 / 3, 3 / 4, 3 / 2, 2 / 3)
IMAGE_SIZE = 32


# --- pictures


def make_pictures(root: Path, count: int) -> None:
    """Fill a folder, unless it is there already."""
    done = root / ".complete"  # hidden, so no picture
    if done.exists():
        return
    for label in range(CLASSES):
        (root / f"class{label}").mkdir(parents=True, exist_ok=True)
    starts = range(0, count, 500)
    with ProcessPoolExecutor() as pool:
        list(pool.map(draw, [root] * len(starts), [range(at, min(at + 500, count)) for at in starts]))
    done.touch()


def draw(root: Path, numbers: Iterable[int]) -> None:
    """Coarse noise under finer noise, the colour by the class: as large as photographs of that size, and something to learn."""
    for number in numbers:
        random = np.random.default_rng(number)
        label, longer, aspect = number % CLASSES, int(random.choice(SIDES)), float(random.choice(ASPECTS))
        size = (longer, round(longer / aspect)) if aspect >= 1 else (round(longer * aspect), longer)
        coarse, fine = (random.integers(0, 256, shape, dtype=np.uint8) for shape in ((6, 6, 3), (size[1] // 4, size[0] // 4, 3)))
        coarse[..., label % 3] //= 1 + label
        layers = [Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC) for noise in (coarse, fine)]
        Image.blend(*layers, 0.25).save(root / f"class{label}" / f"img_{number:06d}.jpg", quality=85)


# --- measuring, each in a process of its own


def scanning(root: Path, cache: Path, residency: str) -> dict:
    """The time of looking at names."""
    from cnntrain.data.scan import scan

    with clocks() as found:
        scan(root)
    return found


def starting(root: Path, cache: Path, residency: str) -> dict:
    """The time to the first batch, without imports."""
    import torch

    from cnntrain.data.folder import folder

    with clocks() as found:
        data = folder(root=str(root), image_size=IMAGE_SIZE, cache=str(cache), seed=0)
        batch = next(iter(data.train.fetch([torch.arange(128)])))
        assert len(batch[0]) == 128 and data.mean and data.std
    return found


def importing(root: Path, cache: Path, residency: str) -> dict:
    """The memory of torch alone."""
    import torch  # noqa: F401

    return memory()


def training(root: Path, cache: Path, residency: str) -> dict:
    """Images/s and the most memory of one epoch of lenet5, after a start that finds all decoded."""
    import cnntrain

    with tempfile.TemporaryDirectory() as runs, watched() as peak:
        data = f"data=folder data.root={root} data.cache={cache} data.image_size={IMAGE_SIZE} data.residency={residency}"
        run = f"model=lenet5 batch_size=128 epochs=1 optimizer.lr=0.01 report.progress=off hydra.run.dir={runs}/run"
        result = cnntrain.train(*data.split(), *run.split())
    return {"speed": result["images_per_second"], **peak}


@contextmanager
def clocks() -> Iterator[dict[str, float]]:
    """Seconds of the block by the clock on the wall, and of processor time, children that have ended included."""
    found: dict[str, float] = {}
    start, before = time.perf_counter(), processor_time()
    yield found
    found.update(wall=time.perf_counter() - start, cpu=processor_time() - before)


def processor_time() -> float:
    """Seconds, of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def fresh(what: str, root: Path, cache: Path, residency: str = "resident") -> dict:
    """What one of the above measures, in a new process."""
    command = [sys.executable, __file__, "--measure", what, str(root), str(cache), residency]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# --- tables


def report(counts: list[int], home: Path) -> Iterable[tuple[str, list[str], list[list[str]]]]:
    """Measure; title, heads and rows of each table."""
    starts, epochs = [], []
    before: dict[str, tuple[int, float]] = {}
    for count in counts:
        root = home / f"jpegs{count}"
        make_pictures(root, count)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            cache = Path(folder)
            times = [fresh(what, root, cache) for what in ("scanning", "starting", "starting")]
            stored = sum(file.stat().st_size for file in cache.iterdir())
            cells = [cell for each in times for cell in (f"{each['wall']:.2f}", f"{each['cpu'] / count * 1e6:,.1f}")]
            starts.append([f"{count:,}", *cells, f"{stored / 1e6:,.1f}", f"{stored / count:,.0f}"])
            for residency in ("resident", "streamed"):
                found = fresh("training", root, cache, residency)
                fewer, less = before.get(residency, (0, math.nan))
                growth = (found["anon"] - less) / (count - fewer)
                more = "" if math.isnan(growth) else f"{growth:,.0f}"
                epochs.append([residency, f"{count:,}", f"{found['speed']:,.0f}", *(f"{found[kind] / 1e6:,.0f}" for kind in KINDS), more])
                before[residency] = count, found["anon"]
    heads = ["images", "scan s", "µs each", "1st start s", "µs each", "2nd start s", "µs each", "cache MB", "bytes each"]
    yield f"Start on a folder of JPEGs, decoded to {IMAGE_SIZE}×{IMAGE_SIZE}×3", heads, starts
    heads = ["", "images", "images/s", "private MB", "mapped MB", "private bytes per image more"]
    alone = fresh("importing", home, home)["anon"] / 1e6
    yield (
        f"One epoch of lenet5, batch 128, crop + flip; torch alone has {alone:,.0f} MB private",
        heads,
        sorted(epochs, key=lambda row: row[0]),
    )


def show(title: str, heads: list[str], rows: list[list[str]], *, markdown: bool) -> None:
    """Print a table for a terminal of 110 columns, or for a document."""
    if markdown:
        print(f"{title}:\n", f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|", sep="\n")
        print(*(f"| {' | '.join(row)} |" for row in rows), "", sep="\n")
        return
    table = Table(title=title)
    for head in heads:
        table.add_column(head, justify="right" if head else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="pictures in each folder")
    parser.add_argument("--folder", type=Path, help="keeps the pictures here")
    parser.add_argument("--markdown", action="store_true", help="print tables for a document")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, root, cache, residency = arguments.measure
        measures = {each.__name__: each for each in (scanning, starting, importing, training)}
        print(json.dumps(measures[what](Path(root), Path(cache), residency)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        for table in report(sorted(arguments.counts), arguments.folder or Path(temporary)):
            show(*table, markdown=arguments.markdown)
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"{os.cpu_count()} cores, on which {busy} processes wanted to run in the last 1, 5 and 15 minutes")


if __name__ == "__main__":
    main()
